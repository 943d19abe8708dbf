// src/engine/controllers/job.h: pods that run to their end.
//   Each finished pod is counted exactly once, whenever the engine dies: its uid goes to
//   status.uncountedTerminatedPods, then its finalizer goes, and then the uid becomes one more in the counter. Each
//   step is one write, and can be repeated.
#pragma once
#include "engine/controllers/action.h"
#include "engine/controllers/workload.h"

namespace workflow::engine {

struct JobPlan {
  Actions actions;
  std::optional<Time> again;
};
// `pods`: its own and those that nobody controls.
JobPlan plan_job(const ObjectPtr& job, const Objects& pods, Time now);

// Pods of a Job of this name that is gone (`uid`: of the one that has the name now, "" none): nobody counts them.
Actions plan_lost_job_pods(const std::string& name, const std::string& uid, const Objects& pods);

}  // namespace workflow::engine
