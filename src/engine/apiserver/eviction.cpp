#include "engine/apiserver/eviction.h"

#include "engine/apiserver/api_error.h"
#include "engine/fields.h"
#include "lib/kube/objects.h"
#include "lib/kube/selectors.h"

namespace workflow::engine {

namespace {

constexpr std::size_t most_disrupted = 2000;  // as Kubernetes: more are not recorded at a time

ApiError too_many(const std::string& message, const std::string& cause) {
  return {429, "TooManyRequests", message,
          json::object{{"causes", json::array{json::object{{"reason", "DisruptionBudget"}, {"message", cause}}}}}};
}

std::int64_t count(const json::object& budget, std::string_view field) {
  return integer_at(budget, {"status", field}).value_or(0);
}

bool may_go_unhealthy(const json::object& budget) {
  if (text_at(budget, {"spec", "unhealthyPodEvictionPolicy"}) == "AlwaysAllow") return true;
  const auto desired = count(budget, "desiredHealthy");
  return desired > 0 && count(budget, "currentHealthy") >= desired;
}

}  // namespace

bool is_covered(const json::object& budget, const json::object& pod) {
  const auto* selector = value_at(budget, {"spec", "selector"});
  const auto parsed = selector == nullptr ? std::nullopt : kube::LabelSelector::from_object(*selector);
  return parsed && parsed->matches(value_at(pod, {"metadata", "labels"}));
}

ObjectPtr budget_of_eviction(const json::object& pod, const std::vector<ObjectPtr>& budgets) {
  if (kube::is_pod_finished(pod) || kube::is_being_deleted(pod) || text_at(pod, {"status", "phase"}) == "Pending")
    return nullptr;
  ObjectPtr found;
  for (const auto& budget : budgets) {
    if (!is_covered(*budget, pod)) continue;
    if (found != nullptr) {
      throw ApiError(
          500, "InternalError",
          "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.");
    }
    found = budget;
  }
  if (found != nullptr && !kube::is_pod_ready(pod) && may_go_unhealthy(*found)) return nullptr;
  return found;
}

void take_disruption(json::object& budget, const std::string& pod, Time now) {
  const auto name = kube::name_of(budget);
  const auto processing = "The disruption budget " + name + " is still being processed by the server.";
  if (count(budget, "observedGeneration") < integer_at(budget, {"metadata", "generation"}).value_or(0))
    throw too_many("Cannot evict pod as it would violate the pod's disruption budget.", processing);
  auto& status = child(budget, "status");
  const auto allowed = count(budget, "disruptionsAllowed");
  if (allowed <= 0) {
    throw too_many("Cannot evict pod as it would violate the pod's disruption budget.",
                   "The disruption budget " + name + " needs " + std::to_string(count(budget, "desiredHealthy")) +
                       " healthy pods and has " + std::to_string(count(budget, "currentHealthy")) + " currently");
  }
  auto& disrupted = child(status, "disruptedPods");
  if (disrupted.size() >= most_disrupted)
    throw too_many("Cannot evict pod as it would violate the pod's disruption budget.", processing);
  status["disruptionsAllowed"] = allowed - 1;
  disrupted[pod] = rfc3339(now);
}

}  // namespace workflow::engine
