#include "engine/apiserver/eviction.h"

#include <gtest/gtest.h>

#include "engine/apiserver/api_error.h"
#include "engine/fields.h"
#include "engine/test_support.h"

namespace workflow::engine {
namespace {

ObjectPtr object(const std::string& text) { return std::make_shared<const json::object>(from_yaml(text)); }

ObjectPtr budget(const std::string& status, const std::string& policy = "IfHealthyBudget", const char* app = "web") {
  return object("metadata: {name: b, namespace: shop, generation: 2}\nspec: {selector: {matchLabels: {app: " +
                std::string(app) + "}}, unhealthyPodEvictionPolicy: " + policy + "}\nstatus: " + status);
}

json::object pod(const char* phase, const char* ready, const char* more = "") {
  return from_yaml("metadata: {name: p, namespace: shop, labels: {app: web}" + std::string(more) +
                   "}\nstatus: {phase: " + phase + ", conditions: [{type: Ready, status: \"" + ready + "\"}]}");
}

TEST(Eviction, asks_the_budget_of_pods_that_run) {
  const auto full = "{currentHealthy: 2, desiredHealthy: 2, disruptionsAllowed: 0, observedGeneration: 2}";
  const auto short_of = "{currentHealthy: 1, desiredHealthy: 2, disruptionsAllowed: 0, observedGeneration: 2}";
  struct Case {
    const char* what;
    json::object pod;
    ObjectPtr budget;
    bool asked;
  };
  const Case cases[] = {
      {"a healthy pod", pod("Running", "True"), budget(full), true},
      {"another app's", pod("Running", "True"), budget(full, "IfHealthyBudget", "api"), false},
      {"not running yet", pod("Pending", "False"), budget(full), false},
      {"finished", pod("Failed", "False"), budget(full), false},
      {"going", pod("Running", "True", ", deletionTimestamp: \"2026-01-01T00:00:00Z\""), budget(full), false},
      {"unhealthy, enough others", pod("Running", "False"), budget(full), false},
      {"unhealthy, others too few", pod("Running", "False"), budget(short_of), true},
      {"unhealthy, always allowed", pod("Running", "False"), budget(short_of, "AlwaysAllow"), false},
      {"healthy, always allowed", pod("Running", "True"), budget(short_of, "AlwaysAllow"), true},
  };
  for (const auto& [what, pod, budget, asked] : cases)
    EXPECT_EQ(budget_of_eviction(pod, {budget}) != nullptr, asked) << what;
  EXPECT_THROW(budget_of_eviction(pod("Running", "True"), {budget(full), budget(full)}), ApiError);
}

TEST(Eviction, uses_up_a_disruption) {
  const auto now = *parse_rfc3339("2026-03-01T10:00:00Z");
  auto taken = *budget("{currentHealthy: 3, desiredHealthy: 2, disruptionsAllowed: 1, observedGeneration: 2}");
  take_disruption(taken, "p", now);
  EXPECT_EQ(integer_at(taken, {"status", "disruptionsAllowed"}), 0);
  EXPECT_EQ(text_at(taken, {"status", "disruptedPods", "p"}), "2026-03-01T10:00:00Z");
  for (const auto* status : {"{currentHealthy: 2, desiredHealthy: 2, disruptionsAllowed: 0, observedGeneration: 2}",
                             "{currentHealthy: 3, desiredHealthy: 2, disruptionsAllowed: 1, observedGeneration: 1}"}) {
    auto refused = *budget(status);
    try {
      take_disruption(refused, "q", now);
      FAIL() << status;
    } catch (const ApiError& error) {
      EXPECT_EQ(error.code(), 429);
      EXPECT_FALSE(array_at(error.status(), {"details", "causes"}).empty());
    }
  }
}

}  // namespace
}  // namespace workflow::engine
