#include "controller/cluster/turnover.h"

#include <gtest/gtest.h>

#include "controller/cluster/examples.h"
#include "controller/cluster/release_objects.h"
#include "lib/kube/yaml.h"

namespace workflow::controller::cluster {
namespace {

json::object parsed(const std::string& yaml) { return kube::parse_yaml(yaml).get_object(); }

enum class Ready { yes, no };
ObjectPtr pod(const std::string& name, const std::string& metadata = "", Ready ready = Ready::yes) {
  return std::make_shared<const json::object>(
      parsed("metadata: {name: \"" + name + "\", namespace: shop, uid: u" + name + metadata +
             "}\nspec: {containers: [{ports: [{name: http, containerPort: 5000}]}]}\nstatus: {podIP: 10.0.0." + name +
             ", conditions: [{type: Ready, status: \"" + (ready == Ready::yes ? "True" : "False") + "\"}]}"));
}

std::string names(const std::vector<ObjectPtr>& pods) {
  std::string text;
  for (const auto& p : pods) text += kube::name_of(*p);
  return text;
}

TEST(Turnover, a_hold_is_let_go_of_as_if_it_had_not_been) {
  auto deployment = deployment_for(example_settings(), shop_app(), shop_release(), type("web"), {.replicas = 2});
  const auto before = deployment;
  hold(deployment);
  EXPECT_TRUE(is_held(deployment));
  const auto held = deployment;
  hold(deployment);
  EXPECT_EQ(deployment, held) << "twice is once";
  EXPECT_GT(find_integer(deployment, {"spec", "progressDeadlineSeconds"}).value_or(0),
            find_integer(deployment, {"spec", "minReadySeconds"}).value_or(0));
  let_go(deployment);
  EXPECT_EQ(deployment, before);
}

TEST(Turnover, goes_where_the_cluster_would_begin) {
  const std::vector<ObjectPtr> pods = {
      pod("1", ", creationTimestamp: \"2026-01-01T00:00:00Z\""),
      pod("2", ", creationTimestamp: \"2026-01-02T00:00:00Z\""), pod("3", "", Ready::no),
      pod("4", ", annotations: {controller.kubernetes.io/pod-deletion-cost: \"-1000000\"}")};
  EXPECT_EQ(names(first_to_go(pods, 9)), "4321");
  EXPECT_EQ(names(first_to_go(pods, 2)), "43");
  EXPECT_EQ(names(first_to_go({}, 2)), "");
}

TEST(Turnover, only_what_is_spare_goes) {
  struct Case {
    int replicas, ready;
    std::size_t old, spare;
  };
  const Case cases[] = {{3, 1, 3, 1}, {3, 0, 3, 0}, {3, 2, 2, 1}, {3, 3, 1, 1},
                        {3, 3, 5, 5}, {3, 1, 1, 0}, {1, 1, 1, 1}};
  for (const auto& c : cases) {
    RolloutView view{.type = type("web"), .replicas = c.replicas};
    for (int i = 0; i < c.ready; ++i) view.pods.push_back(pod(std::to_string(i)));
    std::vector<ObjectPtr> old;
    for (std::size_t i = 0; i < c.old; ++i) old.push_back(pod(std::to_string(100 + i)));
    EXPECT_EQ(spare_pods(view, old).size(), c.spare) << c.replicas << " " << c.ready << " " << c.old;
  }
}

TEST(Turnover, routers_are_asked_about_the_services_that_select_the_pods) {
  const std::vector<json::object> services = {
      parsed("metadata: {name: shop, namespace: shop}\n"
             "spec: {selector: {type: web, router.deis.io/serving: \"true\"}}"),
      parsed("metadata: {name: shop-api, namespace: shop}\nspec: {selector: {type: api}}"),
      parsed("metadata: {name: theirs, namespace: shop}\nspec: {}")};
  const std::vector<ObjectPtr> pods = {pod("1", ", labels: {type: web, router.deis.io/serving: \"true\"}"),
                                       pod("2", ", labels: {type: web}"), pod("3", ", labels: {type: api}"),
                                       pod("4", ", labels: {type: worker}")};
  EXPECT_EQ(routes_to(services, pods, Pods::serving),
            (std::vector<Route>{{.ns = "shop", .service = "shop", .serves = {"10.0.0.1:5000"}},
                                {.ns = "shop", .service = "shop-api", .serves = {"10.0.0.3:5000"}}}));
  EXPECT_EQ(routes_to(services, {pods[1]}, Pods::leaving),
            (std::vector<Route>{{.ns = "shop", .service = "shop", .gone = {"10.0.0.2:5000"}}}));
}

TEST(Routers, are_asked_in_their_own_words) {
  const Route route{.ns = "shop",
                    .service = "shop-api",
                    .serves = {"10.0.0.1:80", "[fd00::1]:80"},
                    .gone = {"10.0.0.2:80"},
                    .hosts = {"a.example.com", "*.b"}};
  EXPECT_EQ(path_of(route), "/v1/routes/shop/shop-api");
  EXPECT_EQ(query_of(route, std::chrono::seconds(5)),
            "wait=5&serves=10.0.0.1:80,[fd00::1]:80&not=10.0.0.2:80&host=a.example.com&host=%2A.b");
  EXPECT_EQ(query_of({.ns = "shop", .service = "shop", .version = "812", .certificates = {{"one-cert", "7"}}},
                     std::chrono::seconds(5)),
            "wait=5&version=812&certificate=one-cert@7");
  EXPECT_EQ(query_of({.ns = "shop", .service = "shop-api", .absent = true}, std::chrono::seconds(0)),
            "wait=0&absent=true");
}

}  // namespace
}  // namespace workflow::controller::cluster
