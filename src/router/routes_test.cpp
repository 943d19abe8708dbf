#include "router/routes.h"

#include <gtest/gtest.h>

namespace workflow::router {
namespace {

TEST(Routes, are_what_each_service_has) {
  Observed observed{.ns = "deis", .platform_domain = "example.com"};
  observed.services = {{.ns = "foo",
                        .name = "foo",
                        .version = 7,
                        .annotations = {{"router.deis.io/domains", "www.foo.com,foo"}},
                        .addresses = {"10.0.0.1:5000", "10.0.0.2:5000"}},
                       {.ns = "foo", .name = "foo-hooks", .version = 9},
                       {.ns = "foo-2", .name = "refused", .version = 11}};
  observed.certificates = {{"foo/www-cert", {.version = 5}}, {"bar/www-cert", {.version = 6}}};
  const std::map<std::string, std::int64_t> certificates = {{"www-cert", 5}};
  const RouteMap expected = {
      {"foo/foo", {{"10.0.0.1:5000", "10.0.0.2:5000"}, {"foo.example.com", "www.foo.com"}, 7, certificates}},
      {"foo/foo-hooks", {.version = 9, .certificates = certificates}},
      {"foo-2/refused", {.version = 11}}};
  EXPECT_EQ(routes_of(Planner(observed)), expected);
}

TEST(Routes, hold_when_every_condition_does) {
  const Route route{{"10.0.0.1:5000", "10.0.0.2:5000"}, {"a.com", "b.com"}, 7, {{"a", 5}}};
  struct Case {
    RouteConditions conditions;
    bool holds;
  };
  const Case cases[] = {{{}, true},
                        {{.serves = {"10.0.0.1:5000"}}, true},
                        {{.serves = {"10.0.0.1:5000", "10.0.0.3:5000"}}, false},
                        {{.serves_not = {"10.0.0.3:5000"}}, true},
                        {{.serves_not = {"10.0.0.3:5000", "10.0.0.2:5000"}}, false},
                        {{.hosts = {"b.com", "a.com"}}, true},
                        {{.hosts = {"c.com"}}, false},
                        {{.version = 6}, true},
                        {{.version = 7}, true},
                        {{.version = 8}, false},
                        {{.certificates = {{"a", 5}}}, true},
                        {{.certificates = {{"a", 6}}}, false},
                        {{.certificates = {{"b", 1}}}, false},
                        {{.version = 7, .certificates = {{"a", 5}, {"b", 1}}}, false},
                        {{.absent = true}, false},
                        {{.serves = {"10.0.0.1:5000"}, .serves_not = {"10.0.0.9:1"}, .hosts = {"a.com"}}, true},
                        {{.serves = {"10.0.0.1:5000"}, .serves_not = {"10.0.0.9:1"}, .hosts = {"a"}}, false}};
  for (const auto& [conditions, expected] : cases) EXPECT_EQ(holds(conditions, route), expected);
  EXPECT_TRUE(holds({.absent = true}, Route{}));
}

}  // namespace
}  // namespace workflow::router
