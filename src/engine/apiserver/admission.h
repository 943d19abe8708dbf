// src/engine/apiserver/admission.h: what happens to an object between the request and the store: defaults, what the
// engine
//   adds (service account, node), and the checks. Pure but for reading the store.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "engine/apiserver/api_error.h"
#include "engine/apiserver/resource_types.h"
#include "engine/store.h"

namespace workflow::engine {

// Fills in what Kubernetes fills in. `before` is null when the object is new.
void set_defaults(const ResourceType& type, json::object& object, const json::object* before);

struct AdmissionConfig {
  std::string node_name;
  Time now;
};
// A pod's service account, its token volume, priority, tolerations, node. Throws ApiError 403 when it may not be.
void admit_pod(const Store& store, const AdmissionConfig& config, json::object& pod);
// What a pod's class makes of it: spec.priority, spec.preemptionPolicy, and the name where a default class gave it.
// Throws ApiError 403 when there is no such class, or the pod claims another priority.
void set_priority(const Store& store, json::object& pod);
std::vector<json::object> built_in_priority_classes();
// A ResourceQuota counts the object. Throws ApiError 403 (exceeded quota).
void check_quota(const Store& store, const kube::Resource& r, const json::object& object);

// Everything that is wrong with the object. `before` is null when it is new.
std::vector<FieldProblem> problems_of(const ResourceType& type, const json::object& object, const json::object* before);
// The same of its metadata alone, for a write that touches no more.
std::vector<FieldProblem> problems_of_metadata(const ResourceType& type, const json::object& object,
                                               const json::object* before);
// Fields that are accepted but have no effect here; shown as Warning headers.
std::vector<std::string> warnings_about(const ResourceType& type, const json::object& object);

}  // namespace workflow::engine
