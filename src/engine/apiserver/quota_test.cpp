#include "engine/apiserver/quota.h"

#include <gtest/gtest.h>

#include "engine/test_support.h"

namespace workflow::engine {
namespace {

namespace res = kube::resources;

ObjectPtr object(const std::string& text) { return std::make_shared<const json::object>(from_yaml(text)); }
ObjectPtr pod(const std::string& spec, const char* phase = "Running") {
  return object("metadata: {name: p, namespace: shop}\nspec: " + spec + "\nstatus: {phase: " + phase + "}");
}
json::object quota(const std::string& spec) { return from_yaml("metadata: {name: q, namespace: shop}\nspec: " + spec); }

const char* const small =
    "{containers: [{name: c, resources: {requests: {cpu: 500m, memory: 64Mi}, limits: {cpu: 1, memory: 128Mi}}}]}";

TEST(Quota, refuses_what_would_be_too_much_in_kubernetes_words) {
  const std::vector<ObjectPtr> pods{pod(small), pod(small, "Succeeded")};
  const auto list = [&pods](const kube::Resource& r, const std::string&) {
    return &r == &res::pods ? pods : std::vector<ObjectPtr>();
  };
  struct Case {
    const char *spec, *pod, *why;
  };
  const Case cases[] = {
      {"{hard: {pods: \"2\"}}", small, ""},
      {"{hard: {pods: \"1\"}}", small, "exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"},
      {"{hard: {count/pods: \"2\"}}", small,
       "exceeded quota: q, requested: count/pods=1, used: count/pods=2, limited: count/pods=2"},
      {"{hard: {requests.cpu: \"1\"}}", small, ""},
      {"{hard: {cpu: 900m}}", small, "exceeded quota: q, requested: cpu=500m, used: cpu=500m, limited: cpu=900m"},
      {"{hard: {limits.memory: 200Mi}}", small,
       "exceeded quota: q, requested: limits.memory=128Mi, used: limits.memory=128Mi, limited: limits.memory=200Mi"},
      {"{hard: {limits.memory: 200Mi}}", "{containers: [{name: web}]}",
       "failed quota: q: must specify limits.memory for: web"},
      {"{hard: {pods: \"1\"}, scopes: [BestEffort]}", small, ""},
      {"{hard: {pods: \"0\"}, scopes: [BestEffort]}", "{containers: [{name: web}]}",
       "exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0"},
      {"{hard: {pods: \"0\"}, scopes: [Terminating]}", "{activeDeadlineSeconds: 5, containers: [{name: web}]}",
       "exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0"},
      {"{hard: {services: \"0\"}}", small, ""}};
  for (const auto& [spec, wanted, why] : cases) {
    EXPECT_EQ(why_over_quota(quota(spec), res::pods, *pod(wanted), list).value_or(""), why) << spec;
  }
}

TEST(Quota, counts_the_ports_of_services_and_the_storage_of_claims) {
  const auto service =
      from_yaml("{metadata: {name: s, namespace: shop}, spec: {type: LoadBalancer, ports: [{port: 1}, {port: 2}]}}");
  const auto used = quota_use_of(res::services, service);
  EXPECT_EQ(used.at("services"), 1000);
  EXPECT_EQ(used.at("services.nodeports"), 2000);
  EXPECT_EQ(used.at("services.loadbalancers"), 1000);
  const auto claim = from_yaml("{metadata: {name: d, namespace: shop}, spec: {resources: {requests: {storage: 5Gi}}}}");
  EXPECT_EQ(quota_text("requests.storage", quota_use_of(res::persistent_volume_claims, claim).at("requests.storage")),
            "5Gi");
}

}  // namespace
}  // namespace workflow::engine
