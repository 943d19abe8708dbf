#include "engine/controllers/workload.h"

#include <gtest/gtest.h>

#include "engine/controllers/plan_test_support.h"

namespace workflow::engine {
namespace {

TEST(Workload, share_is_a_number_or_a_percentage) {
  struct Case {
    json::value value;
    std::int64_t total;
    std::int64_t up, down;
  };
  const Case cases[] = {{3, 10, 3, 3},   {"25%", 10, 3, 2}, {"100%", 7, 7, 7},
                        {"0%", 7, 0, 0}, {"50%", 1, 1, 0},  {nullptr, 5, 0, 0}};
  for (const auto& [value, total, up, down] : cases) {
    EXPECT_EQ(share_of(&value, total, Rounding::up), up) << json::serialize(value);
    EXPECT_EQ(share_of(&value, total, Rounding::down), down) << json::serialize(value);
  }
}

TEST(Workload, equal_templates_have_one_hash_whatever_their_order) {
  const auto a = json::parse(R"({"spec": {"a": 1, "b": [1, 2]}})"),
             b = json::parse(R"({"spec": {"b": [1, 2], "a": 1}})");
  EXPECT_EQ(template_hash(a, 0), template_hash(b, 0));
  EXPECT_NE(template_hash(a, 0), template_hash(a, 1));
  EXPECT_NE(template_hash(a, 0), template_hash(json::parse(R"({"spec": {"a": 1, "b": [2, 1]}})"), 0));
  EXPECT_EQ(template_hash(a, 0).find_first_of("aeiou01"), std::string::npos);
}

TEST(Workload, what_serves_least_is_given_up_first) {
  // From first to last.
  const std::vector<ObjectPtr> order{
      object_from("{metadata: {name: unbound}, spec: {}, status: {phase: Pending}}"),
      pod_of({.name = "pending", .phase = "Pending", .ready = false}),
      pod_of({.name = "unready", .ready = false}),
      [] {
        auto cheap = *pod_of({.name = "cheap"});
        child(child(cheap, "metadata"), "annotations")["controller.kubernetes.io/pod-deletion-cost"] = "-5";
        return std::make_shared<const json::object>(cheap);
      }(),
      [] {
        auto young = *pod_of({.name = "young"});
        child(young, "status")["conditions"] = json::array{
            json::object{{"type", "Ready"}, {"status", "True"}, {"lastTransitionTime", "2026-02-01T00:00:00Z"}}};
        return std::make_shared<const json::object>(young);
      }(),
      pod_of({.name = "old"})};
  for (std::size_t i = 0; i < order.size(); ++i) {
    for (std::size_t j = 0; j < order.size(); ++j) {
      EXPECT_EQ(is_given_up_before(*order[i], *order[j]), i < j)
          << kube::name_of(*order[i]) << " before " << kube::name_of(*order[j]);
    }
  }
}

TEST(Workload, a_pod_is_available_once_it_was_ready_for_long_enough) {
  const auto pod = pod_of({});  // ready since 00:00:10
  std::optional<Time> ready_at;
  EXPECT_TRUE(is_pod_available(*pod, 0, at("2026-01-01T00:00:11Z")));
  EXPECT_FALSE(is_pod_available(*pod, 30, at("2026-01-01T00:00:39Z"), &ready_at));
  EXPECT_EQ(rfc3339(*ready_at), "2026-01-01T00:00:40Z");
  EXPECT_TRUE(is_pod_available(*pod, 30, at("2026-01-01T00:00:40Z")));
}

TEST(Workload, a_condition_keeps_its_time_while_its_status_stays) {
  json::array conditions;
  EXPECT_TRUE(set_condition(conditions, {"Ready", "True", "A", ""}, at("2026-01-01T00:00:00Z"), false));
  EXPECT_FALSE(set_condition(conditions, {"Ready", "True", "A", ""}, at("2026-01-01T00:00:01Z"), false));
  EXPECT_TRUE(set_condition(conditions, {"Ready", "True", "B", ""}, at("2026-01-01T00:00:02Z"), false));
  EXPECT_EQ(text_at(*find_condition(conditions, "Ready"), {"lastTransitionTime"}), "2026-01-01T00:00:00Z");
  EXPECT_TRUE(set_condition(conditions, {"Ready", "False", "B", ""}, at("2026-01-01T00:00:03Z"), false));
  EXPECT_EQ(text_at(*find_condition(conditions, "Ready"), {"lastTransitionTime"}), "2026-01-01T00:00:03Z");
}

}  // namespace
}  // namespace workflow::engine
