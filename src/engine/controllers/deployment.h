// src/engine/controllers/deployment.h: rolls a Deployment out over replica sets, one per template.
#pragma once
#include <optional>

#include "engine/controllers/action.h"
#include "engine/controllers/workload.h"

namespace workflow::engine {

struct DeploymentPlan {
  Actions actions;
  std::optional<Time> again;
};
// `sets`: the replica sets of the namespace that it owns, and those without an owner; `pods`: those of the sets.
// Availability is counted from the pods themselves, so that a status that lags never costs one too
// many.
DeploymentPlan plan_deployment(const ObjectPtr& deployment, const Objects& sets, const Objects& pods, Time now);

}  // namespace workflow::engine
