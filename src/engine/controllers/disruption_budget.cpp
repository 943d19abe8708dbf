#include "engine/controllers/disruption_budget.h"

#include <algorithm>
#include <set>

#include "engine/apiserver/eviction.h"
#include "engine/fields.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

namespace res = kube::resources;
using namespace std::chrono_literals;
constexpr auto eviction_takes = 2min;  // a pod whose eviction was granted and that is still there then counts again

struct Expected {
  std::int64_t pods = 0, healthy = 0;
  std::string problem;
};

// How many pods there should be: as many as there are, or as many as their controllers want when it is a share of them.
Expected expected_of(const json::object& budget, const Objects& pods,
                     const std::function<std::optional<std::int64_t>(const json::object&)>& replicas_of) {
  Expected expected;
  const auto* least = value_at(budget, {"spec", "minAvailable"});
  const auto* unavailable = value_at(budget, {"spec", "maxUnavailable"});
  if (unavailable == nullptr && (least == nullptr || !least->is_string())) {
    expected.pods = static_cast<std::int64_t>(pods.size());
    expected.healthy = least == nullptr ? 0 : share_of(least, expected.pods, Rounding::up);
    return expected;
  }
  std::set<std::string> counted;
  for (const auto& pod : pods) {
    const auto owner = controller_uid(*pod);
    const auto replicas = owner.empty() ? std::nullopt : replicas_of(*pod);
    if (!replicas) {
      expected.problem = "found no controller ref for pod \"" + kube::name_of(*pod) + "\"";
      return expected;
    }
    if (counted.insert(owner).second) expected.pods += *replicas;
  }
  expected.healthy =
      unavailable == nullptr
          ? share_of(least, expected.pods, Rounding::up)
          : std::max<std::int64_t>(0, expected.pods - share_of(unavailable, expected.pods, Rounding::up));
  return expected;
}

}  // namespace

DisruptionBudgetPlan plan_disruption_budget(
    const ObjectPtr& object, const Objects& all,
    const std::function<std::optional<std::int64_t>(const json::object&)>& replicas_of, Time now) {
  const auto& budget = *object;
  DisruptionBudgetPlan plan;
  if (kube::is_being_deleted(budget)) return plan;
  Objects pods;
  for (const auto& pod : all) {
    if (!kube::is_pod_finished(*pod) && is_covered(budget, *pod)) pods.push_back(pod);
  }
  // Evictions that were granted, and whose pods are still seen as healthy.
  json::object disrupted;
  for (const auto& [name, time] : object_at(budget, {"status", "disruptedPods"})) {
    const auto granted = time.is_string() ? parse_rfc3339(view(time.get_string())) : std::nullopt;
    const auto still = std::find_if(pods.begin(), pods.end(),
                                    [&](const ObjectPtr& p) { return kube::name_of(*p) == std::string_view(name); });
    if (!granted || still == pods.end() || kube::is_being_deleted(**still)) continue;
    const auto end = *granted + eviction_takes;
    if (end <= now) continue;
    disrupted[name] = time;
    if (!plan.again || end < *plan.again) plan.again = end;
  }
  const auto expected = expected_of(budget, pods, replicas_of);
  const auto healthy = std::count_if(pods.begin(), pods.end(), [&](const ObjectPtr& pod) {
    return kube::is_pod_ready(*pod) && !disrupted.contains(kube::name_of(*pod));
  });
  const auto allowed =
      expected.problem.empty() && expected.pods > 0 ? std::max<std::int64_t>(0, healthy - expected.healthy) : 0;
  auto status = object_at(budget, {"status"});
  status["currentHealthy"] = healthy;
  status["desiredHealthy"] = expected.healthy;
  status["expectedPods"] = expected.pods;
  status["disruptionsAllowed"] = allowed;
  status["observedGeneration"] = integer_at(budget, {"metadata", "generation"}).value_or(1);
  if (disrupted.empty()) {
    status.erase("disruptedPods");
  } else {
    status["disruptedPods"] = std::move(disrupted);
  }
  auto conditions = array_at(status, {"conditions"});
  ConditionChange change{"DisruptionAllowed", allowed > 0 ? "True" : "False",
                         allowed > 0 ? "SufficientPods" : "InsufficientPods", ""};
  if (!expected.problem.empty()) {
    change.reason = "SyncFailed";
    change.message = expected.problem;
  }
  set_condition(conditions, change, now, false);
  status["conditions"] = std::move(conditions);
  merge_status(plan.actions, res::pod_disruption_budgets, budget, status);
  return plan;
}

}  // namespace workflow::engine
