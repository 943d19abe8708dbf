// src/engine/apiserver/eviction.h: whether a pod may be evicted, as its disruption budget says (policy/v1).
#pragma once
#include <string>
#include <vector>

#include "engine/store.h"

namespace workflow::engine {

// Whether `budget` speaks of `pod`. An empty selector means every pod, unlike a Deployment's.
bool is_covered(const json::object& budget, const json::object& pod);

// The budget that the eviction of `pod` uses up; null when it may go without: no budget selects it, it does not run
// yet or no longer, or it is unhealthy and the budget's unhealthyPodEvictionPolicy lets such pods go. Throws ApiError
// 500 when several budgets select it.
ObjectPtr budget_of_eviction(const json::object& pod, const std::vector<ObjectPtr>& budgets);

// Takes one disruption from `budget`, for `pod`. Throws ApiError 429 when it allows none, or has not been counted yet.
void take_disruption(json::object& budget, const std::string& pod, Time now);

}  // namespace workflow::engine
