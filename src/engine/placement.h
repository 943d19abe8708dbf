// src/engine/placement.h: whether a pod may run on the node. Pure.
#pragma once
#include <optional>
#include <string>

#include <vector>

#include "engine/store.h"

namespace workflow::engine {

// Why the node is not for this pod, however empty it is: labels, affinity, taints.
std::optional<std::string> why_not_allowed(const json::object& node, const json::object& pod);
// Why the pod may not run there, as the scheduler's event says it; nullopt: it may. `pods`: all there are; those that
// are bound to the node take their share of it.
std::optional<std::string> why_not_placed(const json::object& node, const json::object& pod,
                                          const std::vector<ObjectPtr>& pods);

}  // namespace workflow::engine
