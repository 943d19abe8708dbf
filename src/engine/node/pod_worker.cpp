#include "engine/node/pod_worker.h"

#include <algorithm>
#include <set>

#include "engine/node/container_config.h"
#include "engine/node/probes.h"
#include "lib/async/process.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::engine {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

const json::array no_items;

const json::array& list_at(const json::value& value, Path path) {
  const auto* found = find_path(value, path);
  return found && found->is_array() ? found->get_array() : no_items;
}
const json::array& list_at(const json::object& object, Path path) {
  const auto* found = find_path(object, path);
  return found && found->is_array() ? found->get_array() : no_items;
}
std::string text_at(const json::value& value, Path path) { return find_string(value, path).value_or(""); }

std::vector<std::string> words_at(const json::object& object, std::string_view name) {
  std::vector<std::string> out;
  for (const auto& item : list_at(object, {name})) {
    if (item.is_string()) out.emplace_back(item.get_string());
  }
  return out;
}

}  // namespace

fs::path pod_folder(const NodeConfig& config, const std::string& uid) { return config.state / "pods" / uid; }
fs::path log_folder(const NodeConfig& config, const std::string& ns, const std::string& pod, const std::string& uid) {
  return config.state / "logs" / "pods" / (ns + "_" + pod + "_" + uid);
}

struct PodWorker::State {
  State(NodeParts& p, std::string pod_ns, std::string pod_name, std::string pod_uid, Adopted adopted_parts)
      : parts(p), ns(std::move(pod_ns)), name(std::move(pod_name)), uid(std::move(pod_uid)), adopted(std::move(adopted_parts)),
        changes(p.executor), tasks(p.executor) {}

  NodeParts& parts;
  const std::string ns, name, uid;
  Adopted adopted;
  ObjectPtr pod;
  PodRecord record;
  Notifier changes;
  TaskGroup tasks;                               // probes, restarts of containers
  std::map<std::string, std::unique_ptr<TaskGroup>> probes;  // by container id
  std::set<std::string> starting;                // containers that a task is starting now
  std::set<std::string> killing;                 // containers that a liveness probe ends
  std::map<std::string, Exit> exits;             // by container id: told by containerd, not yet in the record
  std::set<std::string> starting_ids;            // containers that the record does not name yet
  std::string sandbox_problem;
  Time sandbox_not_before{};
  std::chrono::milliseconds sandbox_backoff{0};
  bool volumes_ready = false, deadline_exceeded = false;
  std::map<std::string, IssuedToken> token_cache;

  const json::object& spec() const { return pod->at("spec").as_object(); }
  RestartPolicy policy() const { return restart_policy_of(spec()); }
  Time now() const { return parts.clock.now(); }

  void event(std::string type, std::string reason, std::string message) {
    auto record_it = [](Store& store, Clock& clock, ObjectPtr object, std::string t, std::string r, std::string m) -> Task<> {
      try {
        co_await record_event(store, clock, object, std::move(t), std::move(r), std::move(m), "kubelet");
      } catch (const Error&) {
        // The namespace is going; nobody will ask.
      }
    };
    tasks.spawn("event", record_it(parts.store, parts.clock, pod, std::move(type), std::move(reason), std::move(message)));
  }

  ContainerRecord* find(const std::string& container) {
    for (auto& one : record.containers) {
      if (one.name == container) return &one;
    }
    return nullptr;
  }

  const json::object* container_spec(const std::string& container) const {
    for (const char* kind : {"initContainers", "containers"}) {
      for (const auto& item : list_at(spec(), {kind})) {
        if (text_at(item, {"name"}) == container) return &item.get_object();
      }
    }
    return nullptr;
  }

  // --- the record

  void begin_record() {
    for (const char* kind : {"initContainers", "containers"}) {
      const bool init = std::string_view(kind) == "initContainers";
      for (const auto& item : list_at(spec(), {kind})) {
        ContainerRecord one;
        one.name = text_at(item, {"name"});
        one.image = text_at(item, {"image"});
        one.init = init;
        one.sidecar = init && text_at(item, {"restartPolicy"}) == "Always";
        one.reason = init ? "PodInitializing" : "ContainerCreating";
        record.containers.push_back(std::move(one));
      }
    }
    record.host_ip = parts.config.network.gateway.text();
    record.started = parse_rfc3339(find_string(*pod, {"status", "startTime"}).value_or("")).value_or(now());
    if (adopted.sandbox && adopted.sandbox->ready) {
      record.sandbox_id = adopted.sandbox->id;
      record.ip = is_host_network() ? record.host_ip : adopted.sandbox->ip;
    }
    std::ranges::sort(adopted.containers, {}, &cri::ContainerStatus::attempt);
    for (const auto& found : adopted.containers) take_over(found);
  }

  bool is_host_network() const { return find_bool(spec(), {"hostNetwork"}).value_or(false); }

  // A container that ran before the engine did.
  void take_over(const cri::ContainerStatus& found) {
    auto* one = find(found.name);
    if (!one) return;
    if (one->phase == Phase::terminated) one->previous = one->last;
    one->id = found.id;
    one->image_id = found.image_ref;
    one->restarts = static_cast<int>(found.attempt);
    one->started = found.started;
    if (found.state == cri::ContainerState::running) {
      one->phase = Phase::running;
      begin_probes(*one, true);
    } else if (found.state == cri::ContainerState::exited) {
      one->phase = Phase::terminated;
      one->last = termination_of(found);
      one->backoff = one->restarts > 1 ? 10s : 0s;
    } else {
      one->phase = Phase::waiting;
    }
  }

  static Termination termination_of(const cri::ContainerStatus& status) {
    Termination end{status.id, status.exit_code, status.reason, status.message, status.started, status.finished};
    if (end.reason.empty()) end.reason = status.exit_code == 0 ? "Completed" : "Error";
    return end;
  }

  // --- volumes

  EnvSources env_sources(const json::object& container) {
    EnvSources sources;
    sources.secret = [this](const std::string& secret) { return secret_data(secret); };
    sources.config_map = [this](const std::string& map) { return config_map_data(map); };
    sources.field = [this](const std::string& path) { return field(path); };
    sources.resource = [this, &container](const std::string& of, const std::string& resource, const std::string& divisor) {
      const auto* other = of.empty() ? &container : container_spec(of);
      return resource_text(other ? *other : container, resource, divisor);
    };
    std::vector<const json::object*> services;
    std::vector<ObjectPtr> kept = parts.store.list(kube::resources::services, ns);
    if (ns != "default") {
      if (auto api = parts.store.find(kube::resources::services, "default", "kubernetes")) kept.push_back(api);
    }
    for (const auto& service : kept) services.push_back(service.get());
    sources.service_links = service_links(services, find_bool(spec(), {"enableServiceLinks"}).value_or(true));
    return sources;
  }

  std::optional<std::map<std::string, std::string>> secret_data(const std::string& secret) {
    const auto object = parts.store.find(kube::resources::secrets, ns, secret);
    if (!object) return std::nullopt;
    return kube::secret_values(*object);
  }
  std::optional<std::map<std::string, std::string>> config_map_data(const std::string& map) {
    const auto object = parts.store.find(kube::resources::config_maps, ns, map);
    if (!object) return std::nullopt;
    return string_map(find_path(*object, {"data"}));
  }

  std::string field(const std::string& path) {
    if (path == "metadata.name") return name;
    if (path == "metadata.namespace") return ns;
    if (path == "metadata.uid") return uid;
    if (path == "spec.nodeName") return parts.config.node_name;
    if (path == "spec.serviceAccountName") return text_at(spec(), {"serviceAccountName"});
    if (path == "status.podIP" || path == "status.podIPs") return record.ip;
    if (path == "status.hostIP" || path == "status.hostIPs") return record.host_ip;
    for (const auto& [prefix, kind] : {std::pair{"metadata.labels", "labels"}, {"metadata.annotations", "annotations"}}) {
      if (!path.starts_with(prefix)) continue;
      const auto map = string_map(find_path(*pod, {"metadata", kind}));
      if (path == prefix) {
        std::string all;
        for (const auto& [key, value] : map) all += key + "=" + json::serialize(json::value(value)) + "\n";
        return all;
      }
      const auto quote = path.find('\'');
      const auto key = quote == std::string::npos ? "" : path.substr(quote + 1, path.rfind('\'') - quote - 1);
      const auto found = map.find(key);
      return found == map.end() ? "" : found->second;
    }
    throw Error(ErrorKind::invalid, "unsupported fieldPath: " + path);
  }

  static std::string resource_text(const json::object& container, const std::string& resource, const std::string& divisor) {
    const auto dot = resource.find('.');
    const auto* value = find_path(container, {"resources", resource.substr(0, dot), resource.substr(dot + 1)});
    const auto text = !value ? "0" : value->is_string() ? std::string(value->get_string()) : json::serialize(*value);
    if (resource.ends_with(".cpu")) {
      const auto unit = millicores(divisor.empty() ? "1" : divisor).value_or(1000);
      return std::to_string((millicores(text).value_or(0) + unit - 1) / std::max<std::int64_t>(1, unit));
    }
    const auto unit = bytes_of(divisor.empty() ? "1" : divisor).value_or(1);
    return std::to_string((bytes_of(text).value_or(0) + unit - 1) / std::max<std::int64_t>(1, unit));
  }

  // Tokens that the volumes need, issued before files are written; renewed at four fifths of their life.
  Task<> refresh_tokens() {
    for (const auto& volume : list_at(spec(), {"volumes"})) {
      for (const auto& source : list_at(volume, {"projected", "sources"})) {
        const auto* wanted = find_path(source, {"serviceAccountToken"});
        if (!wanted) continue;
        const auto audience = text_at(*wanted, {"audience"});
        const auto lifetime = std::chrono::seconds(std::max<std::int64_t>(600, find_integer(*wanted, {"expirationSeconds"}).value_or(3600)));
        const auto cached = token_cache.find(audience);
        if (cached != token_cache.end() && cached->second.expires - lifetime / 5 > now()) continue;
        TokenRequest request{ns, find_string(spec(), {"serviceAccountName"}).value_or("default"), {}, lifetime, name, uid};
        if (!audience.empty()) request.audiences.push_back(audience);
        token_cache[audience] = co_await parts.tokens(std::move(request));
      }
    }
  }

  std::optional<std::int64_t> fs_group() const { return find_integer(spec(), {"securityContext", "fsGroup"}); }

  Task<> prepare_volumes() {
    co_await refresh_tokens();
    VolumeSources sources;
    sources.secret = [this](const std::string& secret) { return secret_data(secret); };
    sources.config_map = [this](const std::string& map) { return config_map_data(map); };
    sources.field = [this](const std::string& path) { return field(path); };
    sources.resource = [this](const std::string& of, const std::string& resource, const std::string& divisor) {
      const auto* container = container_spec(of);
      return container ? resource_text(*container, resource, divisor) : std::string("0");
    };
    sources.token = [this](const std::string& audience) { return token_cache.at(audience).token.reveal(); };
    struct Work {
      json::object volume;
      std::optional<VolumeFiles> files;
    };
    std::vector<Work> work;
    for (const auto& volume : list_at(spec(), {"volumes"})) {
      const auto& object = volume.get_object();
      if (!volume.as_object().contains("hostPath") && !is_claim_bound(object)) {
        throw Error(ErrorKind::invalid, "persistentvolumeclaim \"" + text_at(volume, {"persistentVolumeClaim", "claimName"}) + "\" not found");
      }
      work.push_back({object, volume_files(object, sources)});
    }
    auto write = [work = std::move(work), pod_ns = ns, group = fs_group(),
                  places = VolumePlaces{pod_folder(parts.config, uid), parts.config.state / "volumes"}] {
      fs::create_directories(places.pod / "volumes");
      for (const auto& [volume, files] : work) {
        const auto folder = prepare_volume(volume, pod_ns, places, group);
        if (files) write_volume(folder, *files, group);
      }
    };
    co_await offload(std::move(write));
    volumes_ready = true;
  }

  bool is_claim_bound(const json::object& volume) const {
    const auto* claim = find_path(volume, {"persistentVolumeClaim"});
    return !claim || parts.store.find(kube::resources::persistent_volume_claims, ns, text_at(*claim, {"claimName"}));
  }

  // --- sandbox

  cri::SandboxConfig sandbox_config(std::uint32_t attempt) const {
    cri::SandboxConfig config;
    config.name = name;
    config.uid = uid;
    config.ns = ns;
    config.attempt = attempt;
    config.hostname = is_host_network() ? "" : find_string(spec(), {"hostname"}).value_or(name).substr(0, 63);
    config.log_directory = log_folder(parts.config, ns, name, uid).string();
    const auto policy_text = find_string(spec(), {"dnsPolicy"}).value_or("ClusterFirst");
    const auto& domain = parts.config.network.domain;
    if (policy_text == "ClusterFirstWithHostNet" || (policy_text == "ClusterFirst" && !is_host_network())) {
      config.dns_servers = {parts.config.network.dns_ip.text()};
      config.dns_searches = {ns + ".svc." + domain, "svc." + domain, domain};
      config.dns_options = {"ndots:5"};
    }
    for (const auto& server : list_at(spec(), {"dnsConfig", "nameservers"})) config.dns_servers.emplace_back(server.as_string());
    for (const auto& search : list_at(spec(), {"dnsConfig", "searches"})) config.dns_searches.emplace_back(search.as_string());
    for (const auto& option : list_at(spec(), {"dnsConfig", "options"})) {
      const auto value = text_at(option, {"value"});
      config.dns_options.push_back(text_at(option, {"name"}) + (value.empty() ? "" : ":" + value));
    }
    config.labels = string_map(find_path(*pod, {"metadata", "labels"}));
    config.labels[label_pod] = name;
    config.labels[label_namespace] = ns;
    config.labels[label_uid] = uid;
    config.cgroup_parent = "/workflow-" + parts.config.network.id + "/pod" + uid;
    config.namespaces = security_of(spec(), {}).namespaces;
    for (const auto& setting : list_at(spec(), {"securityContext", "sysctls"})) config.sysctls[text_at(setting, {"name"})] = text_at(setting, {"value"});
    for (const auto& item : list_at(spec(), {"containers"})) {
      if (find_bool(item, {"securityContext", "privileged"}).value_or(false)) config.privileged = true;
    }
    return config;
  }

  std::uint32_t sandbox_attempt = 0;

  Task<> ensure_sandbox() {
    if (!record.sandbox_id.empty()) co_return;
    fs::create_directories(log_folder(parts.config, ns, name, uid));
    // One that was left half-made holds its name in the runtime.
    for (const auto& old : co_await parts.runtime.list_sandboxes({{label_uid, uid}})) {
      co_await parts.runtime.stop_sandbox(old.id);
      co_await parts.runtime.remove_sandbox(old.id);
      sandbox_attempt = std::max(sandbox_attempt, old.attempt + 1);
    }
    const auto id = co_await parts.runtime.run_sandbox(sandbox_config(sandbox_attempt));
    const auto status = co_await parts.runtime.sandbox_status(id);
    record.sandbox_id = id;
    record.ip = is_host_network() ? record.host_ip : status.ip;
    for (auto& one : record.containers) {
      if (one.phase == Phase::waiting) continue;
      // Containers of a sandbox that is gone are gone too.
      if (one.phase == Phase::running) lost(one);
    }
  }

  void lost(ContainerRecord& one) {
    Termination end{one.id, 137, "Error", "the sandbox of the pod was lost", one.started, now()};
    ended(one, end);
  }

  // --- containers

  Task<std::string> ensure_image(const json::object& container, const ContainerRecord& one) {
    auto policy_text = text_at(container, {"imagePullPolicy"});
    if (policy_text.empty()) policy_text = one.image.ends_with(":latest") || one.image.find(':', one.image.rfind('/') + 1) == std::string::npos ? "Always" : "IfNotPresent";
    const auto present = co_await parts.runtime.image_status(one.image);
    if (present && policy_text != "Always") co_return present->id;
    if (policy_text == "Never") {
      throw Error(ErrorKind::not_found, "Container image \"" + one.image + "\" is not present with pull policy of Never").with_detail("ErrImageNeverPull");
    }
    // Images of this machine's own builds have no registry to come from.
    if (one.image.starts_with("localhost/")) {
      if (present) co_return present->id;
      throw Error(ErrorKind::not_found, "Container image \"" + one.image + "\" is not on this machine; run `workflow up`").with_detail("ErrImageNeverPull");
    }
    event("Normal", "Pulling", "Pulling image \"" + one.image + "\"");
    std::string trouble;
    try {
      auto id = co_await parts.runtime.pull_image(one.image, pull_secret(one.image));
      event("Normal", "Pulled", "Successfully pulled image \"" + one.image + "\"");
      co_return id;
    } catch (const Error& error) {
      trouble = describe(std::current_exception());
    }
    throw Error(ErrorKind::unavailable, "failed to pull image \"" + one.image + "\": " + trouble).with_detail("ErrImagePull");
  }

  // Credentials of the image's registry, from imagePullSecrets.
  std::optional<cri::Auth> pull_secret(const std::string& image) {
    const auto slash = image.find('/');
    const auto first = image.substr(0, slash);
    const bool has_host = slash != std::string::npos && (first.find('.') != std::string::npos || first.find(':') != std::string::npos || first == "localhost");
    const auto host = has_host ? first : std::string("docker.io");
    for (const auto& ref : list_at(spec(), {"imagePullSecrets"})) {
      const auto data = secret_data(text_at(ref, {"name"}));
      if (!data) continue;
      const auto found = data->find(".dockerconfigjson");
      const auto config = found == data->end() ? std::nullopt : parse_json(found->second);
      const auto* auths = config ? find_path(*config, {"auths"}) : nullptr;
      if (!auths || !auths->is_object()) continue;
      for (const auto& [server, entry] : auths->get_object()) {
        const std::string name_of_server(server);
        if (name_of_server.find(host) == std::string::npos && !(host == "docker.io" && name_of_server.find("index.docker.io") != std::string::npos)) continue;
        return cri::Auth{.username = text_at(entry, {"username"}), .password = Secret(text_at(entry, {"password"})),
                         .auth = Secret(text_at(entry, {"auth"})), .identity_token = Secret(), .server = name_of_server};
      }
    }
    return std::nullopt;
  }

  cri::ContainerConfig container_config(const json::object& container, const ContainerRecord& one, const std::string& image) {
    cri::ContainerConfig config;
    config.name = one.name;
    config.attempt = static_cast<std::uint32_t>(one.restarts);
    config.image = image;
    const auto env = environment_of(container, env_sources(container));
    const std::map<std::string, std::string> values(env.begin(), env.end());
    config.env = env;
    for (const auto& word : words_at(container, "command")) config.command.push_back(expand_variables(word, values));
    for (const auto& word : words_at(container, "args")) config.args.push_back(expand_variables(word, values));
    config.working_dir = text_at(container, {"workingDir"});
    config.in = find_bool(container, {"stdin"}).value_or(false);
    config.in_once = find_bool(container, {"stdinOnce"}).value_or(false);
    config.tty = find_bool(container, {"tty"}).value_or(false);
    config.labels = {{label_pod, name}, {label_namespace, ns}, {label_uid, uid}, {label_container, one.name}};
    config.log_path = one.name + "/" + std::to_string(one.restarts) + ".log";
    config.resources = resources_of(container);
    config.security = security_of(spec(), container);
    add_mounts(config, container, values);
    return config;
  }

  void add_mounts(cri::ContainerConfig& config, const json::object& container, const std::map<std::string, std::string>& env) {
    const VolumePlaces places{pod_folder(parts.config, uid), parts.config.state / "volumes"};
    for (const auto& mount : list_at(container, {"volumeMounts"})) {
      const auto volume_name = text_at(mount, {"name"});
      const json::object* volume = nullptr;
      for (const auto& item : list_at(spec(), {"volumes"})) {
        if (text_at(item, {"name"}) == volume_name) volume = &item.get_object();
      }
      if (!volume) throw Error(ErrorKind::invalid, "volume \"" + volume_name + "\" not found");
      auto host = prepare_volume(*volume, ns, places, fs_group());
      auto sub = text_at(mount, {"subPath"});
      if (const auto expression = text_at(mount, {"subPathExpr"}); !expression.empty()) sub = expand_variables(expression, env);
      // Files of a secret or a config map lie behind the link that switches them.
      if (!sub.empty()) host = fs::exists(host / "..data" / sub) ? fs::canonical(host / "..data" / sub) : inside(host, sub);
      const auto propagation = text_at(mount, {"mountPropagation"});
      config.mounts.push_back({text_at(mount, {"mountPath"}), host.string(), find_bool(mount, {"readOnly"}).value_or(false),
                               propagation == "Bidirectional"     ? cri::Mount::Propagation::bidirectional
                               : propagation == "HostToContainer" ? cri::Mount::Propagation::host_to_container
                                                                  : cri::Mount::Propagation::private_});
    }
    if (is_host_network()) return;
    const auto hosts = pod_folder(parts.config, uid) / "etc-hosts";
    std::string text = "# Managed by the engine.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" + record.ip + "\t" + name + "\n";
    for (const auto& alias : list_at(spec(), {"hostAliases"})) {
      text += text_at(alias, {"ip"});
      for (const auto& host : list_at(alias, {"hostnames"})) text += "\t" + std::string(host.as_string());
      text += "\n";
    }
    if (find_file(hosts) != text) write_file_atomically(hosts, text);
    config.mounts.push_back({"/etc/hosts", hosts.string(), false});
  }

  Task<> start_container(std::size_t index) {
    auto* one = &record.containers[index];
    const auto container_name = one->name;
    const auto* container = container_spec(container_name);
    std::string reason, trouble, id;
    try {
      const bool again = one->phase == Phase::terminated;
      const auto image = co_await ensure_image(*container, *one);
      if (record.terminating) co_return;
      if (again) {
        const auto ran = one->last.finished - one->last.started;
        one->backoff = next_backoff(one->restarts == 0 ? 0ms : std::max<std::chrono::milliseconds>(one->backoff, 5s), ran);
        one->restarts += 1;
      }
      reason = "CreateContainerConfigError";
      auto config = container_config(*container, *one, image);
      reason = "CreateContainerError";
      // A container of that name and attempt may be left from a start that was cut short.
      for (const auto& old : co_await parts.runtime.list_containers({{label_uid, uid}, {label_container, container_name}})) {
        if (old.state == cri::ContainerState::running) co_await parts.runtime.stop_container(old.id, 0s);
        if (old.attempt >= config.attempt || old.attempt + 1 < config.attempt) co_await parts.runtime.remove_container(old.id);
      }
      id = co_await parts.runtime.create_container(record.sandbox_id, std::move(config), sandbox_config(sandbox_attempt));
      event("Normal", "Created", "Created container: " + container_name);
      reason = "RunContainerError";
      starting_ids.insert(id);
      co_await parts.runtime.start_container(id);
      if (one->phase == Phase::terminated) one->previous = one->last;
      one->id = id;
      one->image_id = image;
      one->phase = Phase::running;
      one->started = now();
      one->ready = one->startup_done = false;
      one->message.clear();
      event("Normal", "Started", "Started container " + container_name);
      run_post_start(*one, *container);
      begin_probes(*one, false);
      // Its end may have been told before the record named it.
      if (exits.contains(id)) tasks.spawn("ended", look_at(id));
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::not_found && !error.detail().empty()) reason = error.detail();
      else if (error.detail() == "ErrImagePull") reason = error.detail();
      else if (reason.empty()) reason = "CreateContainerError";
      trouble = error.message();
    }
    starting_ids.erase(id);
    if (!trouble.empty()) {
      exits.erase(id);
      failed_to_start(*one, reason, trouble);
    }
    changes.notify_all();
  }

  void failed_to_start(ContainerRecord& one, const std::string& reason, const std::string& trouble) {
    event("Warning", reason == "ErrImagePull" || reason == "ErrImageNeverPull" || reason.starts_with("Create") || reason.starts_with("Run") ? "Failed" : reason,
          trouble);
    // The second time on, the reason says that we wait before the next try.
    const bool repeated = one.phase == Phase::waiting && one.backoff > 0ms;
    one.phase = Phase::waiting;
    one.reason = reason == "ErrImagePull" && repeated ? "ImagePullBackOff" : reason;
    one.message = one.reason == "ImagePullBackOff" ? "Back-off pulling image \"" + one.image + "\": " + trouble : trouble;
    one.backoff = one.backoff == 0ms ? std::chrono::milliseconds(reason == "CreateContainerConfigError" ? 1s : 5s) : std::min<std::chrono::milliseconds>(one.backoff * 2, 5min);
    one.not_before = now() + one.backoff;
  }

  void run_post_start(ContainerRecord& one, const json::object& container) {
    const auto* command = find_path(container, {"lifecycle", "postStart", "exec", "command"});
    if (!command || !command->is_array()) return;
    std::vector<std::string> words;
    for (const auto& word : command->get_array()) words.emplace_back(word.as_string());
    auto hook = [](State& self, std::string id, std::string container_name, std::vector<std::string> argv) -> Task<> {
      std::string trouble;
      try {
        const auto done = co_await self.parts.runtime.exec_sync(id, std::move(argv), 120s);
        if (done.exit_code != 0) trouble = "exited with " + std::to_string(done.exit_code) + ": " + done.err;
      } catch (const Error& error) {
        trouble = error.message();
      }
      if (trouble.empty()) co_return;
      self.event("Warning", "FailedPostStartHook", "PostStartHook of " + container_name + " failed: " + trouble);
      co_await self.parts.runtime.stop_container(id, 2s);
    };
    tasks.spawn("postStart", hook(*this, one.id, one.name, std::move(words)));
  }

  // Readiness without a probe is being up; a startup probe holds the others back.
  void begin_probes(ContainerRecord& one, bool adopted_running) {
    const auto* container = container_spec(one.name);
    if (!container) return;
    auto group = std::make_unique<TaskGroup>(parts.executor);
    const auto interval = kube::annotation_of(*pod, "engine.deis.io/probe-interval");
    auto verdict = [this, id = one.id, name_ = one.name](auto change) {
      return [this, id, name_, change](bool well, const std::string& why) {
        auto* record_now = find(name_);
        if (record_now && record_now->id == id) change(*record_now, well, why);
        changes.notify_all();
      };
    };
    const ProbeTarget target{record.ip, one.id, container};
    auto begin_rest = [this, container, interval, target, verdict, adopted_running](ContainerRecord& it, TaskGroup& tasks_of_it) {
      it.startup_done = true;
      if (const auto* readiness = find_path(*container, {"readinessProbe"})) {
        // What was ready before the engine restarted stays so until a probe says otherwise.
        it.ready = adopted_running && was_ready(it.name);
        auto change = verdict([this](ContainerRecord& r, bool well, const std::string& why) {
          r.ready = well;
          if (!well) event("Warning", "Unhealthy", "Readiness probe failed: " + why);
        });
        tasks_of_it.spawn("readiness", watch_probe(parts.runtime, parts.http, readiness->as_object(), target, timing_of(readiness->as_object(), interval), it.ready, change));
      } else {
        it.ready = true;
      }
      if (const auto* liveness = find_path(*container, {"livenessProbe"})) {
        auto change = verdict([this](ContainerRecord& r, bool well, const std::string& why) {
          if (well || r.phase != Phase::running) return;
          event("Warning", "Unhealthy", "Liveness probe failed: " + why);
          event("Normal", "Killing", "Container " + r.name + " failed liveness probe, will be restarted");
          kill_container(r.id, r.name);
        });
        tasks_of_it.spawn("liveness", watch_probe(parts.runtime, parts.http, liveness->as_object(), target, timing_of(liveness->as_object(), ""), true, change));
      }
    };
    auto* tasks_of_it = group.get();
    if (const auto* startup = find_path(*container, {"startupProbe"}); startup && !(adopted_running && was_ready(one.name))) {
      auto change = verdict([this, begin_rest, tasks_of_it](ContainerRecord& r, bool well, const std::string& why) {
        if (well && !r.startup_done) {
          begin_rest(r, *tasks_of_it);
        } else if (!well && !r.startup_done) {
          event("Warning", "Unhealthy", "Startup probe failed: " + why);
          kill_container(r.id, r.name);
        }
      });
      tasks_of_it->spawn("startup", watch_probe(parts.runtime, parts.http, startup->as_object(), target, timing_of(startup->as_object(), interval), false, change));
    } else {
      begin_rest(one, *tasks_of_it);
    }
    probes[one.id] = std::move(group);
  }

  bool was_ready(const std::string& container_name) const {
    const auto status = kube::pod_status_of(*pod);
    const auto* found = status.find_container(container_name);
    return found && found->ready;
  }

  void kill_container(const std::string& id, const std::string& container_name) {
    if (!killing.insert(id).second) return;
    auto kill = [](State& self, std::string container_id, std::string its_name) -> Task<> {
      std::string trouble;
      try {
        co_await self.parts.runtime.stop_container(container_id, std::chrono::seconds(self.grace_seconds()));
      } catch (const Error& error) {
        trouble = error.message();
      }
      self.killing.erase(container_id);
      if (trouble.empty()) co_await self.look_at(container_id);
      else log::warn("container could not be stopped", kv("container", its_name), kv("error", trouble));
    };
    tasks.spawn("kill", kill(*this, id, container_name));
  }

  std::int64_t grace_seconds() const { return find_integer(spec(), {"terminationGracePeriodSeconds"}).value_or(30); }

  ContainerRecord* running_container(const std::string& id) {
    for (auto& one : record.containers) {
      if (one.id == id && one.phase == Phase::running) return &one;
    }
    return nullptr;
  }

  // Asks the runtime how the container is, after an event or a doubt. The runtime's CRI half hears of an exit when we do
  // and says so only after it has cleaned up, so one that was told is asked for until it is seen.
  Task<> look_at(std::string id) {
    for (auto pause = 5ms; running_container(id); pause *= 2) {
      std::optional<cri::ContainerStatus> status;
      bool gone = false;
      try {
        status = co_await parts.runtime.container_status(id);
      } catch (const Error& error) {
        gone = error.kind() == ErrorKind::not_found;
      }
      auto* one = running_container(id);
      if (!one) break;
      const auto told = exits.find(id);
      if (gone) {
        lost(*one);
      } else if (status && status->state == cri::ContainerState::exited) {
        ended(*one, termination_of(*status));
      } else if (told == exits.end()) {
        co_return;
      } else if (pause > 2s) {
        const auto& [code, at] = told->second;
        ended(*one, {id, code, code == 0 ? "Completed" : "Error", "", one->started, at});
      } else {
        co_await sleep_for(pause);
      }
    }
    exits.erase(id);
  }

  void ended(ContainerRecord& one, const Termination& end) {
    stop_probes(one.id);
    one.phase = Phase::terminated;
    one.last = end;
    if (one.last.started == Time{}) one.last.started = one.started;
    one.ready = one.startup_done = false;
    if (!record.terminating && should_restart(one, policy())) {
      // At once the first time; then it waits longer and longer.
      const auto pause = one.restarts == 0 ? 0ms : next_backoff(one.restarts == 1 ? 0ms : one.backoff, one.last.finished - one.last.started);
      one.not_before = now() + pause;
      if (pause > 0ms) {
        one.backoff = pause;
        event("Warning", "BackOff", "Back-off restarting failed container " + one.name + " in pod " + name);
      }
    }
    changes.notify_all();
  }

  void stop_probes(const std::string& id) {
    const auto found = probes.find(id);
    if (found == probes.end()) return;
    auto group = std::move(found->second);
    probes.erase(found);
    group->cancel();
    auto join = [](std::unique_ptr<TaskGroup> its) -> Task<> { co_await its->join(); };
    tasks.spawn("probes end", join(std::move(group)));
  }

  // --- status

  Task<> write_status() {
    auto change = [this](json::object& object) {
      if (kube::uid_of(object) != uid) return false;
      const auto* old = find_path(object, {"status"});
      const auto* old_object = old && old->is_object() ? &old->get_object() : nullptr;
      auto status = status_of(record, object, old_object, now());
      if (deadline_exceeded) {
        status["phase"] = "Failed";
        status["reason"] = "DeadlineExceeded";
        status["message"] = "Pod was active on the node longer than the specified deadline";
      }
      // While it waits for its next start, a container that crashed says so, as kubectl's users expect.
      show_back_off(status);
      if (old_object && *old_object == status) return false;
      object["status"] = std::move(status);
      return true;
    };
    if (auto written = co_await parts.store.edit(kube::resources::pods, ns, name, change)) {
      if (kube::uid_of(*written) == uid) pod = written;
    }
  }

  void show_back_off(json::object& status) const {
    for (const auto& one : record.containers) {
      if (one.phase != Phase::terminated || one.not_before <= now() || record.terminating || !should_restart(one, policy())) continue;
      auto* list = status.if_contains(one.init ? "initContainerStatuses" : "containerStatuses");
      if (!list) continue;
      for (auto& item : list->as_array()) {
        if (find_string(item, {"name"}) != one.name) continue;
        auto& shown = item.as_object();
        shown["lastState"] = shown["state"];
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(one.backoff).count();
        shown["state"] = json::object{{"waiting", {{"reason", "CrashLoopBackOff"}, {"message", "back-off " + std::to_string(seconds) +
                                      "s restarting failed container=" + one.name + " pod=" + name + "_" + ns + "(" + uid + ")"}}}};
      }
    }
  }

  // --- the end

  Task<> run_pre_stop(const ContainerRecord& one, std::chrono::seconds limit) {
    const auto* container = container_spec(one.name);
    const auto* hook = container ? find_path(*container, {"lifecycle", "preStop"}) : nullptr;
    if (!hook) co_return;
    std::string trouble;
    try {
      if (const auto* command = find_path(*hook, {"exec", "command"})) {
        std::vector<std::string> words;
        for (const auto& word : command->as_array()) words.emplace_back(word.as_string());
        co_await parts.runtime.exec_sync(one.id, std::move(words), limit);
      } else if (const auto seconds = find_integer(*hook, {"sleep", "seconds"})) {
        co_await sleep_for(std::min<std::chrono::seconds>(std::chrono::seconds(*seconds), limit));
      } else if (find_path(*hook, {"httpGet"})) {
        co_await ask(parts.runtime, parts.http, hook->as_object(), {record.ip, one.id, container}, limit);
      }
    } catch (const Error& error) {
      trouble = error.message();
    }
    if (!trouble.empty()) event("Warning", "FailedPreStopHook", "PreStopHook of " + one.name + " failed: " + trouble);
  }

  Task<> stop_one(ContainerRecord& one, Time deadline) {
    event("Normal", "Killing", "Stopping container " + one.name);
    auto left = [&] { return std::max<std::chrono::seconds>(std::chrono::ceil<std::chrono::seconds>(deadline - now()), 0s); };
    if (left() > 0s) co_await run_pre_stop(one, left());
    stop_probes(one.id);
    std::string trouble;
    try {
      co_await parts.runtime.stop_container(one.id, std::max<std::chrono::seconds>(left(), deadline > now() ? 1s : 0s));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::not_found) trouble = error.message();
    }
    if (!trouble.empty()) log::warn("container could not be stopped", kv("pod", name), kv("container", one.name), kv("error", trouble));
    co_await look_at(one.id);
  }

  Task<> stop_all(Time deadline) {
    record.terminating = true;
    TaskGroup stops(parts.executor);
    for (auto& one : record.containers) {
      if (one.phase == Phase::running) stops.spawn("stop", stop_one(one, deadline));
    }
    co_await write_status();
    co_await stops.join();
  }

  Task<> remove_everything() {
    for (const auto& sandbox : co_await parts.runtime.list_sandboxes({{label_uid, uid}})) {
      co_await parts.runtime.stop_sandbox(sandbox.id);
      co_await parts.runtime.remove_sandbox(sandbox.id);
    }
    record.sandbox_id.clear();
    co_await offload([folder = pod_folder(parts.config, uid), logs = log_folder(parts.config, ns, name, uid), is_gone = true] {
      remove_volumes(folder);
      std::error_code ignored;
      if (is_gone) fs::remove_all(logs, ignored);
    });
  }

  // --- the loop

  std::optional<Time> deadline_of_pod() const {
    const auto seconds = find_integer(spec(), {"activeDeadlineSeconds"});
    if (!seconds) return std::nullopt;
    return record.started + std::chrono::seconds(*seconds);
  }

  Task<> wait_for_change(std::uint64_t seen, std::optional<Time> until) {
    if (!until) {
      co_await changes.wait(seen);
      co_return;
    }
    const auto limit = std::max<std::chrono::nanoseconds>(*until - now(), 1ms);
    try {
      co_await with_deadline(limit, "", changes.wait(seen));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::timeout) throw;
    }
  }

  // One look at what should be; starts what can be started. Returns when to look again by time alone.
  Task<std::optional<Time>> step() {
    std::optional<Time> again = next_start(record, policy());
    auto sooner = [&again](Time time) { again = !again || time < *again ? time : *again; };
    if (const auto deadline = deadline_of_pod()) {
      if (*deadline <= now() && !deadline_exceeded) {
        deadline_exceeded = true;
        event("Warning", "DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
        co_await stop_all(now() + std::chrono::seconds(grace_seconds()));
      }
      if (!deadline_exceeded) sooner(*deadline);
    }
    const auto phase = deadline_exceeded ? "Failed" : phase_of(record, policy());
    if (phase == "Succeeded" || phase == "Failed") co_return std::nullopt;
    if (record.sandbox_id.empty() || !volumes_ready) {
      if (sandbox_not_before > now()) {
        sooner(sandbox_not_before);
        co_return again;
      }
      std::string reason = "FailedMount", trouble;
      try {
        if (!volumes_ready) co_await prepare_volumes();
        reason = "FailedCreatePodSandBox";
        co_await ensure_sandbox();
        sandbox_backoff = 0ms;
      } catch (const Error& error) {
        trouble = describe(std::current_exception());
      }
      if (!trouble.empty()) {
        event("Warning", reason, trouble);
        sandbox_backoff = sandbox_backoff == 0ms ? 500ms : std::min<std::chrono::milliseconds>(sandbox_backoff * 2, 30s);
        sandbox_not_before = now() + sandbox_backoff;
        sooner(sandbox_not_before);
        co_return again;
      }
    }
    for (const auto index : startable(record, policy(), now())) {
      const auto container_name = record.containers[index].name;
      if (!starting.insert(container_name).second) continue;
      auto start = [](State& self, std::size_t i, std::string its_name) -> Task<> {
        co_await self.start_container(i);
        self.starting.erase(its_name);
        self.changes.notify_all();
      };
      tasks.spawn("start container", start(*this, index, container_name));
    }
    co_return again;
  }

  Task<> live() {
    begin_record();
    for (;;) {
      const auto seen = changes.version();
      pod = parts.store.find(kube::resources::pods, ns, name);
      if (!pod || kube::uid_of(*pod) != uid || kube::is_being_deleted(*pod)) break;
      const auto again = co_await step();
      co_await write_status();
      co_await wait_for_change(seen, again);
    }
  }

  Task<> end() {
    const bool asked = pod && kube::uid_of(*pod) == uid;
    if (!pod) pod = std::make_shared<json::object>(json::object{{"metadata", {{"name", name}, {"namespace", ns}, {"uid", uid}}}, {"spec", json::object()}});
    const auto grace = asked ? find_integer(*pod, {"metadata", "deletionGracePeriodSeconds"}).value_or(grace_seconds()) : 5;
    const auto deadline = now() + std::chrono::seconds(grace);
    co_await stop_all(deadline);
    co_await tasks.stop();
    for (auto pause = 100ms;; pause = std::min<std::chrono::milliseconds>(pause * 2, 5s)) {
      std::string trouble;
      try {
        co_await remove_everything();
      } catch (const Error& error) {
        trouble = describe(std::current_exception());
      }
      if (trouble.empty()) break;
      log::warn("pod could not be removed; trying again", kv("pod", name), kv("namespace", ns), kv("error", trouble));
      co_await sleep_for(pause);
    }
    if (!asked) co_return;
    try {
      DeleteOptions options;
      options.grace_period_seconds = 0;
      options.uid = uid;
      co_await parts.store.remove(kube::resources::pods, ns, name, options);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::not_found && error.kind() != ErrorKind::conflict) throw;
    }
  }
};

PodWorker::PodWorker(NodeParts& parts, std::string ns, std::string name, std::string uid, Adopted adopted)
    : state_(std::make_unique<State>(parts, std::move(ns), std::move(name), std::move(uid), std::move(adopted))) {}
PodWorker::~PodWorker() = default;

Task<> PodWorker::run() {
  auto& state = *state_;
  state.pod = state.parts.store.find(kube::resources::pods, state.ns, state.name);
  if (state.pod && kube::uid_of(*state.pod) != state.uid) state.pod = nullptr;
  auto stop = [&state]() -> Task<> {
    co_await state.tasks.stop();
    for (auto& [id, group] : state.probes) co_await group->stop();
  };
  auto life = [&state]() -> Task<> {
    if (state.pod) co_await state.live();
    co_await state.end();
  };
  co_await with_cleanup(life(), stop);
}

void PodWorker::wake() { state_->changes.notify_all(); }

void PodWorker::refresh_volumes() {
  if (!state_->volumes_ready || !state_->pod || state_->record.terminating) return;
  auto refresh = [](State& state) -> Task<> {
    try {
      co_await state.prepare_volumes();
    } catch (const Error& error) {
      log::debug("volumes not refreshed", kv("pod", state.name), kv("error", error.message()));
    }
  };
  state_->tasks.spawn("volumes", refresh(*state_));
}

void PodWorker::container_ended(const std::string& id, const Exit& exit) {
  state_->exits.insert_or_assign(id, exit);
  if (state_->running_container(id)) look_at(id);
}

void PodWorker::look_at(const std::string& id) { state_->tasks.spawn("look", state_->look_at(id)); }

bool PodWorker::has_container(const std::string& id) const {
  if (state_->starting_ids.contains(id)) return true;
  return std::ranges::any_of(state_->record.containers, [&](const ContainerRecord& one) { return one.id == id; });
}

const PodRecord& PodWorker::record() const { return state_->record; }

bool PodWorker::mounts(const std::string& name) const {
  if (!state_->pod) return false;
  const auto* volumes = find_path(*state_->pod, {"spec", "volumes"});
  // A cheap, generous test: the name anywhere in the volumes.
  return volumes && json::serialize(*volumes).find("\"" + name + "\"") != std::string::npos;
}

}  // namespace workflow::engine
