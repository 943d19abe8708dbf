#include "engine/apiserver/resource_types.h"

#include <algorithm>

#include "engine/apiserver/views.h"
#include "lib/base/error.h"
#include "lib/base/text.h"

namespace workflow::engine {

namespace {

using Words = std::vector<std::string>;
namespace res = kube::resources;

const Words all_verbs{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"};
const Words in_all{"all"};

// What the table of lib/kube does not know. Everything is served with every verb.
struct Extra {
  const kube::Resource* resource;
  Words short_names, categories, subresources;
};
const std::vector<Extra>& extras() {
  static const std::vector<Extra> rows{
      {&res::namespaces, {"ns"}, {}, {"status", "finalize"}},
      {&res::nodes, {"no"}, {}, {"status"}},
      {&res::pods,
       {"po"},
       in_all,
       {"status", "log", "exec", "attach", "portforward", "proxy", "eviction", "ephemeralcontainers"}},
      {&res::services, {"svc"}, in_all, {"status", "proxy"}},
      {&res::endpoints, {"ep"}, {}, {}},
      {&res::secrets, {}, {}, {}},
      {&res::config_maps, {"cm"}, {}, {}},
      {&res::service_accounts, {"sa"}, {}, {"token"}},
      {&res::events, {"ev"}, {}, {}},
      {&res::persistent_volumes, {"pv"}, {}, {"status"}},
      {&res::persistent_volume_claims, {"pvc"}, {}, {"status"}},
      {&res::resource_quotas, {"quota"}, {}, {"status"}},
      {&res::limit_ranges, {"limits"}, {}, {}},
      {&res::replication_controllers, {"rc"}, in_all, {"status", "scale"}},
      {&res::deployments, {"deploy"}, in_all, {"status", "scale"}},
      {&res::replica_sets, {"rs"}, in_all, {"status", "scale"}},
      {&res::daemon_sets, {"ds"}, in_all, {"status"}},
      {&res::stateful_sets, {"sts"}, in_all, {"status", "scale"}},
      {&res::controller_revisions, {}, {}, {}},
      {&res::jobs, {}, in_all, {"status"}},
      {&res::cron_jobs, {"cj"}, in_all, {"status"}},
      {&res::horizontal_pod_autoscalers, {"hpa"}, in_all, {"status"}},
      {&res::endpoint_slices, {}, {}, {}},
      {&res::ingresses, {"ing"}, {}, {"status"}},
      {&res::network_policies, {"netpol"}, {}, {}},
      {&res::pod_disruption_budgets, {"pdb"}, {}, {"status"}},
      {&res::leases, {}, {}, {}},
      {&res::roles, {}, {}, {}},
      {&res::role_bindings, {}, {}, {}},
      {&res::cluster_roles, {}, {}, {}},
      {&res::cluster_role_bindings, {}, {}, {}},
      {&res::storage_classes, {"sc"}, {}, {}},
      {&res::priority_classes, {"pc"}, {}, {}}};
  return rows;
}

ResourceType served(const Extra& extra, const std::string& version) {
  const auto& r = *extra.resource;
  ResourceType type{.stored = extra.resource,
                    .group = r.group,
                    .version = version,
                    .singular = lower(r.kind),
                    .short_names = extra.short_names,
                    .categories = extra.categories,
                    .subresources = extra.subresources,
                    .verbs = all_verbs,
                    .schema = find_type(type_name(r.group, version, r.kind))};
  WF_CHECK(type.schema != nullptr);
  return type;
}

std::vector<ResourceType> make_types() {
  std::vector<ResourceType> types;
  for (const auto& extra : extras()) {
    types.push_back(served(extra, extra.resource->version));
    if (extra.resource == &res::horizontal_pod_autoscalers) {
      types.push_back(served(extra, "v1"));
      types.back().to_served = hpa_v1_from_v2;
      types.back().to_stored = hpa_v2_from_v1;
    }
    if (extra.resource == &res::events) {
      types.push_back(served(extra, "v1"));
      types.back().group = "events.k8s.io";
      types.back().short_names.clear();  // `kubectl get ev` means the core ones
      types.back().schema = find_type(type_name("events.k8s.io", "v1", "Event"));
      types.back().to_served = events_v1_from_core;
      types.back().to_stored = core_event_from_events_v1;
    }
  }
  return types;
}

}  // namespace

bool ResourceType::has(std::string_view subresource) const {
  return std::find(subresources.begin(), subresources.end(), subresource) != subresources.end();
}
bool ResourceType::allows(std::string_view verb) const {
  return std::find(verbs.begin(), verbs.end(), verb) != verbs.end();
}

const std::vector<ResourceType>& resource_types() {
  static const auto types = make_types();
  return types;
}

const ResourceType* find_resource_type(std::string_view group, std::string_view version, std::string_view plural) {
  const auto& types = resource_types();
  const auto found = std::find_if(types.begin(), types.end(), [&](const ResourceType& t) {
    return t.group == group && t.version == version && t.plural() == plural;
  });
  return found == types.end() ? nullptr : &*found;
}

const std::vector<ReviewType>& review_types() {
  static const std::vector<ReviewType> types{
      {"authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview"},
      {"authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview"},
      {"authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview"},
      {"authorization.k8s.io", "v1", "localsubjectaccessreviews", "LocalSubjectAccessReview", true},
      {"authentication.k8s.io", "v1", "tokenreviews", "TokenReview"},
      {"authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview"}};
  return types;
}

const std::vector<MetricsType>& metrics_types() {
  static const std::vector<MetricsType> types{{"nodes", "", "NodeMetrics"}, {"pods", "", "PodMetrics", true}};
  return types;
}

const std::vector<ApiGroup>& api_groups() {
  static const auto groups = [] {
    std::vector<ApiGroup> result{{"", {"v1"}}};
    const auto add = [&result](const std::string& group, const std::string& version) {
      auto found = std::find_if(result.begin(), result.end(), [&](const ApiGroup& g) { return g.name == group; });
      if (found == result.end()) found = result.insert(result.end(), {group, {}});
      auto& versions = found->versions;
      if (std::find(versions.begin(), versions.end(), version) == versions.end()) versions.push_back(version);
    };
    for (const auto& type : resource_types()) add(type.group, type.version);
    for (const auto& type : review_types()) add(type.group, type.version);
    add("metrics.k8s.io", "v1beta1");
    return result;
  }();
  return groups;
}

bool serves_group(std::string_view group, std::string_view version) {
  const auto& groups = api_groups();
  return std::any_of(groups.begin(), groups.end(), [&](const ApiGroup& g) {
    return g.name == group &&
           (version.empty() || std::find(g.versions.begin(), g.versions.end(), version) != g.versions.end());
  });
}

}  // namespace workflow::engine
