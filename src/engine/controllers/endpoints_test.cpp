#include "engine/controllers/endpoints.h"

#include <gtest/gtest.h>

#include "engine/controllers/plan_test_support.h"

namespace workflow::engine {
namespace {

namespace res = kube::resources;

ObjectPtr service(const std::string& more = "") {
  return object_from(
      "metadata: {name: web, namespace: shop, uid: uid-svc}\nspec: {clusterIP: 10.0.0.9, selector: {app: web}, "
      "ports: [{name: http, port: 80, targetPort: 5000, protocol: TCP}]" +
      more + "}");
}

// The address and conditions that a plan gives each pod: "10.0.0.1 ready serving".
std::vector<std::string> endpoints_of(const Actions& actions) {
  std::vector<std::string> out;
  for (const auto& action : actions) {
    const auto* c = std::get_if<Create>(&action);
    if (c == nullptr || c->resource != &res::endpoint_slices) continue;
    for (const auto& item : array_at(c->object, {"endpoints"})) {
      const auto& e = item.get_object();
      auto text = std::string(array_at(e, {"addresses"})[0].as_string());
      for (const auto* name : {"ready", "serving", "terminating"}) {
        if (flag_at(e, {"conditions", name})) text += std::string(" ") + name;
      }
      out.push_back(text);
    }
  }
  return out;
}

TEST(Endpoints, are_the_pods_that_are_selected) {
  struct Case {
    const char* what;
    TestPod pod;
    std::vector<std::string> expected;
    const char* service = "";
  };
  const Case cases[] = {
      {"ready", {}, {"10.0.0.1 ready serving"}},
      {"not ready", {.ready = false}, {"10.0.0.1"}},
      {"not ready, but wanted all the same", {.ready = false}, {"10.0.0.1 ready"}, ", publishNotReadyAddresses: true"},
      {"on its way out", {.leaving = true}, {"10.0.0.1 serving terminating"}},
      {"finished", {.phase = "Succeeded"}, {}},
      {"another app's", {.labels = "{app: other}"}, {}}};
  for (const auto& [what, pod, expected, more] : cases) {
    EXPECT_EQ(endpoints_of(plan_endpoints("shop", "web", service(more), {pod_of(pod)}, {}, nullptr)), expected) << what;
  }
}

TEST(Endpoints, are_written_only_when_they_change) {
  auto actions = plan_endpoints("shop", "web", service(), {pod_of({})}, {}, nullptr);
  ASSERT_EQ(actions.size(), 2u);
  const auto slice = std::make_shared<const json::object>(std::get<Create>(actions[0]).object);
  const auto endpoints = std::make_shared<const json::object>(std::get<Create>(actions[1]).object);
  EXPECT_TRUE(plan_endpoints("shop", "web", service(), {pod_of({})}, {slice}, endpoints).empty());
  actions = plan_endpoints("shop", "web", service(), {pod_of({.ready = false})}, {slice}, endpoints);
  EXPECT_EQ(actions.size(), 2u);
  EXPECT_EQ(summary_of(plan_endpoints("shop", "web", nullptr, {}, {slice}, endpoints)),
            (std::vector<std::string>{"remove endpointslices " + kube::name_of(*slice), "remove endpoints web"}));
}

TEST(Endpoints, of_a_service_without_selector_are_left_alone) {
  auto object = *service();
  child(object, "spec").erase("selector");
  EXPECT_TRUE(
      plan_endpoints("shop", "web", std::make_shared<const json::object>(object), {pod_of({})}, {}, nullptr).empty());
}

TEST(Endpoints, that_somebody_made_without_a_service_stay) {
  const auto by_hand = std::make_shared<const json::object>(
      from_yaml("{metadata: {name: outside, namespace: shop}, subsets: [{addresses: [{ip: 192.0.2.1}]}]}"));
  EXPECT_TRUE(plan_endpoints("shop", "outside", nullptr, {}, {}, by_hand).empty());
}

}  // namespace
}  // namespace workflow::engine
