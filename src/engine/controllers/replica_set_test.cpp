#include "engine/controllers/replica_set.h"

#include <gtest/gtest.h>

#include "engine/controllers/plan_test_support.h"

namespace workflow::engine {
namespace {

using Texts = std::vector<std::string>;
namespace res = kube::resources;

json::object set(std::int64_t replicas, const std::string& more = "") {
  return from_yaml("metadata: {name: set, namespace: shop, uid: uid-set, generation: 3" + more +
                   "}\nspec: {replicas: " + std::to_string(replicas) +
                   ", selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: "
                   "{containers: [{name: c, image: i}]}}}");
}

TEST(ReplicaSet, makes_and_gives_up_pods) {
  struct Case {
    const char* what;
    json::object set;
    Objects pods;
    Texts expected;
  };
  const auto ready = pod_of({.name = "ready"}),
             starting = pod_of({.name = "starting", .phase = "Pending", .ready = false}),
             done = pod_of({.name = "done", .phase = "Failed"}), leaving = pod_of({.name = "leaving", .leaving = true}),
             strange = pod_of({.name = "strange", .owner = "other"}),
             nobodys = pod_of({.name = "nobodys", .owner = ""});
  const Case cases[] = {
      {"none yet", set(2), {}, {"create pods set-*", "create pods set-*"}},
      {"as it should be", set(1), {ready}, {}},
      {"finished and leaving ones do not count", set(1), {done, leaving}, {"create pods set-*"}},
      {"those of others do not count", set(1), {strange}, {"create pods set-*"}},
      {"what does not serve goes first", set(1), {ready, starting}, {"remove pods starting"}},
      {"all of them", set(0), {ready, starting}, {"remove pods starting", "remove pods ready"}},
      {"on its way out", set(2, ", deletionTimestamp: \"2026-01-01T00:00:00Z\""), {ready}, {}},
      {"lets go of what it no longer selects",
       set(1),
       {pod_of({.name = "lost", .labels = "{app: other}"})},
       {R"(merge pods lost {"metadata":{"ownerReferences":null}})", "create pods set-*"}},
      {"but not of what is leaving", set(0), {pod_of({.name = "lost", .labels = "{}", .leaving = true})}, {}},
      {"adopts what it selects",
       set(1),
       {nobodys},
       {R"(merge pods nobodys {"metadata":{"ownerReferences":[{"apiVersion":"","kind":"","name":"set","uid":"uid-set","controller":true,"blockOwnerDeletion":true}]}})"}}};
  for (const auto& [what, object, pods, expected] : cases) {
    EXPECT_EQ(summary_of(plan_replica_set(object, pods, "", at("2026-03-01T10:00:00Z")).actions), expected) << what;
  }
}

TEST(ReplicaSet, counts_what_it_has) {
  auto object = set(3);
  child(child(child(child(object, "spec"), "template"), "metadata"), "labels")["tier"] = "front";
  const Objects pods{pod_of({.name = "a", .labels = "{app: web, tier: front}"}),
                     pod_of({.name = "b", .labels = "{app: web, tier: front}", .ready = false}), pod_of({.name = "c"})};
  const auto status =
      status_after(res::replica_sets, object, plan_replica_set(object, pods, "", at("2026-03-01T10:00:00Z")).actions);
  EXPECT_EQ(status, (json::object{{"replicas", 3},
                                  {"fullyLabeledReplicas", 2},
                                  {"readyReplicas", 2},
                                  {"availableReplicas", 2},
                                  {"observedGeneration", 3}}));
}

TEST(ReplicaSet, says_why_a_pod_was_refused_until_one_is_not) {
  auto object = set(1);
  const auto plan = plan_replica_set(object, {}, "exceeded quota", at("2026-03-01T10:00:00Z"));
  object["status"] = status_after(res::replica_sets, object, plan.actions);
  const auto* condition = find_condition(array_at(object, {"status", "conditions"}), "ReplicaFailure");
  ASSERT_NE(condition, nullptr);
  EXPECT_EQ(text_at(*condition, {"message"}), "exceeded quota");
  const auto after = status_after(res::replica_sets, object,
                                  plan_replica_set(object, {pod_of({})}, "", at("2026-03-01T10:00:01Z")).actions);
  EXPECT_FALSE(after.contains("conditions"));
}

}  // namespace
}  // namespace workflow::engine
