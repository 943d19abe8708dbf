#include <gtest/gtest.h>

#include "lib/http/http.h"
#include "lib/http/metrics.h"
#include "lib/http/target.h"

namespace workflow::http {
namespace {

Handler nothing() {
  return [](Request&) -> Task<Response> { co_return Response::empty(204); };
}

Router example() {
  Router router;
  for (const char* pattern : {"/", "/v2/apps/", "/v2/apps/{app}/", "/v2/apps/{app}/config", "/v2/apps/special/config",
                              "/files/{path...}", "/v2/{kind}/{name}/"}) {
    router.add("GET", pattern, nothing());
  }
  router.add("POST", "/v2/apps/", nothing());
  router.add("DELETE", "/v2/apps/{app}/config", nothing());
  return router;
}

TEST(Router, prefers_what_is_more_literal) {
  const auto router = example();
  struct Case {
    std::string path, pattern;
    std::map<std::string, std::string> params;
  };
  const Case cases[] = {
      {"/", "/", {}},
      {"/v2/apps/", "/v2/apps/", {}},
      {"/v2/apps/peachy/", "/v2/apps/{app}/", {{"app", "peachy"}}},
      {"/v2/apps/peachy/config", "/v2/apps/{app}/config", {{"app", "peachy"}}},
      {"/v2/apps/special/config", "/v2/apps/special/config", {}},
      {"/v2/apps/special/", "/v2/apps/{app}/", {{"app", "special"}}},
      {"/v2/keys/mine/", "/v2/{kind}/{name}/", {{"kind", "keys"}, {"name", "mine"}}},
      {"/v2/apps/a%2Fb%20c/", "/v2/apps/{app}/", {{"app", "a/b c"}}},
      {"/files/a/b/c", "/files/{path...}", {{"path", "a/b/c"}}},
      {"/files/", "/files/{path...}", {{"path", ""}}},
      {"/v2/apps", "", {}},
      {"/v2/apps//", "", {}},
      {"/files", "", {}},
      {"/v2/apps/%zz/", "", {}},
      {"", "", {}},
      {"*", "", {}},
  };
  for (const auto& [path, pattern, params] : cases) {
    const auto match = router.match("GET", path);
    EXPECT_EQ(match.pattern, pattern) << path;
    EXPECT_EQ(match.params, params) << path;
    EXPECT_EQ(match.handler != nullptr, !pattern.empty()) << path;
  }
}

TEST(Router, knows_the_methods_of_a_path) {
  const auto router = example();
  EXPECT_NE(router.match("HEAD", "/v2/apps/").handler, nullptr);
  EXPECT_EQ(router.match("PUT", "/v2/apps/").allowed, (std::vector<std::string>{"GET", "HEAD", "POST"}));
  // A less literal pattern may know the method.
  EXPECT_EQ(router.match("DELETE", "/v2/apps/special/config").pattern, "/v2/apps/{app}/config");
  EXPECT_TRUE(router.match("PUT", "/nowhere").allowed.empty());
}

TEST(Target, is_taken_apart_and_refused) {
  struct Case {
    std::string target;
    std::optional<std::string> path;
  };
  const Case cases[] = {{"/", "/"},
                        {"/a%20b?x=1", "/a b"},
                        {"http://host/path", "/path"},
                        {"HTTPS://host", "/"},
                        {"*", "*"},
                        {"/a..b/...", "/a..b/..."},
                        {"/a//b/", "/a//b/"},
                        {"/..", {}},
                        {"/a/./b", {}},
                        {"/a/%2e%2e/b", {}},
                        {"/a%2f..%2fb", {}},
                        {"/%00", {}},
                        {"/%", {}},
                        {"/?%", {}},
                        {"/a\x01", {}},
                        {"/a#b", {}},
                        {"a", {}},
                        {"", {}}};
  for (const auto& [target, path] : cases) {
    const auto parsed = parse_target(target);
    EXPECT_EQ(parsed ? std::optional(parsed->path) : std::nullopt, path) << target;
  }
}

TEST(Query, keeps_order_and_repeats) {
  const auto query = Query::parse("a=1&b=x%20y+z&a=2&flag&=empty&&c=");
  ASSERT_TRUE(query);
  EXPECT_EQ(query->all("a"), (std::vector<std::string>{"1", "2"}));
  EXPECT_EQ(query->find("b"), "x y z");
  EXPECT_EQ(query->find("flag"), "");
  EXPECT_EQ(query->find("c"), "");
  EXPECT_FALSE(query->has("d"));
  EXPECT_FALSE(Query::parse("a=%g0"));
}

TEST(Url, parses_and_prints) {
  struct Case {
    std::string text, printed;
  };
  const Case cases[] = {{"http://Example.com", "http://example.com/"},
                        {"https://example.com:443/a?b=c#d", "https://example.com/a?b=c"},
                        {"http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x"},
                        {"https://[::1]:6443/api", "https://[::1]:6443/api"},
                        {"wss://h/", "wss://h/"},
                        {"http://h?x", "http://h/?x"},
                        {"ftp://h/", ""},
                        {"http://", ""},
                        {"http://user:pass@h/", ""},
                        {"http://h:0/", ""},
                        {"http://h:65536/", ""},
                        {"http://h:1x/", ""},
                        {"http://h h/", ""},
                        {"http://[::1/", ""},
                        {"http://[::1]x/", ""},
                        {"http://a:b:c/", ""},
                        {"//h/", ""}};
  for (const auto& [text, printed] : cases) {
    const auto url = Url::parse(text);
    EXPECT_EQ(url ? url->text() : "", printed) << text;
  }
}

TEST(Headers, compare_names_without_case) {
  Headers headers{{"A", "1"}, {"b", "2"}, {"a", "3"}};
  EXPECT_EQ(headers.get("a"), "1");
  headers.set("A", "4");
  EXPECT_EQ(headers.size(), 2u);
  EXPECT_EQ(headers.get("a"), "4");
  headers.remove("B");
  EXPECT_FALSE(headers.find("b"));
}

TEST(Metrics, print_as_prometheus_reads) {
  Metrics metrics;
  metrics.count("deploys_total", "Deploys.", {{"app", "a\"b"}});
  metrics.count("deploys_total", "Deploys.", {{"app", "a\"b"}}, 2);
  metrics.gauge("objects", "Objects.", [] { return 1.5; });
  metrics.observe("push_seconds", "Push.", std::chrono::milliseconds(30));
  const auto text = metrics.text();
  EXPECT_NE(text.find("# HELP deploys_total Deploys.\n# TYPE deploys_total counter\ndeploys_total{app=\"a\\\"b\"} 3\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("objects 1.5\n"), std::string::npos) << text;
  EXPECT_NE(text.find("push_seconds_bucket{le=\"0.025\"} 0\npush_seconds_bucket{le=\"0.05\"} 1\n"), std::string::npos)
      << text;
  EXPECT_NE(text.find("push_seconds_bucket{le=\"+Inf\"} 1\npush_seconds_sum 0.03\npush_seconds_count 1\n"),
            std::string::npos)
      << text;
}

}  // namespace
}  // namespace workflow::http
