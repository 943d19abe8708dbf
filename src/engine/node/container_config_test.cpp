#include "engine/node/container_config.h"

#include <gtest/gtest.h>

#include "engine/test_support.h"

namespace workflow::engine {
namespace {

TEST(Variables, are_expanded_as_kubernetes_does) {
  const std::map<std::string, std::string> values{{"A", "one"}, {"B", ""}};
  struct Case {
    const char *text, *expected;
  };
  const Case cases[] = {{"$(A)", "one"},
                        {"x$(A)y$(B)z", "xoneyz"},
                        {"$(C)", "$(C)"},
                        {"$$(A)", "$(A)"},
                        {"$A", "$A"},
                        {"$", "$"},
                        {"$(A", "$(A"},
                        {"$$$(A)", "$one"},
                        {"$$$$", "$$"},
                        {"$a$(A)", "$aone"},
                        {"$()", "$()"},
                        {"$(C$(A))", "$(C$(A))"},
                        {"$(C $$ x)", "$(C $$ x)"},
                        {"$(A$$", "$(A$"},
                        {"cost: 5$", "cost: 5$"}};
  for (const auto& [text, expected] : cases) EXPECT_EQ(expand_variables(text, values), expected) << text;
}

EnvSources sources() {
  EnvSources from;
  from.secret = [](const std::string& name) -> std::optional<std::map<std::string, std::string>> {
    if (name != "s") return std::nullopt;
    return std::map<std::string, std::string>{{"key", "hidden"}, {"a.b-c", "x"}};
  };
  from.config_map = [](const std::string&) -> std::optional<std::map<std::string, std::string>> {
    return std::nullopt;
  };
  from.field = [](const std::string& path) { return "<" + path + ">"; };
  from.resource = [](const std::string&, const std::string& resource, const std::string&) {
    return "<" + resource + ">";
  };
  from.service_links = {{"A_SERVICE_HOST", "10.0.0.1"}};
  return from;
}

TEST(Environment, is_gathered_from_all_sources_in_order) {
  const auto container = from_yaml(R"yaml(
envFrom: [{prefix: P_, secretRef: {name: s}}, {configMapRef: {name: none, optional: true}}]
env: [{name: A, value: one}, {name: B, value: "$(A)-$(P_key)"}, {name: S, valueFrom: {secretKeyRef: {name: s, key: key}}},
      {name: N, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: M, valueFrom: {resourceFieldRef: {resource: limits.memory}}},
      {name: O, valueFrom: {secretKeyRef: {name: s, key: none, optional: true}}}, {name: A_SERVICE_HOST, value: mine}]
)yaml");
  EXPECT_EQ(environment_of(container, sources()), (EnvList{{"A_SERVICE_HOST", "mine"},
                                                           {"P_a.b-c", "x"},
                                                           {"P_key", "hidden"},
                                                           {"A", "one"},
                                                           {"B", "one-hidden"},
                                                           {"S", "hidden"},
                                                           {"N", "<metadata.name>"},
                                                           {"M", "<limits.memory>"}}));
}

TEST(Environment, says_what_is_missing) {
  struct Case {
    const char *container, *why;
  };
  const Case cases[] = {
      {"{envFrom: [{configMapRef: {name: m}}]}", "configmap \"m\" not found"},
      {"{env: [{name: A, valueFrom: {secretKeyRef: {name: x, key: k}}}]}", "secret \"x\" not found"},
      {"{env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]}", "couldn't find key k in secret s"}};
  for (const auto& [container, why] : cases) {
    try {
      environment_of(from_yaml(container), sources());
      ADD_FAILURE() << container;
    } catch (const Error& error) {
      EXPECT_EQ(error.message(), why);
    }
  }
}

TEST(Resources, become_settings_of_the_control_group) {
  struct Case {
    const char* resources;
    cri::Resources expected;
  };
  const Case cases[] = {{"{}", {.cpu_shares = 2}},
                        {"{requests: {cpu: 250m}}", {.cpu_shares = 256}},
                        {"{limits: {cpu: 1500m, memory: 64Mi}}",
                         {.cpu_period = 100'000,
                          .cpu_quota = 150'000,
                          .cpu_shares = 1536,
                          .memory_limit = 67'108'864,
                          .memory_swap_limit = 67'108'864}},
                        {"{limits: {cpu: 1m}}", {.cpu_period = 100'000, .cpu_quota = 1000, .cpu_shares = 2}}};
  for (const auto& [resources, expected] : cases)
    EXPECT_EQ(resources_of(from_yaml(std::string("resources: ") + resources)), expected) << resources;
}

TEST(Qos, follows_requests_and_limits) {
  struct Case {
    const char *spec, *qos;
    std::int64_t oom;
  };
  const Case cases[] = {{"{containers: [{name: a}]}", "BestEffort", 1000},
                        {"{containers: [{name: a, resources: {limits: {cpu: 1, memory: 1Gi}}}]}", "Guaranteed", -997},
                        {"{containers: [{name: a, resources: {requests: {cpu: 1}}}]}", "Burstable", 999}};
  for (const auto& [spec, qos, oom] : cases) {
    const auto object = from_yaml(spec);
    EXPECT_EQ(qos_class(object), qos) << spec;
    EXPECT_EQ(oom_score_adjustment(object, object.at("containers").as_array()[0].as_object()), oom) << spec;
  }
}

TEST(Security, the_container_wins_over_the_pod) {
  const auto pod = from_yaml(
      "{securityContext: {runAsUser: 1000, runAsGroup: 1001, fsGroup: 2000, supplementalGroups: [3000]}, hostNetwork: "
      "true}");
  const auto container = from_yaml(
      "{securityContext: {runAsUser: 5, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: "
      "{add: [NET_ADMIN], drop: [ALL]}}}");
  const auto security = security_of(pod, container);
  EXPECT_EQ(security.user, 5);
  EXPECT_EQ(security.group, 1001);
  EXPECT_EQ(security.supplemental_groups, (std::vector<std::int64_t>{2000, 3000}));
  EXPECT_TRUE(security.read_only_root);
  EXPECT_TRUE(security.no_new_privileges);
  EXPECT_EQ(security.add_capabilities, std::vector<std::string>{"NET_ADMIN"});
  EXPECT_EQ(security.drop_capabilities, std::vector<std::string>{"ALL"});
  EXPECT_EQ(security.namespaces.network, cri::NamespaceMode::node);
  EXPECT_EQ(security.seccomp->type, cri::Seccomp::Type::runtime_default);
  EXPECT_EQ(security_of(from_yaml("{securityContext: {seccompProfile: {type: Unconfined}}}"), {}).seccomp->type,
            cri::Seccomp::Type::unconfined);
}

TEST(Security, refuses_root_where_it_is_not_wanted) {
  struct Case {
    const char *pod, *container;
    cri::Image image;
    const char* why;
  };
  const cri::Image root{.uid = 0}, user{.uid = 7}, nobody{}, named{.username = "app"};
  const Case cases[] = {
      {"{}", "{}", root, ""},
      {"{securityContext: {runAsNonRoot: true}}", "{}", user, ""},
      {"{securityContext: {runAsNonRoot: true}}", "{}", root, "container has runAsNonRoot and image will run as root"},
      {"{securityContext: {runAsNonRoot: true}}", "{}", nobody,
       "container has runAsNonRoot and image will run as root"},
      {"{securityContext: {runAsNonRoot: true, runAsUser: 9}}", "{}", root, ""},
      {"{securityContext: {runAsNonRoot: true, runAsUser: 0}}", "{}", user,
       "container's runAsUser breaks non-root policy"},
      {"{securityContext: {runAsNonRoot: true}}", "{securityContext: {runAsNonRoot: false}}", root, ""},
      {"{}", "{securityContext: {runAsNonRoot: true}}", named,
       "container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root"}};
  for (const auto& [pod, container, image, why] : cases) {
    std::string said;
    try {
      check_non_root(from_yaml(pod), from_yaml(container), image);
    } catch (const Error& error) {
      said = error.message();
    }
    EXPECT_EQ(said, why) << pod << container;
  }
}

}  // namespace
}  // namespace workflow::engine
