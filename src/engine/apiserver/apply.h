// src/engine/apiserver/apply.h: server-side apply, and who owns which field (metadata.managedFields).
//   Field sets have the form of FieldsV1: {"f:spec": {"f:replicas": {}, "f:containers": {"k:{\"name\":\"a\"}": {".":
//   {}}}}}.
#pragma once
#include <string>
#include <vector>

#include "engine/apiserver/schema.h"
#include "lib/base/clock.h"
#include "lib/json/json.h"

namespace workflow::engine {

struct Manager {
  std::string name;
  std::string api_version;
  std::string subresource;
  Time now;
};

struct ApplyConflict {
  std::string manager;  // of others: 'kubectl-edit' using apps/v1
  std::string field;    // .spec.replicas
};
struct ApplyResult {
  json::object object;                   // with managedFields
  std::vector<ApplyConflict> conflicts;  // not empty: the object must not be written
};
enum class OnConflict { refuse, take_over };
// `live` empty: a new object. `applied` is what the manager wants, checked against the schema.
ApplyResult applied_to(const TypeSchema& type, const json::object& live, json::object applied, const Manager& manager,
                       OnConflict on_conflict);

// After another kind of write: `after` with managedFields that say what `manager` changed since `before` (empty:
// created).
json::object with_tracked_fields(const TypeSchema& type, const json::object& before, json::object after,
                                 const Manager& manager);

// --- field sets, for tests
json::object fields_of(const TypeSchema& type, const json::object& object);

}  // namespace workflow::engine
