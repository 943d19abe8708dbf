#include "engine/controllers/garbage.h"

#include <gtest/gtest.h>

#include "engine/controllers/plan_test_support.h"

namespace workflow::engine {
namespace {

using Texts = std::vector<std::string>;
namespace res = kube::resources;

// A ReplicaSet and what it owns, by uid.
json::object set(const std::string& uid, const std::string& metadata = "") {
  return from_yaml("apiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {name: set-" + uid +
                   ", namespace: shop, uid: " + uid + metadata + "}");
}
json::object pod(const std::string& owners, bool leaving = false) {
  return from_yaml("apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: shop, uid: uid-p, ownerReferences: [" +
                   owners + "]" + (leaving ? ", deletionTimestamp: \"2026-01-01T00:00:00Z\"" : "") + "}");
}
std::string owner(const std::string& uid, const char* kind = "ReplicaSet", bool blocks = true) {
  return std::string("{apiVersion: apps/v1, kind: ") + kind + ", name: set-" + uid + ", uid: " + uid +
         ", blockOwnerDeletion: " + (blocks ? "true" : "false") + "}";
}

TEST(Garbage, goes_when_its_last_owner_is_gone) {
  struct Case {
    const char* what;
    json::object pod;
    Texts expected;
  };
  const Case cases[] = {
      {"its only owner", pod(owner("gone")), {"remove pods p"}},
      {"one of two",
       pod(owner("gone") + ", " + owner("here")),
       {R"(merge pods p {"metadata":{"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"set-here","uid":"here","blockOwnerDeletion":true}]}})"}},
      {"both", pod(owner("gone") + ", " + owner("lost")), {"remove pods p"}},
      {"on its way already", pod(owner("gone"), true), {}},
      {"somebody else's", pod(owner("here")), {}},
      {"of a type that is not served here", pod(owner("gone", "Widget")), {}}};
  for (const auto& [what, object, expected] : cases) {
    OwnerIndex index;
    index.put(res::replica_sets, set("here"));
    index.put(res::pods, object);
    EXPECT_EQ(summary_of(plan_orphan(res::pods, object, "gone", index)), expected) << what;
  }
}

TEST(Garbage, index_forgets_what_is_dropped) {
  OwnerIndex index;
  index.put(res::replica_sets, set("a"));
  index.put(res::pods, pod(owner("a")));
  EXPECT_EQ(index.dependents("a").size(), 1u);
  EXPECT_TRUE(index.missing_owners().empty());
  index.drop(res::replica_sets, set("a"));
  EXPECT_EQ(index.missing_owners(), Texts{"a"});
  index.put(res::pods, pod(owner("b")));
  EXPECT_EQ(index.missing_owners(), Texts{"b"});
  index.drop(res::pods, pod(owner("b")));
  EXPECT_TRUE(index.missing_owners().empty());
}

TEST(Garbage, an_owner_waits_for_what_blocks_it) {
  const auto leaving = [](const char* finalizer) {
    return set("a", std::string(", deletionTimestamp: \"2026-01-01T00:00:00Z\", finalizers: [") + finalizer + "]");
  };
  const auto free = std::string(R"(merge replicasets set-a {"metadata":{"finalizers":[]}})");
  const auto dependent = [](json::object o) {
    return std::vector<Dependent>{{&res::pods, std::make_shared<const json::object>(std::move(o))}};
  };
  struct Case {
    const char* what;
    json::object owner;
    std::vector<Dependent> dependents;
    Texts expected;
  };
  const Case cases[] = {{"foreground", leaving("foregroundDeletion"), dependent(pod(owner("a"))), {"remove pods p"}},
                        {"foreground, on its way", leaving("foregroundDeletion"), dependent(pod(owner("a"), true)), {}},
                        {"foreground, does not block",
                         leaving("foregroundDeletion"),
                         dependent(pod(owner("a", "ReplicaSet", false), true)),
                         {free}},
                        {"foreground, all gone", leaving("foregroundDeletion"), {}, {free}},
                        {"orphan",
                         leaving("orphan"),
                         dependent(pod(owner("a"))),
                         {R"(merge pods p {"metadata":{"ownerReferences":null}})"}},
                        {"orphan, all let go", leaving("orphan"), {}, {free}},
                        {"not leaving", set("a"), dependent(pod(owner("a"))), {}}};
  for (const auto& [what, object, dependents, expected] : cases) {
    EXPECT_EQ(summary_of(plan_waiting_owner(res::replica_sets, object, dependents)), expected) << what;
  }
}

TEST(Garbage, a_circle_holds_up_nobody) {
  const auto pod = [](const std::string& name, const std::string& owner, const std::string& more = "") {
    return object_from("metadata: {name: " + name + ", namespace: shop, uid: uid-" + name +
                       ", finalizers: [foregroundDeletion]" + more +
                       ", ownerReferences: [{apiVersion: v1, kind: Pod, name: x, uid: uid-" + owner +
                       ", blockOwnerDeletion: true}]}");
  };
  const std::string leaving = ", deletionTimestamp: \"2026-01-01T00:00:00Z\"";
  const auto a = pod("a", "c", leaving), b = pod("b", "a", leaving), c = pod("c", "b", leaving);
  OwnerIndex index;
  for (const auto& one : {a, b, c}) index.put(kube::resources::pods, *one);
  EXPECT_EQ(index.ancestors("uid-a"), (std::set<std::string>{"uid-a", "uid-b", "uid-c"}));
  const std::vector<Dependent> dependents{{&kube::resources::pods, b}};
  EXPECT_EQ(summary_of(plan_waiting_owner(kube::resources::pods, *a, dependents)), std::vector<std::string>{});
  EXPECT_EQ(summary_of(plan_waiting_owner(kube::resources::pods, *a, dependents, index.ancestors("uid-a"))),
            std::vector<std::string>{R"(merge pods a {"metadata":{"finalizers":[]}})"});
}

}  // namespace
}  // namespace workflow::engine
