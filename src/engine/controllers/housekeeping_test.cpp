#include "engine/controllers/housekeeping.h"

#include <gtest/gtest.h>

#include "engine/controllers/plan_test_support.h"

namespace workflow::engine {
namespace {

namespace res = kube::resources;
using Texts = std::vector<std::string>;

TEST(Namespace, goes_after_all_that_is_in_it) {
  const auto leaving = from_yaml(
      "{metadata: {name: shop, uid: u, deletionTimestamp: \"2026-01-01T00:00:00Z\"}, spec: {finalizers: "
      "[kubernetes]}}");
  const auto secret = object_from("{metadata: {name: s, namespace: shop, uid: u-s}}");
  const auto going =
      object_from("{metadata: {name: p, namespace: shop, uid: u-p, deletionTimestamp: \"2026-01-01T00:00:00Z\"}}");
  EXPECT_EQ(
      summary_of(plan_namespace(leaving, {{&res::secrets, secret}, {&res::pods, going}}, at("2026-03-01T10:00:00Z"))),
      Texts{"remove secrets s"});
  EXPECT_EQ(summary_of(plan_namespace(leaving, {}, at("2026-03-01T10:00:00Z"))),
            Texts{R"(merge namespaces shop {"spec":{"finalizers":null}})"});
  EXPECT_TRUE(plan_namespace(from_yaml("{metadata: {name: shop, uid: u}}"), {{&res::secrets, secret}},
                             at("2026-03-01T10:00:00Z"))
                  .empty());
}

TEST(Namespace, has_an_account_and_the_authority) {
  const auto ns = from_yaml("{metadata: {name: shop, uid: u}}");
  EXPECT_EQ(summary_of(plan_namespace_basics(ns, nullptr, nullptr, "PEM")),
            (Texts{"create serviceaccounts default", "create configmaps kube-root-ca.crt"}));
  const auto account = object_from("{metadata: {name: default, namespace: shop}}");
  const auto old = object_from("{metadata: {name: kube-root-ca.crt, namespace: shop, uid: u-c}, data: {ca.crt: OLD}}");
  EXPECT_EQ(summary_of(plan_namespace_basics(ns, account, old, "PEM")),
            Texts{R"(merge configmaps kube-root-ca.crt {"data":{"ca.crt":"PEM"}})"});
}

TEST(Claim, is_bound_to_a_folder_and_waits_for_its_pods) {
  const std::string spec = "\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}";
  const auto claim = from_yaml("metadata: {name: data, namespace: shop, uid: u}" + spec);
  const auto actions = plan_claim(claim, nullptr, {}, "/state/volumes");
  const auto& volume = std::get<Create>(actions.at(0)).object;
  EXPECT_EQ(text_at(volume, {"spec", "hostPath", "path"}), "/state/volumes/shop_data");
  EXPECT_EQ(text_at(status_after(res::persistent_volume_claims, claim, actions), {"phase"}), "Bound");
  const auto leaving = from_yaml(
      "metadata: {name: data, namespace: shop, uid: u, deletionTimestamp: \"2026-01-01T00:00:00Z\", finalizers: "
      "[kubernetes.io/pvc-protection]}" +
      spec);
  const auto user = [](const char* phase) {
    return object_from(std::string("{metadata: {name: p, namespace: shop}, spec: {volumes: [{name: v, "
                                   "persistentVolumeClaim: {claimName: data}}]}, status: {phase: ") +
                       phase + "}}");
  };
  EXPECT_TRUE(plan_claim(leaving, nullptr, {user("Running")}, "/state/volumes").empty());
  EXPECT_EQ(summary_of(plan_claim(leaving, nullptr, {user("Succeeded")}, "/state/volumes")),
            Texts{R"(merge persistentvolumeclaims data {"metadata":{"finalizers":[]}})"});
}

TEST(Volume, goes_with_its_claim_unless_it_is_kept) {
  const auto volume = [](const char* policy, const char* maker = "workflow/local-folder") {
    return from_yaml(std::string("metadata: {name: pvc-u, uid: u-v, annotations: {pv.kubernetes.io/provisioned-by: ") +
                     maker + "}}\nspec: {persistentVolumeReclaimPolicy: " + policy +
                     ", hostPath: {path: /state/volumes/shop_data}, claimRef: {namespace: shop, name: data, uid: u}}");
  };
  const auto claim = object_from("{metadata: {name: data, namespace: shop, uid: u}}"),
             other = object_from("{metadata: {name: data, namespace: shop, uid: new}}");
  EXPECT_TRUE(plan_volume(volume("Delete"), claim).actions.empty());
  auto plan = plan_volume(volume("Delete"), nullptr);
  EXPECT_EQ(summary_of(plan.actions), Texts{"remove persistentvolumes pvc-u"});
  EXPECT_EQ(plan.remove_folder, "/state/volumes/shop_data");
  EXPECT_FALSE(plan_volume(volume("Delete"), other).remove_folder);
  plan = plan_volume(volume("Retain"), nullptr);
  EXPECT_EQ(summary_of(plan.actions), Texts{});
  EXPECT_EQ(text_at(status_after(res::persistent_volumes, volume("Retain"), plan.actions), {"phase"}), "Released");
  EXPECT_FALSE(plan_volume(volume("Delete", "somebody"), nullptr).remove_folder);
}

TEST(Placement, binds_a_pod_or_says_why_not_once) {
  const auto node = object_from("{metadata: {name: here}, status: {allocatable: {cpu: 1}}}");
  const auto pod = [](const char* cpu) {
    return object_from(std::string("{metadata: {name: p, namespace: shop, uid: u}, spec: {containers: [{name: c, "
                                   "resources: {requests: {cpu: ") +
                       cpu + "}}}]}, status: {phase: Pending}}");
  };
  EXPECT_EQ(summary_of(plan_placement(pod("1"), node, {}, at("2026-03-01T10:00:00Z")), Events::include),
            (Texts{R"(merge pods p {"spec":{"nodeName":"here"}})", "Normal Scheduled"}));
  const auto large = pod("2");
  const auto actions = plan_placement(large, node, {}, at("2026-03-01T10:00:00Z"));
  EXPECT_EQ(summary_of(actions, Events::include), Texts{"Warning FailedScheduling"});
  auto told = *large;
  told["status"] = status_after(res::pods, told, actions);
  EXPECT_TRUE(plan_placement(std::make_shared<const json::object>(told), node, {}, at("2026-03-01T10:01:00Z")).empty());
}

TEST(Service, of_type_load_balancer_shows_the_machine) {
  const auto status = [](const char* type) {
    const auto service =
        from_yaml(std::string("{metadata: {name: s, namespace: shop, uid: u}, spec: {type: ") + type + "}}");
    return json::serialize(status_after(res::services, service, plan_service_status(service, "192.0.2.7")));
  };
  EXPECT_EQ(status("LoadBalancer"), R"({"loadBalancer":{"ingress":[{"ip":"192.0.2.7","ipMode":"VIP"}]}})");
  EXPECT_EQ(status("ClusterIP"), R"({"loadBalancer":{}})");
}

TEST(ResourceQuota, shows_what_is_used) {
  const auto quota = from_yaml(
      "{metadata: {name: q, namespace: shop, uid: u}, spec: {hard: {pods: \"3\", limits.memory: 1Gi, cpu: \"2\"}}}");
  const auto actions = plan_quota(quota, {{"pods", 2000}, {"limits.memory", 536'870'912'000}, {"cpu", 1500}});
  EXPECT_EQ(object_at(status_after(res::resource_quotas, quota, actions), {"used"}),
            (json::object{{"pods", "2"}, {"limits.memory", "512Mi"}, {"cpu", "1500m"}}));
}

}  // namespace
}  // namespace workflow::engine
