#include "engine/controllers/autoscaler.h"

#include <gtest/gtest.h>

#include "engine/controllers/plan_test_support.h"

namespace workflow::engine {
namespace {

using Texts = std::vector<std::string>;
namespace res = kube::resources;

ObjectPtr autoscaler(const std::string& more = "") {
  return object_from(
      "metadata: {name: web, namespace: shop, uid: uid-hpa, generation: 1}\n"
      "spec: {scaleTargetRef: {kind: Deployment, name: web}, minReplicas: 1, maxReplicas: 6, "
      "metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]" +
      more + "}");
}
ObjectPtr deployment(std::int64_t replicas) {
  return object_from(
      "metadata: {name: web, namespace: shop, uid: uid-web}\nspec: {selector: {matchLabels: {app: web}}, replicas: " +
      std::to_string(replicas) + "}");
}

struct Load {
  int millicores = 0;  // of a request of 100m
  bool measured = true, ready = true;
};
AutoscalerInput input_of(const ObjectPtr& object, const std::vector<Load>& loads) {
  AutoscalerInput in{.autoscaler = object,
                     .target_resource = &res::deployments,
                     .target = deployment(static_cast<std::int64_t>(loads.size()))};
  for (std::size_t i = 0; i < loads.size(); ++i) {
    const auto name = "web-" + std::to_string(i);
    auto pod = *pod_of({.name = name, .ready = loads[i].ready});
    auto& container = child(pod, "spec").at("containers").as_array()[0].as_object();
    container["resources"] = json::object{{"requests", json::object{{"cpu", "100m"}, {"memory", "100"}}}};
    in.pods.push_back(std::make_shared<const json::object>(std::move(pod)));
    if (loads[i].measured) {
      in.usage[name] = {.ns = "shop",
                        .pod = name,
                        .containers = {{"c", {static_cast<std::uint64_t>(loads[i].millicores) * 1'000'000, 50}}}};
    }
  }
  return in;
}

TEST(Autoscaler, follows_the_use_of_cpu) {
  const Load idle{10}, half{50}, busy{100}, full{200}, unknown{.measured = false},
      starting{.millicores = 200, .ready = false};
  struct Case {
    const char* what;
    std::vector<Load> loads;
    Texts expected;
  };
  const Case cases[] = {
      {"just right", {half, half}, {}},
      {"nearly right", {Load{54}, Load{52}}, {}},
      {"twice as much", {busy, busy}, {"merge deployments web {\"spec\":{\"replicas\":4}}"}},
      {"no more than the most", {full, full, full, full}, {"merge deployments web {\"spec\":{\"replicas\":6}}"}},
      {"no faster than four or double", {full}, {"merge deployments web {\"spec\":{\"replicas\":4}}"}},
      {"too much, but only since now", {idle, idle, idle, idle}, {}},
      {"an unknown pod might be idle", {busy, unknown}, {}},
      {"an unknown pod might be busy", {idle, unknown}, {}},
      {"nothing is known", {unknown}, {}},
      {"what starts does not count", {starting, half}, {}}};
  for (const auto& [what, loads, expected] : cases) {
    auto in = input_of(autoscaler(), loads);
    for (auto& pod : in.pods) {
      auto fresh = *pod;
      child(fresh, "status")["startTime"] = "2026-03-01T09:58:00Z";
      pod = std::make_shared<const json::object>(std::move(fresh));
    }
    EXPECT_EQ(summary_of(plan_autoscaler(std::move(in), at("2026-03-01T10:00:00Z")).actions), expected) << what;
  }
}

TEST(Autoscaler, comes_down_only_after_the_window) {
  AutoscalerHistory history;
  auto look = [&](int millicores, std::int64_t pods, const char* time) {
    auto in = input_of(autoscaler(), std::vector<Load>(static_cast<std::size_t>(pods), Load{millicores}));
    in.history = history;
    auto plan = plan_autoscaler(std::move(in), at(time));
    history = plan.history;
    return summary_of(plan.actions);
  };
  EXPECT_EQ(look(100, 2, "2026-03-01T10:00:00Z"), Texts{"merge deployments web {\"spec\":{\"replicas\":4}}"});
  EXPECT_EQ(look(10, 4, "2026-03-01T10:01:00Z"), Texts{});
  EXPECT_EQ(look(10, 4, "2026-03-01T10:04:59Z"), Texts{});
  EXPECT_EQ(look(10, 4, "2026-03-01T10:05:01Z"), Texts{"merge deployments web {\"spec\":{\"replicas\":1}}"});
}

TEST(Autoscaler, keeps_to_the_policies_of_its_behaviour) {
  const auto slow = autoscaler(
      ", behavior: {scaleUp: {policies: [{type: Pods, value: 1, periodSeconds: 60}]}, scaleDown: {selectPolicy: "
      "Disabled}}");
  auto plan = plan_autoscaler(input_of(slow, {Load{200}, Load{200}}), at("2026-03-01T10:00:00Z"));
  EXPECT_EQ(summary_of(plan.actions), Texts{"merge deployments web {\"spec\":{\"replicas\":3}}"});
  auto again = input_of(slow, {Load{200}, Load{200}, Load{200}});
  again.history = plan.history;
  EXPECT_EQ(summary_of(plan_autoscaler(std::move(again), at("2026-03-01T10:00:30Z")).actions), Texts{});
  EXPECT_EQ(summary_of(plan_autoscaler(input_of(slow, {Load{1}, Load{1}}), at("2026-03-01T11:00:00Z")).actions),
            Texts{});
}

TEST(Autoscaler, says_why_it_cannot) {
  auto missing = input_of(autoscaler(), {Load{50}});
  missing.target = nullptr;
  EXPECT_EQ(summary_of(plan_autoscaler(std::move(missing), at("2026-03-01T10:00:00Z")).actions, Events::include),
            Texts{"Warning FailedGetScale"});
  auto stopped = input_of(autoscaler(), {});
  const auto object = stopped.autoscaler;
  const auto status = status_after(res::horizontal_pod_autoscalers, *object,
                                   plan_autoscaler(std::move(stopped), at("2026-03-01T10:00:00Z")).actions);
  EXPECT_EQ(text_at(*find_condition(array_at(status, {"conditions"}), "ScalingActive"), {"reason"}), "ScalingDisabled");
}

TEST(Autoscaler, shows_what_it_measured) {
  auto in = input_of(autoscaler(), {Load{50}, Load{70}});
  const auto object = in.autoscaler;
  const auto status = status_after(res::horizontal_pod_autoscalers, *object,
                                   plan_autoscaler(std::move(in), at("2026-03-01T10:00:00Z")).actions);
  const auto& current = array_at(status, {"currentMetrics"})[0].get_object();
  EXPECT_EQ(integer_at(current, {"resource", "current", "averageUtilization"}), 60);
  EXPECT_EQ(text_at(current, {"resource", "current", "averageValue"}), "60m");
  EXPECT_EQ(integer_at(status, {"currentReplicas"}), 2);
}

}  // namespace
}  // namespace workflow::engine
