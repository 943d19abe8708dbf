#include "engine/placement.h"

#include <gtest/gtest.h>

#include "engine/test_support.h"

namespace workflow::engine {
namespace {

json::object node() {
  return from_yaml(R"(
metadata: {name: here, labels: {disk: ssd}}
spec: {}
status: {allocatable: {cpu: "2", memory: 1Gi, pods: "3"}}
)");
}
json::object pod(const std::string& spec, const std::string& name = "p") {
  return from_yaml("metadata: {name: " + name + ", uid: uid-" + name + "}\nspec: " + spec);
}
ObjectPtr bound(const std::string& spec, const std::string& name, const char* phase = "Running") {
  auto object = pod(spec, name);
  child(object, "spec")["nodeName"] = "here";
  object["status"] = json::object{{"phase", phase}};
  return std::make_shared<const json::object>(std::move(object));
}

TEST(Placement, refuses_what_does_not_fit_and_says_why) {
  const std::vector<ObjectPtr> there{
      bound("{containers: [{name: c, resources: {requests: {cpu: 1500m, memory: 512Mi}}, "
            "ports: [{containerPort: 80, hostPort: 8080, protocol: TCP}]}]}",
            "a"),
      bound("{containers: [{name: c, resources: {requests: {cpu: 2}}}]}", "over", "Succeeded")};
  struct Case {
    const char *spec, *why;
  };
  const Case cases[] = {
      {"{containers: [{name: c}]}", ""},
      {"{containers: [{name: c, resources: {requests: {cpu: 500m, memory: 512Mi}}}]}", ""},
      {"{containers: [{name: c, resources: {requests: {cpu: 501m}}}]}", "1 Insufficient cpu"},
      {"{containers: [{name: c, resources: {requests: {cpu: 1, memory: 600Mi}}}]}",
       "1 Insufficient cpu, 1 Insufficient memory"},
      {"{nodeSelector: {disk: hdd}, containers: [{name: c}]}", "1 node(s) didn't match Pod's node affinity/selector"},
      {"{nodeSelector: {disk: ssd}, containers: [{name: c}]}", ""},
      {"{containers: [{name: c, ports: [{containerPort: 1, hostPort: 8080}]}]}",
       "1 node(s) didn't have free ports for the requested pod ports"},
      {"{containers: [{name: c, ports: [{containerPort: 1, hostPort: 8080, hostIP: 127.0.0.1}]}]}",
       "1 node(s) didn't have free ports for the requested pod ports"},
      {"{containers: [{name: c, ports: [{containerPort: 1, hostPort: 8080, protocol: UDP}]}]}", ""}};
  for (const auto& [spec, why] : cases) {
    const auto said = why_not_placed(node(), pod(spec), there);
    if (*why == 0) {
      EXPECT_FALSE(said) << spec << ": " << *said;
    } else {
      ASSERT_TRUE(said) << spec;
      EXPECT_TRUE(said->starts_with("0/1 nodes are available: " + std::string(why) + ". ")) << *said;
    }
  }
}

TEST(Placement, does_not_count_a_pod_against_itself) {
  const auto self = bound("{containers: [{name: c, resources: {requests: {cpu: 2}}}]}", "a");
  EXPECT_FALSE(why_not_placed(node(), *self, {self}));
}

TEST(Placement, stops_at_the_number_of_pods) {
  std::vector<ObjectPtr> there;
  for (const auto* name : {"a", "b", "c"}) {
    EXPECT_FALSE(why_not_placed(node(), pod("{containers: [{name: c}]}"), there));
    there.push_back(bound("{containers: [{name: c}]}", name));
  }
  EXPECT_TRUE(why_not_placed(node(), pod("{containers: [{name: c}]}"), there)->find("1 Too many pods") !=
              std::string::npos);
}

TEST(Placement, respects_taints_unless_tolerated) {
  auto tainted = node();
  child(tainted, "spec")["taints"] =
      json::array{json::object{{"key", "node.kubernetes.io/disk-pressure"}, {"effect", "NoSchedule"}}};
  EXPECT_TRUE(why_not_placed(tainted, pod("{containers: [{name: c}]}"), {})
                  .value_or("")
                  .find("untolerated taint {node.kubernetes.io/disk-pressure: }") != std::string::npos);
  EXPECT_FALSE(why_not_placed(
      tainted,
      pod("{tolerations: [{key: node.kubernetes.io/disk-pressure, operator: Exists}], containers: [{name: c}]}"), {}));
  auto cordoned = node();
  child(cordoned, "spec")["unschedulable"] = true;
  EXPECT_TRUE(why_not_placed(cordoned, pod("{containers: [{name: c}]}"), {}).has_value());
}

}  // namespace
}  // namespace workflow::engine
