#include "engine/controllers/deployment.h"

#include <gtest/gtest.h>

#include "engine/controllers/deployment_sets.h"
#include "engine/controllers/plan_test_support.h"

namespace workflow::engine {
namespace {

namespace res = kube::resources;
using Texts = std::vector<std::string>;

json::object deployment(const std::string& spec = "replicas: 3") {
  return from_yaml("metadata: {name: web, namespace: shop, uid: uid-web, generation: 1}\nspec:\n  " + spec + R"(
  selector: {matchLabels: {app: web}}
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  progressDeadlineSeconds: 600
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: "i:2"}]}}
)");
}

// A set of the deployment with `ready` ready pods; "new" has its template, others have their name as image.
struct Set {
  std::string name;
  std::int64_t replicas, ready;
  int revision = 1;
};
struct World {
  Objects sets, pods;
};
World world_of(const json::object& d, const std::vector<Set>& sets) {
  World world;
  for (const auto& [name, replicas, ready, revision] : sets) {
    auto set = new_replica_set(d, rollout_of(d, {}, {}, at("2026-03-01T10:00:00Z")), 0, revision);
    auto& metadata = child(set, "metadata");
    metadata["name"] = name;
    metadata["uid"] = "uid-" + name;
    metadata["generation"] = 1;
    metadata["creationTimestamp"] = "2026-01-0" + std::to_string(revision) + "T00:00:00Z";
    metadata["ownerReferences"] =
        json::array{json::object{{"kind", "Deployment"}, {"name", "web"}, {"uid", "uid-web"}, {"controller", true}}};
    child(set, "spec")["replicas"] = replicas;
    set["status"] = json::object{{"observedGeneration", 1}};
    if (name != "new") {
      child(child(child(set, "spec"), "template"), "spec")["containers"] =
          json::array{json::object{{"name", "c"}, {"image", name}}};
    }
    world.sets.push_back(std::make_shared<const json::object>(std::move(set)));
    for (std::int64_t i = 0; i < replicas; ++i) {
      world.pods.push_back(pod_of({.name = name + std::to_string(i), .owner = name, .ready = i < ready}));
    }
  }
  return world;
}

// How the plan resizes and removes sets: "new=2", "-old", "+" for a set that is made.
Texts decisions(const json::object& d, const std::vector<Set>& sets) {
  const auto world = world_of(d, sets);
  Texts out;
  const auto plan =
      plan_deployment(std::make_shared<const json::object>(d), world.sets, world.pods, at("2026-03-01T10:00:00Z"));
  for (const auto& action : plan.actions) {
    if (const auto* c = std::get_if<Create>(&action)) {
      out.push_back("+" + std::to_string(*integer_at(c->object, {"spec", "replicas"})));
    } else if (const auto* r = std::get_if<Remove>(&action)) {
      out.push_back("-" + r->name);
    } else if (const auto* m = std::get_if<Merge>(&action)) {
      if (const auto replicas = integer_at(m->patch, {"spec", "replicas"}))
        out.push_back(m->name + "=" + std::to_string(*replicas));
    }
  }
  return out;
}

TEST(Deployment, rolls_out_within_its_limits) {
  auto unavailable = deployment();
  child(child(unavailable, "spec"), "strategy")["rollingUpdate"] = json::object{{"maxSurge", 0}, {"maxUnavailable", 1}};
  auto recreate = deployment();
  child(recreate, "spec")["strategy"] = json::object{{"type", "Recreate"}};
  struct Case {
    const char* what;
    json::object deployment;
    std::vector<Set> sets;
    Texts expected;
  };
  const Case cases[] = {
      {"the first set", deployment(), {}, {"+3"}},
      {"all is well", deployment(), {{"new", 3, 3}}, {}},
      {"a new template: one more", deployment(), {{"old", 3, 3}}, {"+1"}},
      {"the new pod is not ready yet", deployment(), {{"old", 3, 3}, {"new", 1, 0, 2}}, {}},
      {"it is ready: an old one goes", deployment(), {{"old", 3, 3}, {"new", 1, 1, 2}}, {"old=2"}},
      {"and a new one comes", deployment(), {{"old", 2, 2}, {"new", 1, 1, 2}}, {"new=2"}},
      {"old ones that do not serve go at once", deployment(), {{"old", 3, 1}, {"new", 1, 1, 2}}, {"old=2"}},
      {"done but for the last old one", deployment(), {{"old", 1, 1}, {"new", 3, 3, 2}}, {"old=0"}},
      {"first one down", unavailable, {{"old", 3, 3}, {"new", 0, 0, 2}}, {"old=2"}},
      {"then one up", unavailable, {{"old", 2, 2}, {"new", 0, 0, 2}}, {"new=1"}},
      {"recreate: the old ones first", recreate, {{"old", 3, 3}}, {"old=0"}},
      {"recreate: then the new ones", recreate, {{"old", 0, 0}}, {"+3"}},
      {"paused: nothing new", deployment("paused: true\n  replicas: 3"), {{"old", 3, 3}}, {}},
      {"paused: but resized", deployment("paused: true\n  replicas: 5"), {{"old", 3, 3}}, {"old=5"}},
      {"back to an older template", deployment(), {{"new", 0, 0, 1}, {"old", 3, 3, 2}}, {"new=1"}},
      {"history beyond the limit goes",
       deployment("replicas: 3\n  revisionHistoryLimit: 1"),
       {{"a", 0, 0, 1}, {"b", 0, 0, 2}, {"new", 3, 3, 3}},
       {"-a"}},
      {"history stays while it rolls",
       deployment("replicas: 3\n  revisionHistoryLimit: 0"),
       {{"a", 0, 0, 1}, {"new", 3, 2, 3}},
       {}}};
  for (const auto& [what, d, sets, expected] : cases) EXPECT_EQ(decisions(d, sets), expected) << what;
}

TEST(Deployment, says_how_far_it_is) {
  struct Case {
    const char* what;
    std::vector<Set> sets;
    std::int64_t replicas, updated, available;
    const char *reason, *status;
  };
  const Case cases[] = {{"half-way", {{"old", 2, 2}, {"new", 2, 1, 2}}, 4, 2, 3, "ReplicaSetUpdated", "True"},
                        {"done", {{"old", 0, 0}, {"new", 3, 3, 2}}, 3, 3, 3, "NewReplicaSetAvailable", "True"}};
  for (const auto& [what, sets, replicas, updated, available, reason, condition] : cases) {
    const auto d = deployment();
    const auto world = world_of(d, sets);
    const auto plan =
        plan_deployment(std::make_shared<const json::object>(d), world.sets, world.pods, at("2026-03-01T10:00:00Z"));
    const auto status = status_after(res::deployments, d, plan.actions);
    EXPECT_EQ(integer_at(status, {"replicas"}), replicas) << what;
    EXPECT_EQ(integer_at(status, {"updatedReplicas"}), updated) << what;
    EXPECT_EQ(integer_at(status, {"availableReplicas"}), available) << what;
    const auto* progress = find_condition(array_at(status, {"conditions"}), "Progressing");
    ASSERT_NE(progress, nullptr) << what;
    EXPECT_EQ(text_at(*progress, {"reason"}), reason) << what;
    EXPECT_EQ(text_at(*progress, {"status"}), condition) << what;
  }
}

TEST(Deployment, fails_when_it_makes_no_progress_for_too_long) {
  auto d = deployment();
  const auto world = world_of(d, {{"old", 3, 3}, {"new", 1, 0, 2}});
  const auto look = [&](const char* time) {
    const auto plan = plan_deployment(std::make_shared<const json::object>(d), world.sets, world.pods, at(time));
    d["status"] = status_after(res::deployments, d, plan.actions);
    return std::pair(text_at(*find_condition(array_at(d, {"status", "conditions"}), "Progressing"), {"reason"}),
                     plan.again);
  };
  const auto [first, again] = look("2026-03-01T10:00:00Z");
  EXPECT_EQ(first, "ReplicaSetUpdated");
  EXPECT_EQ(rfc3339(*again), "2026-03-01T10:10:00Z");
  EXPECT_EQ(look("2026-03-01T10:09:59Z").first, "ReplicaSetUpdated");
  EXPECT_EQ(look("2026-03-01T10:10:00Z").first, "ProgressDeadlineExceeded");
}

TEST(Deployment, that_is_held_keeps_its_old_pods_available) {
  // The pods are ready since ten seconds past midnight; only the new one has to be so for an hour.
  auto d = deployment();
  child(child(d, "spec"), "strategy")["rollingUpdate"] = json::object{{"maxSurge", 1}, {"maxUnavailable", 1}};
  struct Case {
    const char* what;
    std::vector<Set> sets;
    Texts expected;
    std::int64_t available;
    const char* again;
  };
  const Case cases[] = {
      {"as many old ones go as may be missing", {{"old", 3, 3}, {"new", 1, 1, 2}}, {"old=2"}, 3, "01:00:10"},
      {"a new one takes the place", {{"old", 2, 2}, {"new", 1, 1, 2}}, {"new=2"}, 2, "01:00:10"},
      {"and no more old ones go", {{"old", 2, 2}, {"new", 2, 2, 2}}, {}, 2, "01:00:10"},
      {"nothing new is ready: the deadline is next", {{"old", 2, 2}, {"new", 2, 0, 2}}, {}, 2, "00:11:00"}};
  for (const auto& [what, sets, expected, available, again] : cases) {
    const auto world = world_of(d, sets);
    auto held = d;
    child(held, "spec")["minReadySeconds"] = 3600;
    if (std::string_view(again) != "00:11:00") child(held, "spec").erase("progressDeadlineSeconds");
    const auto plan =
        plan_deployment(std::make_shared<const json::object>(held), world.sets, world.pods, at("2026-01-01T00:01:00Z"));
    Texts sizes;
    bool told_to_new = false;
    for (const auto& action : plan.actions) {
      const auto* m = std::get_if<Merge>(&action);
      if (m == nullptr || m->resource != &res::replica_sets) continue;
      if (const auto replicas = integer_at(m->patch, {"spec", "replicas"}))
        sizes.push_back(m->name + "=" + std::to_string(*replicas));
      EXPECT_EQ(integer_at(m->patch, {"spec", "minReadySeconds"}).has_value(), m->name == "new") << what;
      told_to_new |= m->name == "new";
    }
    EXPECT_EQ(sizes, expected) << what;
    EXPECT_TRUE(told_to_new) << what;
    const auto status = status_after(res::deployments, held, plan.actions);
    EXPECT_EQ(integer_at(status, {"availableReplicas"}), available) << what;
    EXPECT_EQ(text_at(*find_condition(array_at(status, {"conditions"}), "Available"), {"status"}), "True") << what;
    ASSERT_TRUE(plan.again) << what;
    EXPECT_EQ(rfc3339(*plan.again), "2026-01-01T" + std::string(again) + "Z") << what;
  }
}

}  // namespace
}  // namespace workflow::engine
