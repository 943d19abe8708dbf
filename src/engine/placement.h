// src/engine/placement.h: whether a pod may run on the node. Pure.
#pragma once
#include <optional>
#include <string>

#include "lib/json/json.h"

namespace workflow::engine {

// Why the pod may not run there, as the scheduler's event says it; nullopt: it may.
std::optional<std::string> why_not_placed(const json::object& node, const json::object& pod);

}  // namespace workflow::engine
