#include "controller/model.h"

#include <gtest/gtest.h>

#include "lib/base/error.h"

namespace workflow::controller {
namespace {

TEST(MergeMap, sets_keeps_and_takes_away) {
  const json::object base{{"a", "1"}, {"b", "2"}};
  EXPECT_EQ(merge_map(base, {{"b", "3"}, {"c", "4"}}, "values"), (json::object{{"a", "1"}, {"b", "3"}, {"c", "4"}}));
  EXPECT_EQ(merge_map(base, {{"a", nullptr}}, "values"), (json::object{{"b", "2"}}));
  try {
    merge_map(base, {{"z", nullptr}}, "values");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unprocessable);
    EXPECT_EQ(error.message(), "z does not exist under values");
  }
}

TEST(ConfigDifference, tells_keys_but_no_value_that_may_be_a_secret) {
  Config before, after;
  before.values = {{"KEPT", "1"}, {"OLD", "s3cret"}, {"CHANGED", "a"}};
  after.values = {{"KEPT", "1"}, {"NEW", "s3cret"}, {"CHANGED", "b"}};
  before.memory = {{"web", "1G"}};
  after.memory = {{"web", "2G"}};
  after.registry = {{"password", "s3cret"}};
  const auto told = config_difference(before, after);
  EXPECT_EQ(told.before, (json::object{{"memory", {{"web", "1G"}}},
                                       {"registry", json::object{}},
                                       {"values", {{"OLD", "***"}, {"CHANGED", "***"}}}}));
  EXPECT_EQ(told.after, (json::object{{"memory", {{"web", "2G"}}},
                                      {"registry", {{"password", "***"}}},
                                      {"values", {{"NEW", "***"}, {"CHANGED", "***"}}}}));
  EXPECT_EQ(config_difference(after, after), BeforeAfter{});
}

TEST(TokenPower, covers_the_apps_that_it_names) {
  EXPECT_TRUE(TokenPower{}.covers("shop"));
  const TokenPower one{.apps = std::vector<std::string>{"shop"}};
  EXPECT_TRUE(one.covers("shop"));
  EXPECT_FALSE(one.covers("sho"));
  EXPECT_FALSE(one.whole());
}

TEST(MergeHealthcheck, replaces_whole_probes_of_a_type) {
  const json::object live{{"tcpSocket", {{"port", 1}}}}, ready{{"httpGet", {{"port", 2}}}};
  const json::object base{{"web/cmd", {{"livenessProbe", live}, {"readinessProbe", live}}}};
  EXPECT_EQ(merge_healthcheck(base, {{"web/cmd", {{"readinessProbe", ready}}}}),
            (json::object{{"web/cmd", {{"livenessProbe", live}, {"readinessProbe", ready}}}}));
  EXPECT_EQ(merge_healthcheck(base, {{"web/cmd", {{"readinessProbe", nullptr}}}}),
            (json::object{{"web/cmd", {{"livenessProbe", live}}}}));
  EXPECT_EQ(merge_healthcheck(base, {{"web/cmd", nullptr}}), json::object{});
  EXPECT_THROW(merge_healthcheck(base, {{"worker", nullptr}}), Error);
  EXPECT_THROW(merge_healthcheck(json::object{}, {{"web/cmd", {{"livenessProbe", nullptr}}}}), Error);
}

TEST(MigrateHealthcheckValues, needs_the_url) {
  Config config;
  config.values = {{"HEALTHCHECK_TIMEOUT", "5"}, {"A", "1"}};
  migrate_healthcheck_values(config);
  EXPECT_EQ(config.values.size(), 2u);
  EXPECT_TRUE(config.healthcheck.empty());
  config.values["HEALTHCHECK_URL"] = "/up";
  config.values["HEALTHCHECK_SUCCESS_THRESHOLD"] = "2";
  migrate_healthcheck_values(config);
  EXPECT_EQ(config.values, (json::object{{"A", "1"}}));
  const auto& probes = config.healthcheck.at("web/cmd").get_object();
  EXPECT_EQ(find_integer(probes, {"readinessProbe", "timeoutSeconds"}), 5);
  EXPECT_EQ(find_integer(probes, {"readinessProbe", "initialDelaySeconds"}), 50);
  EXPECT_EQ(find_integer(probes, {"readinessProbe", "successThreshold"}), 2);
  EXPECT_EQ(find_integer(probes, {"livenessProbe", "successThreshold"}), 1);  // Kubernetes allows no other
}

TEST(ChangeSummary, names_what_changed) {
  struct Case {
    std::function<void(Config&)> change;
    std::string summary;
  };
  Config before;
  before.values = {{"B", "1"}, {"C", "1"}};
  before.tags = {{"rack", "1"}};
  const Case cases[] = {
      {[](Config&) {}, ""},
      {[](Config& c) { c.values["A"] = "1"; }, "bob added A"},
      {[](Config& c) { c.values = {{"Z", "1"}, {"A", "1"}, {"B", "2"}}; }, "bob added A, Z, changed B, deleted C"},
      {[](Config& c) { c.cpu["web"] = "1"; }, "bob changed limits for cpu"},
      {[](Config& c) { c.memory["web"] = "1G", c.cpu["web"] = "1"; }, "bob changed limits for memory, cpu"},
      {[](Config& c) { c.values["A"] = "1", c.memory["web"] = "1G"; }, "bob added A and bob changed limits for memory"},
      {[](Config& c) { c.lifecycle_post_start["web"] = "x"; }, "bob added lifecycle_post_start web"},
      {[](Config& c) { c.lifecycle_pre_stop["web"] = "x"; }, "bob added lifecycle_pre_stop web"},
      {[](Config& c) { c.termination_grace_period["web"] = "5"; }, "bob changed timeouts for termination_grace_period"},
      {[](Config& c) { c.tags = {{"ssd", "1"}}; }, "bob added tag ssd, deleted tag rack"},
      {[](Config& c) { c.registry = {{"username", "u"}, {"password", "p"}}; },
       "bob added registry info password, username"},
      {[](Config& c) { c.healthcheck["web/cmd"] = json::object{}; },
       "bob added healthcheck info for proc type web/cmd"},
  };
  for (const auto& [change, summary] : cases) {
    auto after = before;
    change(after);
    EXPECT_EQ(change_summary("bob", before, after), summary);
  }
}

TEST(BuildSummary, names_the_commit_or_the_image) {
  EXPECT_EQ(build_summary({.owner = "bob", .image = "quay.io/a:v1"}), "bob deployed quay.io/a:v1");
  EXPECT_EQ(build_summary({.owner = "bob", .image = "x", .sha = "0123456789"}), "bob deployed 0123456");
}

Build build_of(json::object procfile, std::string sha = "", std::string dockerfile = "") {
  Build build;
  build.image = "x";
  build.sha = std::move(sha);
  build.dockerfile = std::move(dockerfile);
  build.procfile = std::move(procfile);
  return build;
}

TEST(StructureAfter, a_first_build_starts_its_default_process) {
  struct Case {
    Build build;
    json::object counts;
  };
  const Case cases[] = {
      {build_of({{"web", "x"}}), {{"web", 1}}},        {build_of({{"web", "x"}, {"worker", "x"}}), {{"web", 1}}},
      {build_of({{"worker", "x"}}), {{"cmd", 1}}},     {build_of({}), {{"cmd", 1}}},
      {build_of({}, "abc", "true"), {{"cmd", 1}}},     {build_of({}, "abc"), {{"web", 1}}},
      {build_of({{"web", "x"}}, "abc"), {{"web", 1}}}, {build_of({{"worker", "x"}}, "abc"), {}},
  };
  for (const auto& [build, counts] : cases)
    EXPECT_EQ(structure_after({}, std::nullopt, build, true), counts) << json::serialize(build.procfile);
}

TEST(StructureAfter, a_later_build_keeps_counts_and_stops_what_left_the_procfile) {
  const json::object counts{{"web", 3}, {"worker", 2}};
  const auto both = build_of({{"web", "x"}, {"worker", "x"}}, "abc"), web = build_of({{"web", "x"}}, "abc"),
             none = build_of({}, "abc");
  EXPECT_EQ(structure_after(counts, both, both, true), counts);
  EXPECT_EQ(structure_after({{"web", 0}}, web, web, true), (json::object{{"web", 0}}));
  EXPECT_EQ(structure_after(counts, both, web, true), (json::object{{"web", 3}, {"worker", 0}}));
  EXPECT_EQ(structure_after(counts, both, none, true), (json::object{{"web", 0}, {"worker", 0}}));
  EXPECT_EQ(structure_after(counts, both, none, false), counts);
}

TEST(StructureAfter, another_kind_of_build_begins_with_its_default) {
  const auto slug = build_of({{"web", "x"}}, "abc"), image = build_of({});
  EXPECT_EQ(structure_after({{"web", 3}}, slug, image, true), (json::object{{"web", 0}, {"cmd", 1}}));
  EXPECT_EQ(structure_after({{"cmd", 2}}, image, slug, true), (json::object{{"cmd", 0}, {"web", 1}}));
}

}  // namespace
}  // namespace workflow::controller
