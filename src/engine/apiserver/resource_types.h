// src/engine/apiserver/resource_types.h: the one table of what the API server serves. Discovery, storage, printing,
// patches
//   and OpenAPI are generic over it: a new type is a line here (and its fields in schema.txt).
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/apiserver/schema.h"
#include "lib/kube/client.h"

namespace workflow::engine {

struct ResourceType {
  const kube::Resource* stored = nullptr;  // how the store knows it
  std::string group, version;              // how it is served: autoscaling/v1 is a view of autoscaling/v2
  std::string singular;
  std::vector<std::string> short_names, categories, subresources, verbs;
  const TypeSchema* schema = nullptr;
  // Between the stored form and this version's; null when they are the same.
  json::object (*to_served)(json::object) = nullptr;
  json::object (*to_stored)(json::object) = nullptr;

  std::string api_version() const { return group.empty() ? version : group + "/" + version; }
  const std::string& plural() const { return stored->plural; }
  const std::string& kind() const { return stored->kind; }
  bool namespaced() const { return stored->namespaced; }
  bool has(std::string_view subresource) const;
  bool allows(std::string_view verb) const;
};

const std::vector<ResourceType>& resource_types();
const ResourceType* find_resource_type(std::string_view group, std::string_view version, std::string_view plural);
// Whether anything is served under a group (version).
bool serves_group(std::string_view group, std::string_view version = "");

// Types that exist only as a request and its answer (POST), such as selfsubjectaccessreviews.
struct ReviewType {
  std::string group, version, plural, kind;
  bool namespaced = false;
};
const std::vector<ReviewType>& review_types();

// metrics.k8s.io: answered by the node agent.
struct MetricsType {
  std::string plural, singular, kind;
  bool namespaced = false;
};
const std::vector<MetricsType>& metrics_types();

// API groups in the order of discovery: name and versions, the preferred one first.
struct ApiGroup {
  std::string name;
  std::vector<std::string> versions;
};
const std::vector<ApiGroup>& api_groups();

}  // namespace workflow::engine
