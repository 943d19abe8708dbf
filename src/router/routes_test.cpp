#include "router/routes.h"

#include <gtest/gtest.h>

namespace workflow::router {
namespace {

TEST(Routes, are_what_each_service_has) {
  Model model;
  model.backends = {{.name = "foo.foo", .addresses = {"10.0.0.1:5000", "10.0.0.2:5000"}}, {.name = "foo.foo-hooks"}};
  model.apps = {{.label = "foo", .backend = 0, .hosts = {{.name = "www.foo.com"}, {.name = "foo.example.com"}}}};
  const RouteMap expected = {{"foo/foo", {{"10.0.0.1:5000", "10.0.0.2:5000"}, {"foo.example.com", "www.foo.com"}}},
                             {"foo/foo-hooks", {}}};
  EXPECT_EQ(routes_of(model), expected);
}

TEST(Routes, hold_when_every_condition_does) {
  const Route route{{"10.0.0.1:5000", "10.0.0.2:5000"}, {"a.com", "b.com"}};
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
                        {{.serves = {"10.0.0.1:5000"}, .serves_not = {"10.0.0.9:1"}, .hosts = {"a.com"}}, true},
                        {{.serves = {"10.0.0.1:5000"}, .serves_not = {"10.0.0.9:1"}, .hosts = {"a"}}, false}};
  for (const auto& [conditions, expected] : cases) EXPECT_EQ(holds(conditions, route), expected);
}

}  // namespace
}  // namespace workflow::router
