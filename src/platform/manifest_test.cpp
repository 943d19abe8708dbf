#include "platform/manifest.h"

#include <gtest/gtest.h>

namespace workflow::platform {
namespace {

const std::vector<Image> images = {{"platform", "localhost/workflow/platform:abc", "platform.tar"},
                                   {"stack", "localhost/workflow/stack:def", "stack.tar"}};

json::object deployment(const std::string& name) {
  return parse_json(R"({"kind": "Deployment", "metadata": {"name": ")" + name + R"("}, "spec": {"template": {
    "metadata": {"annotations": {"checksum/settings": "old"}},
    "spec": {"containers": [{"image": "localhost/workflow/platform:latest", "env": []}]}}}})")
      ->as_object();
}

TEST(Manifest, names_images_by_their_content) {
  const auto fitted = fit_manifest({deployment("deis-router")}, {}, images);
  EXPECT_EQ(fitted[0].at("spec").at("template").at("spec").at("containers").at(0).at("image"),
            "localhost/workflow/platform:abc");
}

TEST(Manifest, carries_the_domain) {
  Options options;
  options.domain = "example.com";
  auto settings =
      parse_json(R"({"kind": "ConfigMap", "metadata": {"name": "workflow-settings"}, "data": {"domain": "x"}})");
  EXPECT_EQ(fit_manifest({settings->as_object()}, options, images)[0].at("data").at("domain"), "example.com");
}

TEST(Manifest, restarts_pods_exactly_when_a_setting_changed) {
  auto checksum = [](const Options& options) {
    return fit_manifest({deployment("deis-builder")}, options, images)[0]
        .at("spec")
        .at("template")
        .at("metadata")
        .at("annotations")
        .at("checksum/settings");
  };
  Options options, other;
  other.http_port = 8080;
  EXPECT_EQ(checksum(options), checksum(other));
  other.build_env = {{"A", "1"}};
  EXPECT_NE(checksum(options), checksum(other));
}

TEST(Manifest, gives_build_settings_to_the_builder_alone) {
  Options options;
  options.build_env = {{"PIP_INDEX_URL", "https://example.com"}};
  const auto fitted = fit_manifest({deployment("deis-builder"), deployment("deis-router")}, options, images);
  auto env = [](const json::object& object) {
    return print_json(object.at("spec").at("template").at("spec").at("containers").at(0).at("env"));
  };
  EXPECT_EQ(env(fitted[0]), R"([{"name":"BUILD_ENV_PIP_INDEX_URL","value":"https://example.com"}])");
  EXPECT_EQ(env(fitted[1]), "[]");
}

TEST(Manifest, needs_both_images) {
  EXPECT_THROW(images_from_json(*parse_json(R"({"platform": {"ref": "a", "file": "b"}})")), Error);
}

}  // namespace
}  // namespace workflow::platform
