#include "engine/controllers/daemon_set.h"

#include <gtest/gtest.h>

#include "engine/controllers/plan_test_support.h"

namespace workflow::engine {
namespace {

using Texts = std::vector<std::string>;

json::object set(const std::string& more = "") {
  return from_yaml(
      "metadata: {name: agent, namespace: shop, uid: uid-set, generation: 1}\nspec: {selector: {matchLabels: {app: "
      "web}}, " +
      more + "template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: i}]}}}");
}
ObjectPtr node(const std::string& spec = "{}") {
  return object_from("metadata: {name: here, labels: {disk: ssd}}\nspec: " + spec);
}

TEST(DaemonSet, keeps_one_pod_on_the_node) {
  const auto hash = template_hash(object_at(set(), {"spec", "template"}), 0);
  const auto pod = [&](const char* name, bool fresh, bool leaving = false, const char* phase = "Running") {
    return pod_of({.name = name,
                   .owner_kind = "DaemonSet",
                   .phase = phase,
                   .labels = "{app: web, controller-revision-hash: " + (fresh ? hash : "old") + "}",
                   .leaving = leaving});
  };
  struct Case {
    const char* what;
    json::object set;
    Objects pods;
    ObjectPtr node;
    Texts expected;
  };
  const Case cases[] = {
      {"none yet", set(), {}, node(), {"create pods agent-*"}},
      {"no node yet", set(), {}, nullptr, {}},
      {"as it should be", set(), {pod("a", true)}, node(), {}},
      {"one too many", set(), {pod("a", true), pod("b", true)}, node(), {"remove pods a"}},
      {"an older template", set(), {pod("a", false)}, node(), {"remove pods a"}},
      {"an older template, by hand", set("updateStrategy: {type: OnDelete}, "), {pod("a", false)}, node(), {}},
      {"the next one waits for the last one", set(), {pod("a", true, true)}, node(), {}},
      {"a failed one goes", set(), {pod("a", true, false, "Failed")}, node(), {"remove pods a"}},
      {"a cordoned node", set(), {}, node("{unschedulable: true}"), {"create pods agent-*"}},
      {"a full disk",
       set(),
       {},
       node("{taints: [{key: node.kubernetes.io/disk-pressure, effect: NoSchedule}]}"),
       {"create pods agent-*"}},
      {"a taint", set(), {}, node("{taints: [{key: mine, effect: NoSchedule}]}"), {}}};
  for (const auto& [what, object, pods, where, expected] : cases) {
    EXPECT_EQ(summary_of(plan_daemon_set(object, pods, where, at("2026-03-01T10:00:00Z")).actions), expected) << what;
  }
}

}  // namespace
}  // namespace workflow::engine
