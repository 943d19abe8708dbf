#include "engine/node/upkeep.h"

#include <gtest/gtest.h>

#include "engine/test_support.h"

namespace workflow::engine {
namespace {

using namespace std::chrono_literals;
constexpr std::uint64_t gib = 1u << 30, mib = 1u << 20;

TEST(Disk, is_full_below_a_twentieth_and_has_space_again_only_well_above) {
  struct Case {
    std::uint64_t total, available;
    bool before, expected;
  };
  const Case cases[] = {{100 * gib, 50 * gib, false, false}, {100 * gib, 4 * gib, false, true},
                        {100 * gib, 6 * gib, false, false},  {100 * gib, 6 * gib, true, true},
                        {100 * gib, 8 * gib, true, false},   {5 * gib, 400 * mib, false, true},
                        {5 * gib, 600 * mib, false, false},  {800 * mib, 300 * mib, false, false},
                        {800 * mib, 100 * mib, false, true}, {0, 0, false, false}};
  for (const auto& [total, available, before, expected] : cases) {
    EXPECT_EQ(is_disk_pressure({total, available, 0, 0}, before), expected)
        << available / mib << " MiB of " << total / mib;
  }
  EXPECT_TRUE(is_disk_pressure({100 * gib, 50 * gib, 1000, 10}, false));
}

TEST(Images, go_when_nothing_needs_them_and_space_is_short) {
  const Time now = *parse_rfc3339("2026-03-01T10:00:00Z");
  auto image = [](const char* id, const char* tag) { return cri::Image{.id = id, .tags = {tag}}; };
  const std::vector<cri::Image> images{image("used", "docker.io/library/web:1"),
                                       image("old", "registry.example.com/web:0"),
                                       image("own", "localhost/workflow/stack:1")};
  const std::set<std::string> needed{"docker.io/library/web:1"};
  const DiskUse roomy{100, 90, 0, 0}, tight{100, 15, 0, 0};
  struct Case {
    const char* what;
    DiskUse disk;
    bool pressure;
    std::map<std::string, Time> since;
    std::vector<std::string> expected;
  };
  const Case cases[] = {{"space enough", roomy, false, {{"old", now - 1h}}, {}},
                        {"not yet", tight, false, {}, {}},
                        {"for a while now", tight, false, {{"old", now - 1h}}, {"old"}},
                        {"at once", tight, true, {}, {"old"}}};
  for (const auto& [what, disk, pressure, since, expected] : cases) {
    EXPECT_EQ(plan_images(images, needed, disk, pressure, since, now).remove, expected) << what;
  }
  EXPECT_EQ(plan_images(images, needed, tight, false, {{"used", now - 1h}}, now).unneeded_since,
            (std::map<std::string, Time>{{"old", now}}));
}

TEST(Images, of_this_machine_go_only_when_a_newer_build_is_needed_instead) {
  const Time now = *parse_rfc3339("2026-03-01T10:00:00Z");
  auto image = [](const char* id, const char* tag) { return cri::Image{.id = id, .tags = {tag}}; };
  const std::vector<cri::Image> images{image("stack-1", "localhost/workflow/stack:1"),
                                       image("stack-2", "localhost/workflow/stack:2"),
                                       image("mine", "localhost/me/tool:1"),
                                       {.id = "untagged", .digests = {"localhost/workflow/stack@sha256:00"}}};
  const std::set<std::string> needed{"localhost/workflow/stack:2"};
  std::map<std::string, Time> long_since;
  for (const auto& one : images) long_since[one.id] = now - 1h;
  const DiskUse tight{100, 15, 0, 0}, roomy{100, 90, 0, 0};
  const std::vector<std::string> superseded{"stack-1", "untagged"};
  EXPECT_EQ(plan_images(images, needed, tight, false, long_since, now).remove, superseded);
  EXPECT_EQ(plan_images(images, needed, tight, true, long_since, now).remove, superseded);
  EXPECT_TRUE(plan_images(images, needed, roomy, false, long_since, now).remove.empty());
  EXPECT_TRUE(plan_images(images, needed, tight, true, {}, now).remove.empty()) << "it may be about to be used";
  EXPECT_TRUE(plan_images(images, {}, tight, false, long_since, now).remove.empty()) << "nothing replaces them";
}

TEST(Images, that_settings_name_are_needed) {
  StoreFixture store;
  store.namespace_named("deis");
  store.create(kube::resources::config_maps,
               from_yaml("{metadata: {name: slugbuilder-config, namespace: deis}, data: {image: "
                         "\"localhost/workflow/stack:1\", policy: IfNotPresent}}"));
  store.create(kube::resources::deployments,
               from_yaml("{metadata: {name: controller, namespace: deis}, spec: {selector: {}, template: {spec: "
                         "{containers: [{name: c, image: \"localhost/workflow/platform:2\", env: [{name: I, value: "
                         "\"localhost/workflow/stack:2\"}, {name: J, value: other}, {name: K}]}]}}}}"));
  EXPECT_EQ(needed_images(*store.store),
            (std::set<std::string>{"localhost/workflow/platform:2", "localhost/workflow/stack:1",
                                   "localhost/workflow/stack:2"}));
}

TEST(Images, of_old_revisions_are_needed) {
  StoreFixture store;
  store.namespace_named("shop");
  store.create(kube::resources::replica_sets,
               from_yaml("{metadata: {name: web-1, namespace: shop}, spec: {replicas: 0, template: {spec: {containers: "
                         "[{name: c, image: \"quay.io/web:1\"}]}}}}"));
  store.create(kube::resources::cron_jobs,
               from_yaml("{metadata: {name: n, namespace: shop}, spec: {jobTemplate: {spec: {template: {spec: "
                         "{initContainers: [{name: c, image: tool}], containers: []}}}}}}"));
  store.create(
      kube::resources::pods,
      from_yaml("{metadata: {name: p, namespace: shop}, spec: {containers: [{name: c, image: \"me/app:2\"}]}}"));
  EXPECT_EQ(needed_images(*store.store),
            (std::set<std::string>{"docker.io/library/tool:latest", "docker.io/me/app:2", "quay.io/web:1"}));
}

}  // namespace
}  // namespace workflow::engine
