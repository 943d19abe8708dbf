// What a pod's containers are given: Secrets, ConfigMaps, the downward API, addresses of Services.
#include "engine/fields.h"
#include "engine/node/pod_view.h"
#include "engine/quantity.h"
#include "lib/base/error.h"
#include "lib/kube/objects.h"

namespace workflow::engine {
namespace {

std::optional<std::map<std::string, std::string>> config_map_data(const PodView& pod, const std::string& map) {
  const auto object = pod.store.find(kube::resources::config_maps, pod.ns, map);
  if (!object) return std::nullopt;
  auto data = string_map(value_at(*object, {"data"}));
  // binaryData is base64, as the data of a Secret is.
  if (const auto* binary = value_at(*object, {"binaryData"})) {
    for (auto& [key, value] : kube::secret_values({{"data", *binary}})) data[key] = std::move(value);
  }
  return data;
}

// The key inside metadata.labels['…'].
std::string subscript(const std::string& path) {
  const auto quote = path.find('\'');
  return quote == std::string::npos ? "" : path.substr(quote + 1, path.rfind('\'') - quote - 1);
}

std::string map_text(const std::map<std::string, std::string>& map) {
  std::string all;
  for (const auto& [key, value] : map) all += key + "=" + json::serialize(json::value(value)) + "\n";
  return all;
}

std::string field_of(const PodView& pod, const std::string& path) {
  if (path == "metadata.name") return pod.name;
  if (path == "metadata.namespace") return pod.ns;
  if (path == "metadata.uid") return pod.uid;
  if (path == "spec.nodeName") return pod.config.node_name;
  if (path == "spec.serviceAccountName") return text_at(pod.spec(), {"serviceAccountName"});
  if (path == "status.podIP" || path == "status.podIPs") return pod.ip;
  if (path == "status.hostIP" || path == "status.hostIPs") return pod.host_ip;
  for (const auto& [prefix, kind] : {std::pair{"metadata.labels", "labels"}, {"metadata.annotations", "annotations"}}) {
    if (!path.starts_with(prefix)) continue;
    const auto map = string_map(value_at(*pod.object, {"metadata", kind}));
    if (path == prefix) return map_text(map);
    const auto found = map.find(subscript(path));
    return found == map.end() ? "" : found->second;
  }
  throw Error(ErrorKind::invalid, "unsupported fieldPath: " + path);
}

// "limits.memory" of a container in units of `divisor`, rounded up. Without a limit it is what the node has.
std::string resource_of(const PodView& pod, const json::object& container, const std::string& resource,
                        const std::string& divisor) {
  const auto dot = resource.find('.');
  const auto kind = resource.substr(0, dot), what = dot == std::string::npos ? "" : resource.substr(dot + 1);
  auto amount = thousandths_at(container, {"resources", kind, what});
  if (!amount && kind == "limits") {
    if (const auto node = pod.store.find(kube::resources::nodes, "", pod.config.node_name))
      amount = thousandths_at(*node, {"status", "allocatable", what});
  }
  auto unit = quantity_in_thousandths(divisor).value_or(0);
  if (unit <= 0) unit = 1000;
  return std::to_string((amount.value_or(0) + unit - 1) / unit);
}

}  // namespace

const json::object* PodView::container(const std::string& container_name) const {
  for (const char* kind : {"initContainers", "containers"}) {
    for (const auto& item : array_at(spec(), {kind})) {
      if (item.is_object() && text_at(item.get_object(), {"name"}) == container_name) return &item.get_object();
    }
  }
  return nullptr;
}

bool PodView::is_on_host_network() const { return flag_at(spec(), {"hostNetwork"}); }

std::optional<std::map<std::string, std::string>> secret_data(const PodView& pod, const std::string& secret) {
  const auto object = pod.store.find(kube::resources::secrets, pod.ns, secret);
  if (!object) return std::nullopt;
  return kube::secret_values(*object);
}

VolumeReaders volume_readers(const PodView& pod) {
  VolumeReaders readers{.group = integer_at(pod.spec(), {"securityContext", "fsGroup"}), .user = std::nullopt};
  const auto common = integer_at(pod.spec(), {"securityContext", "runAsUser"});
  bool first = true;
  for (const char* kind : {"initContainers", "containers"}) {
    for (const auto& item : array_at(pod.spec(), {kind})) {
      const auto own = integer_at(item.as_object(), {"securityContext", "runAsUser"});
      const auto user = own ? own : common;
      if (!user || (!first && user != readers.user)) return {.group = readers.group, .user = std::nullopt};
      readers.user = user;
      first = false;
    }
  }
  return readers;
}

EnvSources env_sources(const PodView& pod, const json::object& container) {
  EnvSources sources;
  sources.secret = [&pod](const std::string& secret) { return secret_data(pod, secret); };
  sources.config_map = [&pod](const std::string& map) { return config_map_data(pod, map); };
  sources.field = [&pod](const std::string& path) { return field_of(pod, path); };
  sources.resource = [&pod, &container](const std::string& of, const std::string& resource,
                                        const std::string& divisor) {
    const auto* other = of.empty() ? &container : pod.container(of);
    return resource_of(pod, other ? *other : container, resource, divisor);
  };
  auto services = pod.store.list(kube::resources::services, pod.ns);
  if (pod.ns != "default") {
    if (auto api = pod.store.find(kube::resources::services, "default", "kubernetes")) services.push_back(api);
  }
  std::vector<const json::object*> pointers;
  for (const auto& service : services) pointers.push_back(service.get());
  sources.service_links = service_links(pointers, flag_at(pod.spec(), {"enableServiceLinks"}, true));
  return sources;
}

VolumeSources volume_sources(const PodView& pod, const Tokens& tokens) {
  VolumeSources sources;
  sources.secret = [&pod](const std::string& secret) { return secret_data(pod, secret); };
  sources.config_map = [&pod](const std::string& map) { return config_map_data(pod, map); };
  sources.field = [&pod](const std::string& path) { return field_of(pod, path); };
  sources.resource = [&pod](const std::string& of, const std::string& resource, const std::string& divisor) {
    const auto* container = pod.container(of);
    return container ? resource_of(pod, *container, resource, divisor) : std::string("0");
  };
  sources.token = [&tokens](const std::string& audience) { return tokens.at(audience).token.reveal(); };
  return sources;
}

}  // namespace workflow::engine
