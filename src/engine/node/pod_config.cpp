// What a pod's sandbox and containers ask of the runtime.
#include "engine/fields.h"
#include "engine/node/pod_view.h"
#include "lib/base/error.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::engine {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> words_at(const json::object& object, std::initializer_list<std::string_view> path) {
  std::vector<std::string> out;
  for (const auto& item : array_at(object, path)) {
    if (item.is_string()) out.emplace_back(item.get_string());
  }
  return out;
}

template <typename List>
void append(List& to, List more) {
  to.insert(to.end(), more.begin(), more.end());
}

void add_dns(cri::SandboxConfig& config, const PodView& pod) {
  auto policy = text_at(pod.spec(), {"dnsPolicy"});
  if (policy.empty()) policy = "ClusterFirst";
  if (policy == "ClusterFirstWithHostNet" || (policy == "ClusterFirst" && !pod.is_on_host_network())) {
    const auto& domain = pod.config.network.domain;
    config.dns_servers = {pod.config.network.dns_ip.text()};
    config.dns_searches = {pod.ns + ".svc." + domain, "svc." + domain, domain};
    config.dns_options = {"ndots:5"};
  }
  append(config.dns_servers, words_at(pod.spec(), {"dnsConfig", "nameservers"}));
  append(config.dns_searches, words_at(pod.spec(), {"dnsConfig", "searches"}));
  for (const auto& option : array_at(pod.spec(), {"dnsConfig", "options"})) {
    const auto value = text_at(option.as_object(), {"value"});
    config.dns_options.push_back(text_at(option.as_object(), {"name"}) + (value.empty() ? "" : ":" + value));
  }
}

const json::object* volume_named(const PodView& pod, const std::string& name) {
  for (const auto& item : array_at(pod.spec(), {"volumes"})) {
    if (item.is_object() && text_at(item.get_object(), {"name"}) == name) return &item.get_object();
  }
  return nullptr;
}

cri::Mount::Propagation propagation_of(const json::object& mount) {
  const auto text = text_at(mount, {"mountPropagation"});
  return text == "Bidirectional"     ? cri::Mount::Propagation::bidirectional
         : text == "HostToContainer" ? cri::Mount::Propagation::host_to_container
                                     : cri::Mount::Propagation::private_;
}

std::vector<VolumeMount> volume_mounts(const PodView& pod, const json::object& container,
                                       const std::map<std::string, std::string>& env) {
  std::vector<VolumeMount> mounts;
  for (const auto& item : array_at(container, {"volumeMounts"})) {
    const auto& mount = item.as_object();
    const auto* volume = volume_named(pod, text_at(mount, {"name"}));
    if (!volume) throw Error(ErrorKind::invalid, "volume \"" + text_at(mount, {"name"}) + "\" not found");
    auto sub = text_at(mount, {"subPath"});
    if (const auto expression = text_at(mount, {"subPathExpr"}); !expression.empty())
      sub = expand_variables(expression, env);
    const bool read_only = flag_at(mount, {"readOnly"}) || kind_of(*volume) == VolumeKind::files;
    mounts.push_back({*volume, std::move(sub), text_at(mount, {"mountPath"}), read_only, propagation_of(mount)});
  }
  return mounts;
}

}  // namespace

fs::path pod_folder(const NodeConfig& config, const std::string& uid) { return config.state / "pods" / uid; }
fs::path log_folder(const NodeConfig& config, const std::string& ns, const std::string& pod, const std::string& uid) {
  return config.state / "logs" / "pods" / (ns + "_" + pod + "_" + uid);
}
std::string pod_cgroup(const NodeConfig& config, const std::string& uid) {
  return "workflow-" + config.network.id + "/pod" + uid;
}
VolumePlaces volume_places(const PodView& pod) {
  return {pod_folder(pod.config, pod.uid), pod.config.state / "volumes"};
}
fs::path hosts_file(const PodView& pod) { return pod_folder(pod.config, pod.uid) / "etc-hosts"; }

cri::SandboxConfig sandbox_config(const PodView& pod, std::uint32_t attempt) {
  cri::SandboxConfig config;
  config.name = pod.name;
  config.uid = pod.uid;
  config.ns = pod.ns;
  config.attempt = attempt;
  if (!pod.is_on_host_network()) {
    config.hostname = text_at(pod.spec(), {"hostname"});
    if (config.hostname.empty()) config.hostname = pod.name.substr(0, 63);
  }
  config.log_directory = log_folder(pod.config, pod.ns, pod.name, pod.uid).string();
  add_dns(config, pod);
  config.labels = string_map(value_at(*pod.object, {"metadata", "labels"}));
  config.labels[label_pod] = pod.name;
  config.labels[label_namespace] = pod.ns;
  config.labels[label_uid] = pod.uid;
  config.cgroup_parent = "/" + pod_cgroup(pod.config, pod.uid);
  config.namespaces = security_of(pod.spec(), {}).namespaces;
  for (const auto& setting : array_at(pod.spec(), {"securityContext", "sysctls"})) {
    config.sysctls[text_at(setting.as_object(), {"name"})] = text_at(setting.as_object(), {"value"});
  }
  for (const auto& item : array_at(pod.spec(), {"containers"})) {
    if (flag_at(item.as_object(), {"securityContext", "privileged"})) config.privileged = true;
  }
  return config;
}

std::string hosts_text(const PodView& pod) {
  std::string text =
      "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
  auto host = text_at(pod.spec(), {"hostname"});
  if (host.empty()) host = pod.name.substr(0, 63);
  const auto subdomain = text_at(pod.spec(), {"subdomain"});
  text +=
      pod.ip + "\t" +
      (subdomain.empty() ? "" : host + "." + subdomain + "." + pod.ns + ".svc." + pod.config.network.domain + "\t") +
      host + "\n";
  const auto& aliases = array_at(pod.spec(), {"hostAliases"});
  if (!aliases.empty()) text += "\n# Entries added by HostAliases.\n";
  for (const auto& alias : aliases) {
    text += text_at(alias.as_object(), {"ip"});
    for (const auto& name : words_at(alias.as_object(), {"hostnames"})) text += "\t" + name;
    text += "\n";
  }
  return text;
}

ContainerWish container_wish(const PodView& pod, const json::object& container, int attempt, const cri::Image& image) {
  check_non_root(pod.spec(), container, image);
  ContainerWish wish;
  auto& config = wish.config;
  config.name = text_at(container, {"name"});
  config.attempt = static_cast<std::uint32_t>(attempt);
  config.image = image.id;
  config.env = environment_of(container, env_sources(pod, container));
  const std::map<std::string, std::string> values(config.env.begin(), config.env.end());
  for (const auto& word : words_at(container, {"command"})) config.command.push_back(expand_variables(word, values));
  for (const auto& word : words_at(container, {"args"})) config.args.push_back(expand_variables(word, values));
  config.working_dir = text_at(container, {"workingDir"});
  config.in = flag_at(container, {"stdin"});
  config.in_once = flag_at(container, {"stdinOnce"});
  config.tty = flag_at(container, {"tty"});
  config.labels = {
      {label_pod, pod.name}, {label_namespace, pod.ns}, {label_uid, pod.uid}, {label_container, config.name}};
  config.annotations[annotation_grace] =
      std::to_string(integer_at(pod.spec(), {"terminationGracePeriodSeconds"}).value_or(30));
  config.log_path = config.name + "/" + std::to_string(attempt) + ".log";
  config.resources = resources_of(container);
  config.resources.oom_score_adj = oom_score_adjustment(pod.spec(), container);
  config.security = security_of(pod.spec(), container);
  wish.files = {.ns = pod.ns,
                .container = config.name,
                .attempt = attempt,
                .volumes = volume_mounts(pod, container, values),
                .termination_path = text_at(container, {"terminationMessagePath"}),
                .hosts = pod.is_on_host_network() ? fs::path() : hosts_file(pod),
                .places = volume_places(pod),
                .readers = volume_readers(pod)};
  return wish;
}

}  // namespace workflow::engine
