#include "builder/build_pod.h"

#include <gtest/gtest.h>

#include "lib/base/encoding.h"
#include "lib/base/golden.h"

namespace workflow::builder {
namespace {

using Stage = BuildState::Stage;

const AppName peachy = *AppName::parse("peachy");
const ObjectId commit = *ObjectId::parse("0123456789abcdef0123456789abcdef01234567");

BuildSettings settings_of(std::map<std::string, std::string> more = {}) {
  more.insert({{"SLUGBUILDER_IMAGE", "localhost/workflow/stack:1"}});
  Env env(more);
  auto settings = BuildSettings::from(env);
  env.done();
  return settings;
}

BuildPod build_of_peachy() {
  return {.ns = "deis",
          .name = build_pod_name(peachy, commit, "89abcdef"),
          .app = peachy,
          .commit = commit,
          .urls = {"TAR_URL", "SLUG_PUT_URL"},
          .deadline = std::chrono::minutes(30)};
}

TEST(BuildPod, has_what_a_slugbuilder_needs_and_no_more) {
  expect_golden("plain", print_json_pretty(build_pod(build_of_peachy(), settings_of(), {})));
}

TEST(BuildPod, follows_the_apps_and_the_operators_settings) {
  auto build = build_of_peachy();
  build.has_ca_certificates = true;
  const auto settings = settings_of({{"BUILD_ENV_PIP_INDEX_URL", "https://pypi.example"},
                                     {"BUILD_ENV_PIP_CERT", "/own.crt"},
                                     {"BUILDER_POD_NODE_SELECTOR", "pool:testing, disk:magnetic"},
                                     {"BUILDER_POD_PRIORITY_CLASS", "deis-builds"},
                                     {"BUILDER_POD_PULL_SECRETS", "mirror-login, other.login"},
                                     {"BUILD_CPU_LIMIT", "2"},
                                     {"BUILD_MEMORY_LIMIT", "1Gi"}});
  const AppConfig config{{{"BUILDPACK_URL", "https://example.com/pack.git"},
                          {"DEIS_DISABLE_CACHE", "0"},
                          {"DEIS_BUILDPACK_DEBUG", "true"},
                          {"PASSWORD", "s3cret"}}};
  const auto text = print_json_pretty(build_pod(build, settings, config));
  expect_golden("everything", text);
  EXPECT_EQ(text.find("s3cret"), std::string::npos);
}

TEST(BuildPod, is_told_what_the_config_says_and_kubernetes_expands_nothing_in_it) {
  const auto pod = build_pod(build_of_peachy(), settings_of(), {{{"BUILDPACK_URL", "https://$(HOME)/$$.git"}}});
  EXPECT_NE(print_json(pod).find(R"("BUILDPACK_URL","value":"https://$$(HOME)/$$$$.git")"), std::string::npos);
}

TEST(BuildPod, has_a_name_that_fits) {
  const auto longest = *AppName::parse(std::string(63, 'a'));
  const auto name = build_pod_name(longest, commit, "89abcdef");
  EXPECT_EQ(name, "slugbuild-" + std::string(35, 'a') + "-01234567-89abcdef");
  EXPECT_LE(name.size(), 63u);
}

TEST(BuildSecret, holds_the_config_and_nothing_else) {
  const auto secret = build_secret("deis", peachy, {{{"A", "1"}, {"B", "two\nlines"}}});
  EXPECT_EQ(kube::name_of(secret), "peachy-build-env");
  EXPECT_EQ(kube::secret_values(secret), (std::map<std::string, std::string>{{"A", "1"}, {"B", "two\nlines"}}));
}

TEST(BuildUrls, are_in_a_secret_of_the_builds) {
  const auto secret = urls_secret("deis", peachy, {{"TAR_URL", "http://store/x?signed"}});
  EXPECT_EQ(kube::name_of(secret), "peachy-build-urls");
  EXPECT_EQ(kube::secret_values(secret), (std::map<std::string, std::string>{{"TAR_URL", "http://store/x?signed"}}));
  auto build = build_of_peachy();
  EXPECT_EQ(print_json(build_pod(build, settings_of(), {})).find("signed"), std::string::npos);
}

TEST(BuildKeys, are_one_builds_alone) {
  const auto keys = build_keys(peachy, commit, "0011223344556677");
  EXPECT_EQ(keys.folder, "home/peachy:git-0123456789abcdef0123456789abcdef01234567-0011223344556677/");
  EXPECT_EQ(keys.tar, keys.folder + "tar");
  EXPECT_EQ(keys.slug, keys.folder + "push/slug.tgz");
  EXPECT_EQ(keys.procfile, keys.folder + "push/Procfile");
  EXPECT_EQ(keys.cache, "home/peachy/cache/cache.tgz");
}

TEST(BuildType, is_what_the_tree_and_the_config_say) {
  struct Case {
    bool dockerfile, procfile;
    std::map<std::string, std::string> config;
    BuildType type;
  };
  const auto buildpack = BuildType::buildpack, dockerfile = BuildType::dockerfile;
  const Case cases[] = {
      {false, false, {}, buildpack},
      {false, true, {}, buildpack},
      {true, false, {}, dockerfile},
      {true, true, {}, dockerfile},
      {true, true, {{"HEPHY_BUILDER", "procfile"}}, buildpack},
      {true, true, {{"HEPHY_BUILDER", "Dockerfile"}}, dockerfile},
      {true, true, {{"HEPHY_BUILDER", "other"}}, dockerfile},
      {true, false, {{"BUILDPACK_URL", "https://example.com/pack"}}, buildpack},
      {true, false, {{"BUILDPACK_URL", ""}}, dockerfile},
      {true, true, {{"BUILDPACK_URL", "https://example.com/pack"}, {"HEPHY_BUILDER", "dockerfile"}}, buildpack},
      {false, true, {{"HEPHY_BUILDER", "dockerfile"}}, dockerfile},
  };
  for (const auto& [has_dockerfile, has_procfile, config, type] : cases) {
    EXPECT_EQ(build_type({has_dockerfile, has_procfile}, {config}), type)
        << has_dockerfile << has_procfile << print_json(kube::to_json(config));
  }
}

TEST(NodeSelector, is_pairs_of_labels) {
  EXPECT_EQ(parse_node_selector(""), kube::Labels{});
  EXPECT_EQ(parse_node_selector("pool:testing, disk:magnetic"),
            (kube::Labels{{"pool", "testing"}, {"disk", "magnetic"}}));
  for (const std::string text : {"pool", "pool:a,b", ":x", "a b:c", "pool:a:b"})
    EXPECT_FALSE(parse_node_selector(text)) << text;
}

TEST(BuildSettings, name_every_problem) {
  Env env({{"SLUGBUILDER_IMAGE_PULL_POLICY", "Sometimes"},
           {"BUILDER_POD_NODE_SELECTOR", "pool"},
           {"BUILDER_POD_PULL_SECRETS", "login,,Login"},
           {"BUILD_ENV_9", "x"}});
  BuildSettings::from(env);
  try {
    env.done();
    FAIL() << "accepted";
  } catch (const Error& error) {
    for (const std::string name : {"SLUGBUILDER_IMAGE", "SLUGBUILDER_IMAGE_PULL_POLICY", "BUILDER_POD_NODE_SELECTOR",
                                   "BUILDER_POD_PULL_SECRETS", "BUILD_ENV_9"}) {
      EXPECT_TRUE(error.fields().contains(name)) << name;
    }
    EXPECT_EQ(error.fields().at("BUILDER_POD_NODE_SELECTOR")[0], "Invalid BuilderPodNodeSelector value format: pool");
  }
}

TEST(BuildState, is_read_from_the_pod) {
  struct Case {
    std::string status;
    Stage stage;
    int exit_code;
    std::string trouble;  // part of it; "" = none
  };
  const std::string container = R"("containerStatuses":[{"name":"deis-slugbuilder","state":)";
  const Case cases[] = {
      {"{}", Stage::waiting, 0, ""},
      {R"({"phase":"Pending",)" + container + R"({"waiting":{"reason":"ContainerCreating"}}}]})", Stage::waiting, 0,
       ""},
      {R"({"phase":"Pending",)" + container + R"({"waiting":{"reason":"ErrImagePull","message":"slow"}}}]})",
       Stage::waiting, 0, ""},
      {R"({"phase":"Pending",)" + container +
           R"({"waiting":{"reason":"ImagePullBackOff","message":"no such image"}}}]})",
       Stage::ended, 0, "no such image"},
      {R"({"phase":"Running",)" + container + R"({"running":{}}}]})", Stage::running, 0, ""},
      {R"({"phase":"Succeeded",)" + container + R"({"terminated":{"exitCode":0}}}]})", Stage::ended, 0, ""},
      {R"({"phase":"Failed",)" + container + R"({"terminated":{"exitCode":3,"reason":"Error"}}}]})", Stage::ended, 3,
       ""},
      {R"({"phase":"Failed",)" + container + R"({"terminated":{"exitCode":137,"reason":"OOMKilled"}}}]})", Stage::ended,
       137, "memory"},
      {R"({"phase":"Failed","reason":"DeadlineExceeded",)" + container + R"({"terminated":{"exitCode":137}}}]})",
       Stage::ended, 137, "longer"},
      {R"({"phase":"Failed","reason":"Evicted","message":"disk is full"})", Stage::ended, 0, "Evicted: disk is full"},
  };
  for (const auto& [status, stage, exit_code, trouble] : cases) {
    const auto pod = parse_json(R"({"metadata":{"name":"p"},"status":)" + status + "}")->as_object();
    const auto state = build_state(&pod);
    EXPECT_EQ(state.stage, stage) << status;
    EXPECT_EQ(state.exit_code, exit_code) << status;
    EXPECT_EQ(state.trouble.has_value(), !trouble.empty()) << status;
    EXPECT_NE(state.trouble.value_or("").find(trouble), std::string::npos) << status;
  }
  const auto unplaced =
      parse_json(
          R"({"status":{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","message":"no room"}]}})")
          ->as_object();
  EXPECT_EQ(build_state(&unplaced).stage, Stage::waiting);
  EXPECT_EQ(build_state(&unplaced).waits_for, "no room");
  EXPECT_EQ(build_state(nullptr).stage, Stage::ended);
  EXPECT_TRUE(build_state(nullptr).trouble);
}

}  // namespace
}  // namespace workflow::builder
