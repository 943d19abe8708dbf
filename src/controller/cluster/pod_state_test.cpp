#include "controller/cluster/pod_state.h"

#include <gtest/gtest.h>

#include "controller/cluster/examples.h"
#include "lib/kube/yaml.h"

namespace workflow::controller::cluster {
namespace {

json::object pod(const std::string& status, const std::string& more = "") {
  return kube::parse_yaml("metadata: {name: shop-web-57f6c4bb68-7na91, labels: {app: shop, type: web, version: v4}" +
                          more + "}\nstatus: " + status)
      .get_object();
}

TEST(PodState, speaks_the_words_of_the_original) {
  struct Case {
    std::string status;
    bool deleting;
    std::string state;
  };
  const auto container = [](const std::string& ready, const std::string& state) {
    return "containerStatuses: [{name: shop-web, ready: " + ready + ", state: " + state + "}]";
  };
  const Case cases[] = {
      {"{}", false, "initializing"},
      {"{phase: Pending}", false, "initializing"},
      {"{phase: Pending, " + container("false", "{waiting: {reason: ContainerCreating}}") + "}", false, "creating"},
      {"{phase: Pending, " + container("false", "{waiting: {reason: ErrImagePull}}") + "}", false, "ErrImagePull"},
      {"{phase: Pending, " + container("false", "{waiting: {reason: CreateContainerConfigError}}") + "}", false,
       "CreateContainerConfigError"},
      {"{phase: Running, " + container("false", "{running: {}}") + "}", false, "starting"},
      {"{phase: Running, " + container("true", "{running: {}}") + "}", false, "up"},
      {"{phase: Running, " + container("true", "{running: {}}") + "}", true, "terminating"},
      {"{phase: Running, " + container("false", "{running: {}}") + "}", true, "starting"},
      {"{phase: Running, " + container("false", "{terminated: {exitCode: 1}}") + "}", false, "terminating"},
      {"{phase: Running, " + container("false", "{waiting: {reason: CrashLoopBackOff}}") + "}", false, "error"},
      {"{phase: Running, containerStatuses: [{name: other, ready: true}]}", false, "error"},
      {"{phase: Succeeded}", false, "down"},
      {"{phase: Failed}", false, "crashed"},
      {"{phase: Unknown}", false, "error"}};
  for (const auto& [status, deleting, state] : cases) {
    const auto more = deleting ? ", deletionTimestamp: \"2026-01-05T10:05:30Z\"" : "";
    EXPECT_EQ(pod_state(pod(status, more)), state) << status;
  }
}

TEST(PodState, what_ps_lists) {
  const auto now = *parse_rfc3339("2026-01-05T10:05:00Z");
  EXPECT_TRUE(is_listed(pod("{phase: Pending}"), now));
  EXPECT_FALSE(is_listed(pod("{phase: Succeeded}"), now));
  EXPECT_TRUE(is_listed(pod("{phase: Pending}", ", deletionTimestamp: \"2026-01-05T10:05:30Z\""), now));
  EXPECT_FALSE(is_listed(pod("{phase: Pending}", ", deletionTimestamp: \"2026-01-05T10:04:30Z\""), now));
  auto one_off = pod("{phase: Running}");
  one_off["metadata"].get_object()["labels"].get_object()["type"] = "run";
  EXPECT_FALSE(is_listed(one_off, now));
  const auto info =
      pod_info(pod("{phase: Running, startTime: \"2026-01-05T10:00:02Z\", containerStatuses: "
                   "[{name: shop-web, ready: true, restartCount: 2, state: {running: {}}}]}"));
  EXPECT_EQ(info, (PodInfo{"shop-web-57f6c4bb68-7na91", "up", "web", "v4", "2026-01-05T10:00:02Z", 2}));
}

TEST(PodState, names_may_be_short) {
  const auto app = *AppName::parse("shop");
  const auto web = pod("{}");
  struct Case {
    PodFilter filter;
    bool fits;
  };
  const Case cases[] = {{{}, true},
                        {{.type = type("web")}, true},
                        {{.type = type("we")}, false},
                        {{.name = "shop-web-57f6c4bb68-7na91"}, true},
                        {{.name = "web-57f6c4bb68-7na91"}, true},
                        {{.name = "7na91"}, true},
                        {{.name = "na91"}, false},
                        {{.version = ReleaseVersion{4}}, true},
                        {{.version = ReleaseVersion{40}}, false}};
  for (const auto& [filter, expected] : cases) EXPECT_EQ(fits(web, app, filter), expected) << filter.name;
}

TEST(LogLine, has_the_form_of_the_log_store) {
  EXPECT_EQ(log_line(pod("{}"), "2024-05-02T10:11:12.123456789Z", "GET /cart 200"),
            "2024-05-02T10:11:12+00:00 shop[web.v4.7na91]: GET /cart 200");
  auto one_off = pod("{}");
  one_off["metadata"].get_object()["name"] = "shop-run-ab12c";
  EXPECT_EQ(log_line(one_off, "2024-05-02T12:11:13+02:00", "x"), "2024-05-02T10:11:13+00:00 shop[web.v4.ab12c]: x");
  EXPECT_EQ(log_line(one_off, "nonsense", ""), "0001-01-01T00:00:00+00:00 shop[web.v4.ab12c]: ");
}

}  // namespace
}  // namespace workflow::controller::cluster
