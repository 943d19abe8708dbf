// src/engine/controllers/disruption_budget.h: how many pods of a PodDisruptionBudget may be evicted now. Pure.
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "engine/controllers/action.h"
#include "engine/controllers/workload.h"

namespace workflow::engine {

struct DisruptionBudgetPlan {
  Actions actions;
  std::optional<Time> again;
};
// `replicas_of`: spec.replicas of the controller with this uid (a Deployment's for its replica sets), nullopt: it has
// none.
DisruptionBudgetPlan plan_disruption_budget(
    const ObjectPtr& budget, const Objects& pods,
    const std::function<std::optional<std::int64_t>(const json::object& pod)>& replicas_of, Time now);

}  // namespace workflow::engine
