#include "engine/node/container_config.h"

#include <unistd.h>

#include <algorithm>

#include "engine/quantity.h"
#include "lib/base/error.h"
#include "lib/base/text.h"
#include "lib/kube/names.h"
#include "lib/kube/objects.h"

namespace workflow::engine {
namespace {

const json::array& list_at(const json::object& object, std::string_view name) {
  static const json::array none;
  const auto* value = object.if_contains(name);
  return value && value->is_array() ? value->get_array() : none;
}

std::string text_at(const json::value& value, Path path) { return find_string(value, path).value_or(""); }

[[noreturn]] void config_error(std::string message) { throw Error(ErrorKind::invalid, std::move(message)); }

std::optional<std::string> value_from(const json::value& from, const EnvSources& sources) {
  for (const auto& [kind, find, what] :
       {std::tuple{"secretKeyRef", &sources.secret, "secret"}, {"configMapKeyRef", &sources.config_map, "configmap"}}) {
    const auto* ref = find_path(from, {kind});
    if (!ref) continue;
    const auto name = text_at(*ref, {"name"}), key = text_at(*ref, {"key"});
    const bool optional = find_bool(*ref, {"optional"}).value_or(false);
    const auto data = (*find)(name);
    if (!data) {
      if (optional) return std::nullopt;
      config_error(std::string(what) + " \"" + name + "\" not found");
    }
    const auto found = data->find(key);
    if (found != data->end()) return found->second;
    if (optional) return std::nullopt;
    config_error("couldn't find key " + key + " in " + what + " " + name);
  }
  if (const auto* ref = find_path(from, {"fieldRef"})) return sources.field(text_at(*ref, {"fieldPath"}));
  if (const auto* ref = find_path(from, {"resourceFieldRef"})) {
    return sources.resource(text_at(*ref, {"containerName"}), text_at(*ref, {"resource"}), text_at(*ref, {"divisor"}));
  }
  return std::nullopt;
}

std::optional<std::int64_t> integer_of(const json::object& pod_spec, const json::object& container,
                                       std::string_view name) {
  if (auto own = find_integer(container, {"securityContext", name})) return own;
  return find_integer(pod_spec, {"securityContext", name});
}

std::string quantity_at(const json::object& container, std::string_view kind, std::string_view resource) {
  const auto* value = find_path(container, {"resources", kind, resource});
  if (!value) return "";
  return value->is_string() ? std::string(value->get_string()) : json::serialize(*value);
}

}  // namespace

// As Kubernetes does it: a reference ends at the first parenthesis, and one of an unknown name stays as it is, with all
// that it holds.
std::string expand_variables(std::string_view text, const std::map<std::string, std::string>& values) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto after = i + 1 < text.size() ? text[i + 1] : '\0';
    const auto end = after == '(' ? text.find(')', i) : std::string_view::npos;
    if (text[i] != '$' || (after != '$' && end == std::string_view::npos)) {
      out += text[i];
    } else if (after == '$') {
      out += '$';
      ++i;
    } else {
      const auto found = values.find(std::string(text.substr(i + 2, end - i - 2)));
      out += found == values.end() ? text.substr(i, end - i + 1) : std::string_view(found->second);
      i = end;
    }
  }
  return out;
}

EnvList environment_of(const json::object& container, const EnvSources& sources) {
  EnvList order;
  std::map<std::string, std::string> values;
  auto set = [&](const std::string& name, std::string value) {
    if (values.insert_or_assign(name, value).second) {
      order.emplace_back(name, "");
    }
  };
  for (const auto& [name, value] : sources.service_links) set(name, value);
  for (const auto& item : list_at(container, "envFrom")) {
    const auto prefix = text_at(item, {"prefix"});
    for (const auto& [kind, find, what] :
         {std::tuple{"secretRef", &sources.secret, "secret"}, {"configMapRef", &sources.config_map, "configmap"}}) {
      const auto* ref = find_path(item, {kind});
      if (!ref) continue;
      const auto name = text_at(*ref, {"name"});
      const auto data = (*find)(name);
      if (!data && !find_bool(*ref, {"optional"}).value_or(false))
        config_error(std::string(what) + " \"" + name + "\" not found");
      if (!data) continue;
      for (const auto& [key, value] : *data) {
        if (kube::is_environment_name(prefix + key)) set(prefix + key, value);
      }
    }
  }
  for (const auto& item : list_at(container, "env")) {
    const auto name = text_at(item, {"name"});
    if (const auto* from = find_path(item, {"valueFrom"})) {
      if (auto value = value_from(*from, sources)) set(name, *std::move(value));
    } else {
      set(name, expand_variables(text_at(item, {"value"}), values));
    }
  }
  for (auto& [name, value] : order) value = values.at(name);
  return order;
}

EnvList service_links(const std::vector<const json::object*>& services, bool all) {
  EnvList env;
  for (const auto* service : services) {
    const auto name = kube::name_of(*service);
    const auto ip = find_string(*service, {"spec", "clusterIP"}).value_or("");
    const bool is_api = name == "kubernetes" && kube::namespace_of(*service) == "default";
    if (ip.empty() || ip == "None" || (!all && !is_api)) continue;
    std::string prefix = name;
    std::ranges::transform(prefix, prefix.begin(),
                           [](char c) { return c == '-' ? '_' : static_cast<char>(std::toupper(c)); });
    const auto* ports = find_path(*service, {"spec", "ports"});
    if (!ports || !ports->is_array() || ports->get_array().empty()) continue;
    auto port_text = [](const json::value& port) { return std::to_string(find_integer(port, {"port"}).value_or(0)); };
    const auto first = port_text(ports->get_array().front());
    env.emplace_back(prefix + "_SERVICE_HOST", ip);
    env.emplace_back(prefix + "_SERVICE_PORT", first);
    for (const auto& port : ports->get_array()) {
      auto port_name = text_at(port, {"name"});
      if (port_name.empty()) continue;
      std::ranges::transform(port_name, port_name.begin(),
                             [](char c) { return c == '-' ? '_' : static_cast<char>(std::toupper(c)); });
      env.emplace_back(prefix + "_SERVICE_PORT_" + port_name, port_text(port));
    }
    bool is_first = true;
    for (const auto& port : ports->get_array()) {
      auto protocol = text_at(port, {"protocol"});
      if (protocol.empty()) protocol = "TCP";
      const auto number = port_text(port), scheme = lower(protocol);
      const auto url = scheme + "://" + ip + ":" + number;
      if (std::exchange(is_first, false)) env.emplace_back(prefix + "_PORT", url);
      const auto base = prefix + "_PORT_" + number + "_" + protocol;
      env.emplace_back(base, url);
      env.emplace_back(base + "_PROTO", scheme);
      env.emplace_back(base + "_PORT", number);
      env.emplace_back(base + "_ADDR", ip);
    }
  }
  return env;
}

cri::Resources resources_of(const json::object& container) {
  cri::Resources out;
  const auto cpu_limit = thousandths_at(container, {"resources", "limits", "cpu"});
  const auto cpu_request = thousandths_at(container, {"resources", "requests", "cpu"});
  const auto memory = thousandths_at(container, {"resources", "limits", "memory"});
  const auto shares = cpu_request ? cpu_request : cpu_limit;
  out.cpu_shares = shares ? std::max<std::int64_t>(2, *shares * 1024 / 1000) : 2;
  if (cpu_limit && *cpu_limit > 0) {
    out.cpu_period = 100'000;
    out.cpu_quota = std::max<std::int64_t>(1000, *cpu_limit * 100);
  }
  if (memory && *memory > 0) out.memory_limit = out.memory_swap_limit = *memory / 1000;
  return out;
}

std::int64_t pod_priority(const json::object& pod_spec) {
  const auto name = find_string(pod_spec, {"priorityClassName"}).value_or("");
  if (name == "system-cluster-critical" || name == "system-node-critical") return 2'000'000'000;
  return find_integer(pod_spec, {"priority"}).value_or(0);
}

std::int64_t oom_score_adjustment(const json::object& pod_spec, const json::object& container) {
  const auto priority = pod_priority(pod_spec);
  if (priority >= critical_priority) return -997;
  if (priority < 0) return 1000;
  const auto qos = qos_class(pod_spec);
  if (qos == "Guaranteed") return -997;
  if (qos == "BestEffort") return 1000;
  // The more it asked for, the later its turn; never before those that asked for nothing.
  const auto request = thousandths_at(container, {"resources", "requests", "memory"}).value_or(0) / 1000;
  const auto total = static_cast<std::int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
  const auto score = 1000 - 1000 * (request / 1024) / std::max<std::int64_t>(1, total / 1024);
  return std::clamp<std::int64_t>(score, 3, 999);
}

void check_non_root(const json::object& pod_spec, const json::object& container, const cri::Image& image) {
  auto wanted = find_bool(container, {"securityContext", "runAsNonRoot"});
  if (!wanted) wanted = find_bool(pod_spec, {"securityContext", "runAsNonRoot"});
  if (!wanted.value_or(false)) return;
  if (const auto user = integer_of(pod_spec, container, "runAsUser")) {
    if (*user == 0) config_error("container's runAsUser breaks non-root policy");
    return;
  }
  if (image.uid && *image.uid == 0) config_error("container has runAsNonRoot and image will run as root");
  if (image.uid) return;
  if (image.username.empty()) config_error("container has runAsNonRoot and image will run as root");
  config_error("container has runAsNonRoot and image has non-numeric user (" + image.username +
               "), cannot verify user is non-root");
}

cri::SecurityContext security_of(const json::object& pod_spec, const json::object& container) {
  cri::SecurityContext out;
  out.user = integer_of(pod_spec, container, "runAsUser");
  out.group = integer_of(pod_spec, container, "runAsGroup");
  out.privileged = find_bool(container, {"securityContext", "privileged"}).value_or(false);
  out.read_only_root = find_bool(container, {"securityContext", "readOnlyRootFilesystem"}).value_or(false);
  out.no_new_privileges = !find_bool(container, {"securityContext", "allowPrivilegeEscalation"}).value_or(true);
  for (const auto& [name, into] : {std::pair{"add", &out.add_capabilities}, {"drop", &out.drop_capabilities}}) {
    const auto* list = find_path(container, {"securityContext", "capabilities", name});
    if (!list || !list->is_array()) continue;
    for (const auto& item : list->get_array()) {
      if (item.is_string()) into->emplace_back(item.get_string());
    }
  }
  if (const auto group = find_integer(pod_spec, {"securityContext", "fsGroup"}))
    out.supplemental_groups.push_back(*group);
  for (const auto* list = find_path(pod_spec, {"securityContext", "supplementalGroups"}); list && list->is_array();
       list = nullptr) {
    for (const auto& item : list->get_array()) {
      if (item.is_int64()) out.supplemental_groups.push_back(item.get_int64());
    }
  }
  auto seccomp = find_string(container, {"securityContext", "seccompProfile", "type"});
  if (!seccomp) seccomp = find_string(pod_spec, {"securityContext", "seccompProfile", "type"});
  // Without a wish the runtime's default profile: safer than Kubernetes' own default, and apps do not notice.
  out.seccomp = cri::Seccomp{
      seccomp == "Unconfined" || out.privileged ? cri::Seccomp::Type::unconfined : cri::Seccomp::Type::runtime_default,
      ""};
  if (!out.privileged) {
    out.masked_paths = {"/proc/acpi",          "/proc/kcore",      "/proc/keys",
                        "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
                        "/proc/sched_debug",   "/proc/scsi",       "/sys/firmware"};
    out.read_only_paths = {"/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
  }
  if (find_bool(pod_spec, {"hostNetwork"}).value_or(false)) out.namespaces.network = cri::NamespaceMode::node;
  if (find_bool(pod_spec, {"hostPID"}).value_or(false)) out.namespaces.pid = cri::NamespaceMode::node;
  if (find_bool(pod_spec, {"hostIPC"}).value_or(false)) out.namespaces.ipc = cri::NamespaceMode::node;
  if (find_bool(pod_spec, {"shareProcessNamespace"}).value_or(false)) out.namespaces.pid = cri::NamespaceMode::pod;
  return out;
}

std::string qos_class(const json::object& pod_spec) {
  bool any = false, all_guaranteed = true;
  for (const char* kind : {"containers", "initContainers"}) {
    for (const auto& item : list_at(pod_spec, kind)) {
      const auto& container = item.get_object();
      for (const char* resource : {"cpu", "memory"}) {
        const auto request = quantity_at(container, "requests", resource),
                   limit = quantity_at(container, "limits", resource);
        if (!request.empty() || !limit.empty()) any = true;
        if (limit.empty() || (!request.empty() && request != limit)) all_guaranteed = false;
      }
    }
  }
  return !any ? "BestEffort" : all_guaranteed ? "Guaranteed" : "Burstable";
}

}  // namespace workflow::engine
