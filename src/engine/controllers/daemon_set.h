// src/engine/controllers/daemon_set.h: one pod on the node, if it may run there.
#pragma once
#include "engine/controllers/action.h"
#include "engine/controllers/workload.h"

namespace workflow::engine {

struct DaemonSetPlan {
  Actions actions;
  std::optional<Time> again;
};
DaemonSetPlan plan_daemon_set(const json::object& set, const Objects& pods, const ObjectPtr& node, Time now);

}  // namespace workflow::engine
