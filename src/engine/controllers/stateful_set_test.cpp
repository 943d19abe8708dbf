#include "engine/controllers/stateful_set.h"

#include <gtest/gtest.h>

#include "engine/controllers/plan_test_support.h"

namespace workflow::engine {
namespace {

using Texts = std::vector<std::string>;
namespace res = kube::resources;
const Time now = at("2026-03-01T10:00:00Z");

json::object set(std::int64_t replicas, const std::string& more = "", const std::string& image = "i") {
  return from_yaml("metadata: {name: db, namespace: shop, uid: uid-db, generation: 3}\nspec: {replicas: " +
                   std::to_string(replicas) + ", serviceName: db, selector: {matchLabels: {app: web}}" + more +
                   ", template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: " + image +
                   "}]}}}\nstatus: {}");
}

std::string revision_of(const json::object& set) {
  return "db-" + template_hash(object_at(set, {"spec", "template"}), 0);
}

// Its pods, revisions and claims as they follow each other: what a plan makes is there at the next look.
class World {
 public:
  explicit World(json::object wanted) : set(std::move(wanted)) {}

  Texts step() {
    StatefulSetView view{.pods = pods, .claims = claims, .revisions = revisions};
    auto plan = plan_stateful_set(std::make_shared<const json::object>(set), view, now);
    again = plan.again;
    set["status"] = status_after(res::stateful_sets, set, plan.actions);
    for (const auto& action : plan.actions) {
      if (const auto* c = std::get_if<Create>(&action)) {
        auto object = c->object;
        child(object, "metadata")["uid"] = "uid-" + kube::name_of(object);
        into(*c->resource).push_back(std::make_shared<const json::object>(std::move(object)));
      }
    }
    auto said = summary_of(plan.actions);
    std::erase_if(said, [](const std::string& line) { return line.contains("controllerrevisions"); });
    return said;
  }
  void serve() {
    for (auto& pod : pods) {
      auto object = *pod;
      object["status"] = from_yaml(
          "{phase: Running, conditions: [{type: Ready, status: \"True\", lastTransitionTime: "
          "\"2026-01-01T00:00:10Z\"}]}");
      pod = std::make_shared<const json::object>(std::move(object));
    }
  }
  void lose(const std::string& name) {
    std::erase_if(pods, [&](const ObjectPtr& pod) { return kube::name_of(*pod) == name; });
  }
  const json::object& pod(const std::string& name) const {
    for (const auto& one : pods) {
      if (kube::name_of(*one) == name) return *one;
    }
    throw std::runtime_error("no pod " + name);
  }

  json::object set;
  Objects pods, claims, revisions;
  std::optional<Time> again;

 private:
  Objects& into(const kube::Resource& r) {
    return &r == &res::pods ? pods : &r == &res::controller_revisions ? revisions : claims;
  }
};

TEST(StatefulSet, makes_its_pods_one_after_the_other) {
  World world(set(2));
  EXPECT_EQ(world.step(), Texts{"create pods db-0"});
  EXPECT_EQ(world.step(), Texts{});  // it does not serve yet
  world.serve();
  EXPECT_EQ(world.step(), Texts{"create pods db-1"});
  world.serve();
  EXPECT_EQ(world.step(), Texts{});
  const auto& pod = world.pod("db-1");
  EXPECT_EQ(text_at(pod, {"spec", "hostname"}), "db-1");
  EXPECT_EQ(text_at(pod, {"spec", "subdomain"}), "db");
  EXPECT_EQ(kube::label_of(pod, "statefulset.kubernetes.io/pod-name"), "db-1");
  EXPECT_EQ(kube::label_of(pod, "apps.kubernetes.io/pod-index"), "1");
  EXPECT_EQ(integer_at(world.set, {"status", "readyReplicas"}), 2);
  EXPECT_EQ(text_at(world.set, {"status", "currentRevision"}), revision_of(world.set));
}

TEST(StatefulSet, makes_them_all_at_once_where_that_is_wanted) {
  World world(set(3, ", podManagementPolicy: Parallel, ordinals: {start: 5}"));
  EXPECT_EQ(world.step(), (Texts{"create pods db-5", "create pods db-6", "create pods db-7"}));
}

TEST(StatefulSet, makes_claims_before_the_pod_that_mounts_them) {
  World world(set(1, ", volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce]}}]"));
  EXPECT_EQ(world.step(), Texts{"create persistentvolumeclaims data-db-0"});
  EXPECT_EQ(world.again, now);
  EXPECT_EQ(world.step(), Texts{"create pods db-0"});
  const auto& volume = array_at(world.pod("db-0"), {"spec", "volumes"}).at(0).as_object();
  EXPECT_EQ(text_at(volume, {"name"}), "data");
  EXPECT_EQ(text_at(volume, {"persistentVolumeClaim", "claimName"}), "data-db-0");
  // The next pod of this name has the claim of the one before.
  world.lose("db-0");
  EXPECT_EQ(world.step(), Texts{"create pods db-0"});
}

TEST(StatefulSet, gives_up_the_last_one_first_and_waits_for_it_to_go) {
  World world(set(3, ", podManagementPolicy: Parallel"));
  world.step();
  world.serve();
  child(world.set, "spec")["podManagementPolicy"] = "OrderedReady";
  child(world.set, "spec")["replicas"] = 1;
  EXPECT_EQ(world.step(), Texts{"remove pods db-2"});
  world.lose("db-2");
  EXPECT_EQ(world.step(), Texts{"remove pods db-1"});
}

TEST(StatefulSet, replaces_pods_from_the_last_to_the_partition) {
  World world(set(3, ", podManagementPolicy: Parallel"));
  world.step();
  world.serve();
  world.step();
  const auto before = revision_of(world.set);
  child(child(world.set, "spec"), "updateStrategy")["rollingUpdate"] = json::object{{"partition", 1}};
  child(world.set, "spec")["template"] = object_at(set(3, "", "next"), {"spec", "template"});
  const auto after = revision_of(world.set);
  ASSERT_NE(before, after);
  for (const auto* name : {"db-2", "db-1"}) {
    EXPECT_EQ(world.step(), Texts{std::string("remove pods ") + name});
    world.lose(name);
    EXPECT_EQ(world.step(), Texts{std::string("create pods ") + name});
    EXPECT_EQ(kube::label_of(world.pod(name), "controller-revision-hash"), after);
    EXPECT_EQ(world.step(), Texts{});  // the one before waits for it
    world.serve();
  }
  EXPECT_EQ(world.step(), Texts{});
  // What is below the partition keeps the template that it had.
  world.lose("db-0");
  EXPECT_EQ(world.step(), Texts{"create pods db-0"});
  EXPECT_EQ(kube::label_of(world.pod("db-0"), "controller-revision-hash"), before);
  EXPECT_EQ(text_at(array_at(world.pod("db-0"), {"spec", "containers"}).at(0).as_object(), {"image"}), "i");
  EXPECT_EQ(integer_at(world.set, {"status", "updatedReplicas"}), 2);
}

TEST(StatefulSet, replaces_what_has_failed_and_lets_go_of_what_is_not_its_own) {
  World world(set(1));
  world.pods = {
      pod_of({.name = "db-0", .owner_kind = "StatefulSet", .owner = "db", .phase = "Failed", .ready = false})};
  EXPECT_EQ(world.step(), Texts{"remove pods db-0"});
  world.pods = {pod_of({.name = "db-0", .owner_kind = "StatefulSet", .owner = "db", .labels = "{app: other}"})};
  EXPECT_EQ(world.step().front(), R"(merge pods db-0 {"metadata":{"ownerReferences":null}})");
  world.pods = {pod_of({.name = "db-0", .owner = ""}), pod_of({.name = "dbx-0", .owner = ""})};
  EXPECT_TRUE(world.step().front().starts_with("merge pods db-0"));
}

}  // namespace
}  // namespace workflow::engine
