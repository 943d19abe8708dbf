#include "engine/controllers/disruption_budget.h"

#include <gtest/gtest.h>

#include "engine/controllers/plan_test_support.h"

namespace workflow::engine {
namespace {

namespace res = kube::resources;

TEST(DisruptionBudget, counts_how_many_may_go) {
  const Objects three{pod_of({.name = "a"}), pod_of({.name = "b"}), pod_of({.name = "c", .ready = false})};
  struct Case {
    const char* spec;
    Objects pods;
    std::int64_t healthy, wanted, allowed;
  };
  const Case cases[] = {{"{minAvailable: 1}", three, 2, 1, 1},
                        {"{minAvailable: 2}", three, 2, 2, 0},
                        {"{minAvailable: 5}", three, 2, 5, 0},
                        {"{minAvailable: 50%}", three, 2, 2, 0},  // of the 4 that the set wants
                        {"{maxUnavailable: 1}", three, 2, 3, 0},
                        {"{maxUnavailable: 3}", three, 2, 1, 1},
                        {"{maxUnavailable: 50%}", three, 2, 2, 0},
                        {"{minAvailable: 0}", {}, 0, 0, 0},
                        {"{maxUnavailable: 1}", {pod_of({.name = "x", .owner = ""})}, 1, 0, 0}};
  for (const auto& [spec, pods, healthy, wanted, allowed] : cases) {
    auto budget =
        from_yaml("metadata: {name: pdb, namespace: shop, uid: u, generation: 1}\nspec: " + std::string(spec));
    child(budget, "spec")["selector"] = json::object{{"matchLabels", json::object{{"app", "web"}}}};
    const auto object = std::make_shared<const json::object>(budget);
    const auto plan = plan_disruption_budget(
        object, pods, [](const json::object&) { return std::optional<std::int64_t>(4); }, at("2026-03-01T10:00:00Z"));
    const auto status = status_after(res::pod_disruption_budgets, budget, plan.actions);
    EXPECT_EQ(integer_at(status, {"currentHealthy"}), healthy) << spec;
    EXPECT_EQ(integer_at(status, {"desiredHealthy"}), wanted) << spec;
    EXPECT_EQ(integer_at(status, {"disruptionsAllowed"}), allowed) << spec;
  }
}

TEST(DisruptionBudget, without_a_restriction_means_every_pod) {
  const auto budget =
      from_yaml("metadata: {name: pdb, namespace: shop, uid: u}\nspec: {minAvailable: 1, selector: {}}");
  const auto plan = plan_disruption_budget(
      std::make_shared<const json::object>(budget), {pod_of({}), pod_of({.name = "q", .labels = "{other: app}"})},
      [](const json::object&) { return std::optional<std::int64_t>(1); }, at("2026-03-01T10:00:00Z"));
  EXPECT_EQ(integer_at(status_after(res::pod_disruption_budgets, budget, plan.actions), {"currentHealthy"}), 2);
}

TEST(DisruptionBudget, does_not_count_what_was_allowed_to_go) {
  auto object = object_from(R"(
metadata: {name: pdb, namespace: shop, uid: u, generation: 1}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
status: {disruptedPods: {a: "2026-03-01T10:00:00Z", gone: "2026-03-01T10:00:00Z", c: "2026-03-01T09:00:00Z"}}
)");
  const Objects pods{pod_of({.name = "a"}), pod_of({.name = "b"}), pod_of({.name = "c"})};
  const auto plan = plan_disruption_budget(
      object, pods, [](const json::object&) { return std::optional<std::int64_t>(3); }, at("2026-03-01T10:01:00Z"));
  const auto status = status_after(res::pod_disruption_budgets, *object, plan.actions);
  EXPECT_EQ(integer_at(status, {"currentHealthy"}), 2);
  EXPECT_EQ(integer_at(status, {"disruptionsAllowed"}), 1);
  EXPECT_EQ(object_at(status, {"disruptedPods"}).size(), 1u);
  EXPECT_EQ(rfc3339(*plan.again), "2026-03-01T10:02:00Z");
}

}  // namespace
}  // namespace workflow::engine
