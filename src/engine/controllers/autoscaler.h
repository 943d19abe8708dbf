// src/engine/controllers/autoscaler.h: HorizontalPodAutoscaler v2 on the use of cpu and memory. Pure.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/controllers/action.h"
#include "engine/controllers/workload.h"
#include "engine/usage.h"

namespace workflow::engine {

// What it must remember of its past: not in the object, and lost without harm when the engine restarts.
struct AutoscalerHistory {
  std::vector<std::pair<Time, std::int64_t>> recommendations;  // for the stabilization windows
  std::vector<std::pair<Time, std::int64_t>> ups, downs;       // how many pods were added and taken, for the policies
};

struct AutoscalerInput {
  ObjectPtr autoscaler;
  const kube::Resource* target_resource = nullptr;  // null: a kind that has no scale
  ObjectPtr target;                                 // null: not there
  Objects pods;                                     // of the namespace
  std::map<std::string, PodUsage> usage;            // by pod name
  AutoscalerHistory history;
};
struct AutoscalerPlan {
  Actions actions;
  AutoscalerHistory history;
};
AutoscalerPlan plan_autoscaler(AutoscalerInput input, Time now);

}  // namespace workflow::engine
