// src/engine/apiserver/printers.h: what `kubectl get` shows: rows of cells per type. Pure.
#pragma once
#include <string>
#include <vector>

#include "engine/apiserver/resource_types.h"
#include "lib/base/clock.h"
#include "lib/json/json.h"

namespace workflow::engine {

struct Call;

enum class IncludeObject { metadata, whole, none };
struct TableOptions {
  Time now;
  std::string meta_version = "v1";
  IncludeObject include = IncludeObject::metadata;
  bool with_columns = true;  // a watch names them once
  std::string resource_version, continue_token;
};
TableOptions table_options(const Call& call, const std::string& meta_version);

// A table of one object, as it is served.
json::object table_of(const ResourceType& type, const json::object& object, const TableOptions& options);
// The same in parts, for a list of any length: everything but "rows", and a row.
json::object table_head(const ResourceType& type, const TableOptions& options);
json::object table_row(const ResourceType& type, const json::object& object, const TableOptions& options);
json::object metadata_of(const json::object& object, const std::string& meta_version);  // PartialObjectMetadata

// "3d4h": a duration for people, at most two units (apimachinery, pkg/util/duration).
std::string human_duration(std::chrono::nanoseconds time);

// One row of the kubectl columns of a type, for tests: the texts of its cells.
std::vector<std::string> cells_of(const ResourceType& type, const json::object& object, Time now);

}  // namespace workflow::engine
