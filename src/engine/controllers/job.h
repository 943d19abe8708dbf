// src/engine/controllers/job.h: pods that run to their end.
#pragma once
#include "engine/controllers/action.h"
#include "engine/controllers/workload.h"

namespace workflow::engine {

struct JobPlan {
  Actions actions;
  std::optional<Time> again;
};
JobPlan plan_job(const ObjectPtr& job, const Objects& pods, Time now);

}  // namespace workflow::engine
