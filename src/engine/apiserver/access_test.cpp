#include "engine/apiserver/access.h"

#include <gtest/gtest.h>

#include "engine/test_support.h"

namespace workflow::engine {
namespace {

namespace res = kube::resources;

TEST(Rules, cover_requests) {
  struct Case {
    std::string rule;
    Attributes a;
    bool covered;
  };
  const Attributes pods{
      .verb = "get", .group = "", .resource = "pods", .subresource = "", .name = "web-1", .ns = "shop", .path = ""};
  auto log = pods, listed = pods;
  log.subresource = "log";
  listed.verb = "list";
  listed.name = "";
  const Attributes path{
      .verb = "get", .group = "", .resource = "", .subresource = "", .name = "", .ns = "", .path = "/metrics/cadvisor"};
  const Case cases[] = {
      {"{apiGroups: [''], resources: [pods], verbs: [get]}", pods, true},
      {"{apiGroups: ['*'], resources: ['*'], verbs: ['*']}", pods, true},
      {"{apiGroups: [apps], resources: [pods], verbs: [get]}", pods, false},
      {"{apiGroups: [''], resources: [secrets], verbs: [get]}", pods, false},
      {"{apiGroups: [''], resources: [pods], verbs: [list, watch]}", pods, false},
      {"{apiGroups: [''], resources: [pods], verbs: [get]}", log, false},
      {"{apiGroups: [''], resources: [pods/log], verbs: [get]}", log, true},
      {"{apiGroups: [''], resources: ['*/log'], verbs: [get]}", log, true},
      {"{apiGroups: [''], resources: ['*'], verbs: [get]}", log, true},
      {"{apiGroups: [''], resources: ['pods/*'], verbs: [get]}", log, false},
      {"{apiGroups: [''], resources: [pods], resourceNames: [web-1, web-2], verbs: [get]}", pods, true},
      {"{apiGroups: [''], resources: [pods], resourceNames: [web-3], verbs: [get]}", pods, false},
      {"{apiGroups: [''], resources: [pods], resourceNames: [web-1], verbs: [list]}", listed, false},
      {"{nonResourceURLs: [/metrics/*], verbs: [get]}", path, true},
      {"{nonResourceURLs: ['*'], verbs: [get]}", path, true},
      {"{nonResourceURLs: [/metrics], verbs: [get]}", path, false},
      {"{apiGroups: ['*'], resources: ['*'], verbs: ['*']}", path, false},
      {"{nonResourceURLs: ['*'], verbs: ['*']}", pods, false},
      {"{}", pods, false}};
  for (const auto& c : cases)
    EXPECT_EQ(covers(from_yaml(c.rule), c.a), c.covered) << c.rule << " " << c.a.verb << " " << c.a.subresource;
}

class AccessTest : public testing::Test, public StoreFixture {
 protected:
  AccessTest() {
    for (const auto* ns : {"shop", "blog"}) namespace_named(ns);
    for (auto& [resource, object] : built_in_roles()) create(*resource, std::move(object));
    make(res::roles,
         "{metadata: {name: reader, namespace: shop}, rules: [{apiGroups: [''], resources: [pods], verbs: [get, "
         "list]}]}");
    make(res::cluster_roles,
         "{metadata: {name: keys}, rules: [{apiGroups: [''], resources: [secrets], verbs: [get]}]}");
  }
  void make(const kube::Resource& r, std::string_view yaml) { create(r, from_yaml(yaml)); }
  bool may(const User& user, std::string verb, std::string resource, std::string ns) {
    return authorize(*store, user,
                     {.verb = std::move(verb),
                      .group = "",
                      .resource = std::move(resource),
                      .subresource = "",
                      .name = "",
                      .ns = std::move(ns),
                      .path = ""})
        .allowed;
  }
  static User account(const std::string& ns, const std::string& name) {
    return {"system:serviceaccount:" + ns + ":" + name,
            "",
            {"system:serviceaccounts", "system:serviceaccounts:" + ns, "system:authenticated"}};
  }
};

TEST_F(AccessTest, masters_may_everything_and_others_nothing) {
  EXPECT_TRUE(may({"root", "", {"system:masters"}}, "delete", "secrets", "shop"));
  EXPECT_FALSE(may({"eve", "", {"system:authenticated"}}, "get", "pods", "shop"));
  EXPECT_FALSE(may(anonymous_user(), "get", "pods", "shop"));
}

TEST_F(AccessTest, a_role_binding_counts_in_its_namespace_only) {
  make(res::role_bindings,
       "{metadata: {name: b, namespace: shop}, roleRef: {kind: Role, name: reader}, subjects: [{kind: ServiceAccount, "
       "name: web}]}");
  EXPECT_TRUE(may(account("shop", "web"), "list", "pods", "shop"));
  EXPECT_FALSE(may(account("shop", "web"), "list", "pods", "blog"));
  EXPECT_FALSE(may(account("shop", "web"), "list", "pods", ""));
  EXPECT_FALSE(may(account("blog", "web"), "list", "pods", "shop"));
  EXPECT_FALSE(may(account("shop", "web"), "delete", "pods", "shop"));
}

TEST_F(AccessTest, a_role_binding_lends_a_cluster_role_to_its_namespace) {
  make(res::role_bindings,
       "{metadata: {name: b, namespace: shop}, roleRef: {kind: ClusterRole, name: keys}, subjects: [{kind: User, name: "
       "ann}]}");
  EXPECT_TRUE(may({"ann", "", {}}, "get", "secrets", "shop"));
  EXPECT_FALSE(may({"ann", "", {}}, "get", "secrets", "blog"));
}

TEST_F(AccessTest, a_cluster_role_binding_counts_everywhere) {
  make(res::cluster_role_bindings,
       "{metadata: {name: b}, roleRef: {kind: ClusterRole, name: keys}, subjects: [{kind: Group, name: ops}, {kind: "
       "ServiceAccount, name: bot, namespace: blog}]}");
  for (const auto* ns : {"shop", "blog", ""}) {
    EXPECT_TRUE(may({"ann", "", {"ops"}}, "get", "secrets", ns));
    EXPECT_TRUE(may(account("blog", "bot"), "get", "secrets", ns));
    EXPECT_FALSE(may(account("shop", "bot"), "get", "secrets", ns));
  }
}

TEST_F(AccessTest, a_binding_to_a_role_that_is_missing_gives_nothing) {
  make(res::cluster_role_bindings,
       "{metadata: {name: b}, roleRef: {kind: ClusterRole, name: none}, subjects: [{kind: User, name: ann}]}");
  EXPECT_FALSE(may({"ann", "", {}}, "get", "secrets", ""));
}

TEST_F(AccessTest, whoever_is_known_may_ask_what_is_served_and_what_they_may) {
  const User known{"ann", "", {"system:authenticated"}};
  EXPECT_TRUE(authorize(*store, known, {.verb = "get", .path = "/openapi/v3/api/v1"}).allowed);
  EXPECT_FALSE(authorize(*store, known, {.verb = "get", .path = "/metrics"}).allowed);
  EXPECT_TRUE(
      authorize(*store, known,
                {.verb = "create", .group = "authorization.k8s.io", .resource = "selfsubjectaccessreviews", .path = ""})
          .allowed);
}

TEST_F(AccessTest, the_view_role_shows_no_secrets) {
  make(res::role_bindings,
       "{metadata: {name: b, namespace: shop}, roleRef: {kind: ClusterRole, name: view}, subjects: [{kind: User, name: "
       "ann}]}");
  const User ann{"ann", "", {}};
  EXPECT_TRUE(may(ann, "list", "pods", "shop"));
  EXPECT_FALSE(may(ann, "list", "secrets", "shop"));
  EXPECT_FALSE(may(ann, "delete", "pods", "shop"));
}

TEST_F(AccessTest, nobody_hands_out_more_than_they_have) {
  make(res::role_bindings,
       "{metadata: {name: a, namespace: shop}, roleRef: {kind: ClusterRole, name: admin}, subjects: [{kind: User, "
       "name: ann}]}");
  const User ann{"ann", "", {}}, root{"root", "", {"system:masters"}};
  const auto role = [](std::string_view rules) {
    return from_yaml("{metadata: {name: r, namespace: shop}, rules: " + std::string(rules) + "}");
  };
  EXPECT_EQ(escalation(*store, ann, res::roles, role("[{apiGroups: [''], resources: [pods], verbs: [get, delete]}]")),
            std::nullopt);
  EXPECT_EQ(escalation(*store, ann, res::roles,
                       role("[{apiGroups: [''], resources: [pods], resourceNames: [x], verbs: [get]}]")),
            std::nullopt);
  EXPECT_NE(escalation(*store, ann, res::roles, role("[{apiGroups: [''], resources: [nodes], verbs: [get]}]")),
            std::nullopt);
  EXPECT_NE(escalation(*store, ann, res::roles, role("[{apiGroups: ['*'], resources: ['*'], verbs: ['*']}]")),
            std::nullopt);
  EXPECT_EQ(escalation(*store, root, res::roles, role("[{apiGroups: ['*'], resources: ['*'], verbs: ['*']}]")),
            std::nullopt);
  const auto binding = [](std::string_view name) {
    return from_yaml("{metadata: {name: b, namespace: shop}, roleRef: {kind: ClusterRole, name: " + std::string(name) +
                     "}}");
  };
  EXPECT_EQ(escalation(*store, ann, res::role_bindings, binding("view")), std::nullopt);
  EXPECT_NE(escalation(*store, ann, res::role_bindings, binding("cluster-admin")), std::nullopt);
  EXPECT_EQ(escalation(*store, root, res::role_bindings, binding("cluster-admin")), std::nullopt);
}

// Each combination is looked for in everything that the user holds: this one would take hours.
TEST_F(AccessTest, a_role_that_multiplies_out_is_refused_before_it_is_compared) {
  make(res::role_bindings,
       "{metadata: {name: a, namespace: shop}, roleRef: {kind: ClusterRole, name: admin}, subjects: [{kind: User, "
       "name: ann}]}");
  const User ann{"ann", "", {}};
  auto role = from_yaml("{metadata: {name: r, namespace: shop}, rules: [{apiGroups: [''], verbs: [get]}]}");
  auto& rule = role.at("rules").as_array()[0].as_object();
  rule["resources"] = rule["resourceNames"] = json::array(100'000, "pods");
  const auto why = escalation(*store, ann, res::roles, role);
  ASSERT_TRUE(why);
  EXPECT_NE(why->find("grant them in several roles"), std::string::npos) << *why;
}

TEST_F(AccessTest, the_verbs_bind_and_escalate_permit_it) {
  make(res::cluster_roles,
       "{metadata: {name: operator}, rules: [{apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], "
       "resourceNames: [keys], verbs: [bind]},"
       " {apiGroups: [rbac.authorization.k8s.io], resources: [roles], verbs: [escalate]}]}");
  make(res::cluster_role_bindings,
       "{metadata: {name: o}, roleRef: {kind: ClusterRole, name: operator}, subjects: [{kind: User, name: ann}]}");
  const User ann{"ann", "", {}};
  const auto binding = [](std::string_view name) {
    return from_yaml("{metadata: {name: b, namespace: shop}, roleRef: {kind: ClusterRole, name: " + std::string(name) +
                     "}}");
  };
  EXPECT_EQ(escalation(*store, ann, res::role_bindings, binding("keys")), std::nullopt);
  EXPECT_NE(escalation(*store, ann, res::role_bindings, binding("admin")), std::nullopt);
  const auto all =
      from_yaml("{metadata: {name: r, namespace: shop}, rules: [{apiGroups: ['*'], resources: ['*'], verbs: ['*']}]}");
  EXPECT_EQ(escalation(*store, ann, res::roles, all), std::nullopt);
  EXPECT_NE(escalation(*store, ann, res::cluster_roles, all), std::nullopt);
}

}  // namespace
}  // namespace workflow::engine
