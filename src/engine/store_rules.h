// src/engine/store_rules.h: what a write makes of an object. Pure: the store calls these and keeps the result.
#pragma once
#include <cstdint>
#include <string>

#include "engine/store.h"

namespace workflow::engine {

// "deployments.apps", "pods": how Kubernetes names a type in its messages.
std::string qualified_name(const kube::Resource& r);

// The uid of the owner that controls the object, "" when none.
std::string controller_uid(const json::object& object);

// Whether metadata.generation is kept for the type.
bool counts_generations(const kube::Resource& r);

// The name of an object that has only a generateName; throws invalid when it has neither.
std::string generated_name(const json::object& object, const std::string& suffix);

// The object as it is stored first: name (generated if need be), uid, times, generation.
json::object prepared_for_create(const kube::Resource& r, json::object object, Time now, std::string uid,
                                 std::string suffix);

// `after` with everything that a writer may not change taken from `before`, and the generation counted.
json::object prepared_for_update(const kube::Resource& r, const json::object& before, json::object after);

// What a delete request does.
struct Deletion {
  enum class Kind { remove, mark, nothing } kind;
  json::object object;  // with mark: the object to store
};
// Throws conflict when a precondition does not hold.
Deletion deletion_of(const kube::Resource& r, const json::object& object, const DeleteOptions& options, Time now);

// A marked object whose last finalizer is gone, and which nobody needs to stop first.
bool is_ready_to_go(const kube::Resource& r, const json::object& object);

// "the object has been modified" when `given` (metadata.resourceVersion of a request) is not "" and not current.
void check_resource_version(const kube::Resource& r, const json::object& current, const std::string& given);

}  // namespace workflow::engine
