// src/engine/controllers/replica_set.h: as many pods as asked for.
#pragma once
#include <optional>
#include <string>

#include "engine/controllers/action.h"
#include "engine/controllers/workload.h"

namespace workflow::engine {

struct ReplicaSetPlan {
  Actions actions;
  std::optional<Time> again;
};
// `pods`: all of the namespace that it owns, and those without an owner that it selects. `failure`: why the last
// creation was refused, "" when it was not.
ReplicaSetPlan plan_replica_set(const json::object& set, const Objects& pods, const std::string& failure, Time now);

}  // namespace workflow::engine
