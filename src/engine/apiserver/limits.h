// src/engine/apiserver/limits.h: LimitRanges: what containers get that ask for nothing, and what nobody may ask for.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "engine/apiserver/api_error.h"
#include "engine/store.h"

namespace workflow::engine {

// Fills in what an item leaves to be derived: default from max, defaultRequest from default or min.
void default_limit_range(json::object& range);
std::vector<FieldProblem> problems_of_limit_range(const json::object& range);

// Gives a new pod's containers the defaults of a range.
void apply_limit_range(const json::object& range, json::object& pod);
// What a pod or claim asks for beside what the range allows, in Kubernetes' words.
std::vector<std::string> breaches_of(const json::object& range, const kube::Resource& r, const json::object& object);

// All ranges of the object's namespace. Throws ApiError 403.
void admit_within_limits(const Store& store, const kube::Resource& r, json::object& object);

}  // namespace workflow::engine
