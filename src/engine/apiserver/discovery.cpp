#include "engine/apiserver/discovery.h"

#include "engine/apiserver/resource_types.h"
#include "engine/fields.h"

namespace workflow::engine {

namespace {

json::array words(const std::vector<std::string>& list) {
  json::array result;
  for (const auto& word : list) result.emplace_back(word);
  return result;
}

struct Subresource {
  std::string kind, group, version;  // of its body
  std::vector<std::string> verbs;
};
Subresource describe(const ResourceType& type, const std::string& name) {
  const std::vector<std::string> change{"get", "patch", "update"};
  if (name == "scale") return {"Scale", "autoscaling", "v1", change};
  if (name == "log") return {"Pod", "", "v1", {"get"}};
  if (name == "exec") return {"PodExecOptions", "", "v1", {"create", "get"}};
  if (name == "attach") return {"PodAttachOptions", "", "v1", {"create", "get"}};
  if (name == "proxy") {
    const auto kind = type.kind() == "Pod" ? "PodProxyOptions" : "ServiceProxyOptions";
    return {kind, "", "v1", {"create", "delete", "get", "patch", "update"}};
  }
  if (name == "portforward") return {"PodPortForwardOptions", "", "v1", {"create", "get"}};
  if (name == "eviction") return {"Eviction", "policy", "v1", {"create"}};
  if (name == "token") return {"TokenRequest", "authentication.k8s.io", "v1", {"create"}};
  if (name == "finalize") return {type.kind(), type.group, type.version, {"update"}};
  return {type.kind(), type.group, type.version, change};
}

json::object version_of(const std::string& group, const std::string& version) {
  return {{"groupVersion", group.empty() ? version : group + "/" + version}, {"version", version}};
}

json::object kind_of(const std::string& group, const std::string& version, const std::string& kind) {
  return {{"group", group}, {"version", version}, {"kind", kind}};
}

json::object group_object(const ApiGroup& group) {
  json::array versions;
  for (const auto& version : group.versions) versions.push_back(version_of(group.name, version));
  return {{"name", group.name},
          {"versions", std::move(versions)},
          {"preferredVersion", version_of(group.name, group.versions.front())}};
}

json::array aggregated_resources(const std::string& group, const std::string& version) {
  json::array resources;
  for (const auto& type : resource_types()) {
    if (type.group != group || type.version != version) continue;
    json::object entry{{"resource", type.plural()},
                       {"responseKind", kind_of(group, version, type.kind())},
                       {"scope", type.namespaced() ? "Namespaced" : "Cluster"},
                       {"singularResource", type.singular},
                       {"verbs", words(type.verbs)}};
    if (!type.short_names.empty()) entry["shortNames"] = words(type.short_names);
    if (!type.categories.empty()) entry["categories"] = words(type.categories);
    json::array subresources;
    for (const auto& name : type.subresources) {
      const auto sub = describe(type, name);
      subresources.push_back(json::object{{"subresource", name},
                                          {"responseKind", kind_of(sub.group, sub.version, sub.kind)},
                                          {"verbs", words(sub.verbs)}});
    }
    if (!subresources.empty()) entry["subresources"] = std::move(subresources);
    resources.push_back(std::move(entry));
  }
  for (const auto& type : review_types()) {
    if (type.group != group || type.version != version) continue;
    resources.push_back(json::object{{"resource", type.plural},
                                     {"responseKind", kind_of(group, version, type.kind)},
                                     {"scope", type.namespaced ? "Namespaced" : "Cluster"},
                                     {"singularResource", ""},
                                     {"verbs", words({"create"})}});
  }
  if (group == "metrics.k8s.io") {
    for (const auto& type : metrics_types()) {
      resources.push_back(json::object{{"resource", type.plural},
                                       {"responseKind", kind_of(group, version, type.kind)},
                                       {"scope", type.namespaced ? "Namespaced" : "Cluster"},
                                       {"singularResource", type.singular},
                                       {"verbs", words({"get", "list"})}});
    }
  }
  return resources;
}

}  // namespace

json::object api_versions(const std::string& address) {
  return {{"kind", "APIVersions"},
          {"versions", json::array{"v1"}},
          {"serverAddressByClientCIDRs",
           json::array{json::object{{"clientCIDR", "0.0.0.0/0"}, {"serverAddress", address}}}}};
}

json::object api_group_list() {
  json::array groups;
  for (const auto& group : api_groups()) {
    if (!group.name.empty()) groups.push_back(group_object(group));
  }
  return {{"kind", "APIGroupList"}, {"apiVersion", "v1"}, {"groups", std::move(groups)}};
}

json::object api_group(const std::string& name) {
  json::object result{{"kind", "APIGroup"}, {"apiVersion", "v1"}};
  for (const auto& group : api_groups()) {
    if (group.name != name) continue;
    for (auto& [field, value] : group_object(group)) result[field] = value;
  }
  return result;
}

json::object api_resource_list(const std::string& group, const std::string& version) {
  json::array resources;
  for (const auto& value : aggregated_resources(group, version)) {
    const auto& entry = value.get_object();
    const bool namespaced = entry.at("scope") == "Namespaced";
    const auto name = std::string(entry.at("resource").get_string());
    json::object resource{{"name", name},
                          {"singularName", entry.at("singularResource")},
                          {"namespaced", namespaced},
                          {"kind", entry.at("responseKind").at("kind")},
                          {"verbs", entry.at("verbs")}};
    for (const auto* field : {"shortNames", "categories"}) {
      if (const auto* list = entry.if_contains(field)) resource[field] = *list;
    }
    resources.push_back(std::move(resource));
    const auto* subresources = entry.if_contains("subresources");
    if (subresources == nullptr) continue;
    for (const auto& sub : subresources->get_array()) {
      json::object row{{"name", name + "/" + std::string(sub.at("subresource").get_string())},
                       {"singularName", ""},
                       {"namespaced", namespaced},
                       {"kind", sub.at("responseKind").at("kind")},
                       {"verbs", sub.at("verbs")}};
      const auto& kind = sub.at("responseKind").get_object();
      if (text_at(kind, {"group"}) != group || text_at(kind, {"version"}) != version) {
        row["group"] = kind.at("group");
        row["version"] = kind.at("version");
      }
      resources.push_back(std::move(row));
    }
  }
  return {{"kind", "APIResourceList"},
          {"apiVersion", "v1"},
          {"groupVersion", group.empty() ? version : group + "/" + version},
          {"resources", std::move(resources)}};
}

json::object aggregated_discovery(Discovery which, const std::string& form) {
  json::array items;
  for (const auto& group : api_groups()) {
    if (group.name.empty() != (which == Discovery::core)) continue;
    json::array versions;
    for (const auto& version : group.versions) {
      versions.push_back(json::object{
          {"version", version}, {"freshness", "Current"}, {"resources", aggregated_resources(group.name, version)}});
    }
    json::object metadata{{"creationTimestamp", nullptr}};
    if (!group.name.empty()) metadata["name"] = group.name;
    items.push_back(json::object{{"metadata", std::move(metadata)}, {"versions", std::move(versions)}});
  }
  return {{"kind", "APIGroupDiscoveryList"},
          {"apiVersion", "apidiscovery.k8s.io/" + form},
          {"metadata", json::object()},
          {"items", std::move(items)}};
}

json::object version_info() {
  return {{"major", "1"},    {"minor", "32"},           {"gitVersion", "v1.32.0+workflow"},
          {"gitCommit", ""}, {"gitTreeState", "clean"}, {"buildDate", "1970-01-01T00:00:00Z"},
          {"goVersion", ""}, {"compiler", "clang"},     {"platform", "linux/amd64"}};
}

}  // namespace workflow::engine
