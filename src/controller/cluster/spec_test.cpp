#include "controller/cluster/spec.h"

#include <gtest/gtest.h>

#include "controller/cluster/examples.h"

namespace workflow::controller::cluster {

TEST(Limit, reads_the_forms_of_limits_set) {
  struct Case {
    std::string text;
    std::optional<Limit> limit;
  };
  const Case memory[] = {{"64M", Limit{"", "64Mi"}},
                         {"64MB", Limit{"", "64Mi"}},
                         {"1gb", Limit{"", "1Gi"}},
                         {"100B", Limit{"", "100"}},
                         {"0/3G", Limit{"0", "3Gi"}},
                         {"1G/2G", Limit{"1Gi", "2Gi"}},
                         {"0", Limit{"", "0"}},
                         {"1G/0", {}},
                         {"00/1G", {}},
                         {"1G\n", {}},
                         {"1G/2G\n", {}},
                         {" 1G", {}},
                         {"1G / 2G", {}},
                         {"512K", Limit{"", "512Ki"}},
                         {"64", {}},
                         {"", {}},
                         {"M", {}},
                         {"64Mi", {}},
                         {"1/2/3", {}},
                         {"-1M", {}},
                         {"1.5G", {}},
                         {"64MX", {}}};
  for (const auto& [text, limit] : memory) EXPECT_EQ(memory_limit(text), limit) << text;
  const Case cpu[] = {{"1", Limit{"", "1"}},
                      {"500m", Limit{"", "500m"}},
                      {"0.25/1", Limit{"0.25", "1"}},
                      {"250M", Limit{"", "250m"}},
                      {"", {}},
                      {"m", {}},
                      {"1.5m", Limit{"", "1.5m"}},
                      {".5", Limit{"", "0.5"}},
                      {".5/.75", Limit{"0.5", "0.75"}},
                      {"1\n", {}},
                      {" 1", {}},
                      {"1.", {}},
                      {".", {}},
                      {".m", {}},
                      {"-1", {}},
                      {"one", {}},
                      {"1/", {}}};
  for (const auto& [text, limit] : cpu) EXPECT_EQ(cpu_limit(text), limit) << text;
}

TEST(Release, routes_to_web_else_cmd) {
  auto release = shop_release();
  EXPECT_EQ(routed_type(release)->text(), "web");
  release.processes[type("cmd")].replicas = 1;
  EXPECT_EQ(routed_type(release)->text(), "web");
  release.processes[type("web")].replicas = 0;
  EXPECT_EQ(routed_type(release)->text(), "cmd") << "where something runs";
  release.processes[type("cmd")].replicas = 0;
  EXPECT_EQ(routed_type(release)->text(), "web");
  release.processes = {{type("worker"), {.replicas = 1}}};
  EXPECT_EQ(routed_type(release), std::nullopt);
}

TEST(Release, knows_its_port) {
  auto release = shop_release();
  EXPECT_EQ(port_of(release), 5000);
  release.config["PORT"] = " 9000 ";
  EXPECT_EQ(port_of(release), 9000);
  auto image = image_release();
  EXPECT_EQ(port_of(image), 8080);
  image.port.reset();
  EXPECT_EQ(port_of(image), std::nullopt);
}

TEST(DefaultStructure, depends_on_the_build) {
  using Structure = std::map<ProcessType, int>;
  const auto web = type("web");
  const auto cmd = type("cmd");
  const auto worker = type("worker");
  EXPECT_EQ(default_structure(BuildKind::slug, {web, worker}), (Structure{{web, 1}}));
  EXPECT_EQ(default_structure(BuildKind::slug, {worker}), Structure{});
  EXPECT_EQ(default_structure(BuildKind::slug, {}), (Structure{{web, 1}}));
  EXPECT_EQ(default_structure(BuildKind::image, {}), (Structure{{cmd, 1}}));
  EXPECT_EQ(default_structure(BuildKind::dockerfile, {worker}), (Structure{{cmd, 1}}));
  EXPECT_EQ(default_structure(BuildKind::image, {web}), (Structure{{web, 1}}));
}

TEST(Settings, come_from_variables) {
  Env env({{"SLUGRUNNER_IMAGE", "stack:1"}, {"DEIS_DEPLOY_TIMEOUT", "60"}, {"APP_DRAIN_TIME", "1500ms"}});
  const auto settings = Settings::from(env);
  env.done();
  EXPECT_EQ(settings.slugrunner_image, "stack:1");
  EXPECT_EQ(settings.deploy_timeout_seconds, 60);
  EXPECT_EQ(settings.drain, std::chrono::seconds(2));
  Env bad({{"KUBERNETES_NAMESPACE_DEFAULT_QUOTA_SPEC", "[]"}, {"DEIS_DEPLOY_BATCHES", "-1"}});
  Settings::from(bad);
  EXPECT_THROW(bad.done(), Error);
}

}  // namespace workflow::controller::cluster
