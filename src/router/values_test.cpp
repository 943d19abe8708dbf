#include "router/values.h"

#include <gtest/gtest.h>

namespace workflow::router {
namespace {

using namespace std::chrono_literals;

TEST(Values, times_have_units_and_seconds_are_the_default) {
  struct Case {
    std::string text;
    std::optional<std::chrono::milliseconds> time;
  };
  const Case cases[] = {{"10", 10s},
                        {"1200", 1200s},
                        {"500ms", 500ms},
                        {"5m", 5min},
                        {"2h", 2h},
                        {"1d", 24h},
                        {"1M", 30 * 24h},
                        {"1y", 365 * 24h},
                        {"2y", {}},
                        {"0", {}},
                        {"", {}},
                        {"-1", {}},
                        {"1x", {}},
                        {"s", {}},
                        {"1 s", {}},
                        {"99999999999999999999", {}},
                        {"999999999999999w", {}},
                        {"10s;", {}}};
  for (const auto& [text, time] : cases) EXPECT_EQ(parse_time(text), time) << text;
}

TEST(Values, sizes_are_in_bytes) {
  struct Case {
    std::string text;
    std::optional<std::int64_t> size;
  };
  const Case cases[] = {{"0", 0},   {"4096", 4096}, {"4k", 4096}, {"4K", 4096}, {"1m", 1 << 20},        {"1M", 1 << 20},
                        {"1g", {}}, {"", {}},       {"k", {}},    {"1kk", {}},  {"9999999999999m", {}}, {"1b", {}}};
  for (const auto& [text, size] : cases) EXPECT_EQ(parse_size(text), size) << text;
}

TEST(Values, ranges_of_addresses_are_written_anew) {
  struct Case {
    std::string text;
    std::optional<std::string> range;
  };
  const Case cases[] = {{"1.2.3.4", "1.2.3.4/32"},
                        {" 10.1.2.3/8 ", "10.0.0.0/8"},
                        {"10.0.0.0/255.255.0.0", "10.0.0.0/16"},
                        {"::1", "::1/128"},
                        {"2001:db8::ff/32", "2001:db8::/32"},
                        {"0.0.0.0/0", "0.0.0.0/0"},
                        {"10.0.0.0/255.0.255.0", {}},
                        {"1.2.3", {}},
                        {"1.2.3.4/33", {}},
                        {"1.2.3.4/", {}},
                        {"1.2.3.41.2.3.4", {}},
                        {"::1/129", {}},
                        {"", {}},
                        {"1.2.3.4; allow all", {}},
                        {"1.2.3.4/-1", {}}};
  for (const auto& [text, range] : cases) EXPECT_EQ(parse_cidr(text), range) << text;
}

TEST(Values, domains_are_bare_full_or_wildcards) {
  const std::string label(63, 'a');
  const std::string longest = label + "." + label + "." + label + "." + std::string(61, 'b');
  struct Case {
    std::string text;
    std::optional<std::string> domain;
  };
  const Case cases[] = {{"foo", "foo"},
                        {"Foo.Example.COM", "foo.example.com"},
                        {"*.foo.com", "*.foo.com"},
                        {"a--b", "a--b"},
                        {"xn--bcher-kva.example", "xn--bcher-kva.example"},
                        {longest, longest},
                        {longest + "b", {}},
                        {label + "a", {}},
                        {"", {}},
                        {"*", {}},
                        {"*.com", {}},
                        {"foo.", {}},
                        {".foo", {}},
                        {"a..b", {}},
                        {"foo_bar.com", {}},
                        {"-a.com", {}},
                        {"a-.com", {}},
                        {"foo.com;", {}},
                        {"foo.*", {}},
                        {"f{oo", {}},
                        {"10.0.0.1", {}},
                        {"~^x$", {}}};
  for (const auto& [text, domain] : cases) EXPECT_EQ(parse_domain(text), domain) << text;
}

TEST(Values, tame_regular_expressions_cannot_run_away) {
  struct Case {
    std::string text;
    bool tame;
  };
  const Case cases[] = {{R"(^/re/\d+$)", true},
                        {R"(store-number-\d*)", true},
                        {"(a|b)c", true},
                        {"(?:x|y)?[a-z0-9_-]{2,10}", true},
                        {"msie6", true},
                        {"[^/]+", true},
                        {"", false},
                        {"(a+)+", false},
                        {"(a*)*", false},
                        {"((a|b*)c){2}", false},
                        {"a**", false},
                        {"a+?", false},
                        {"(", false},
                        {")", false},
                        {"[a", false},
                        {"a{", false},
                        {"a}", false},
                        {"x{3,1}", false},
                        {"a{9999}", false},
                        {"[z-a]", false},
                        {"(?=x)", false},
                        {R"(\1)", false},
                        {"\\", false},
                        {"a\nb", false},
                        {std::string(2000, 'a'), false},
                        {"[[:alpha:]]", false},
                        {"^*", false}};
  for (const auto& [text, tame] : cases) EXPECT_EQ(is_tame_regex(text), tame) << text;
}

TEST(Values, locations_are_paths_or_tame_regular_expressions) {
  struct Case {
    std::string text;
    std::optional<LocationPath> location;
  };
  const Case cases[] = {{"/webhooks", LocationPath{"", "/webhooks"}},
                        {" = /x ", LocationPath{"=", "/x"}},
                        {"^~ /static/", LocationPath{"^~", "/static/"}},
                        {R"(~ ^/re/\d+$)", LocationPath{"~", R"(^/re/\d+$)"}},
                        {"~* x", LocationPath{"~*", "x"}},
                        {"webhooks", {}},
                        {"", {}},
                        {"/a b", {}},
                        {"/x { return 200; }", {}},
                        {"/x;", LocationPath{"", "/x;"}},
                        {"~", {}},
                        {"~ (a+)+", {}},
                        {"@named", {}},
                        {"/x\"y", {}},
                        {"/$uri", {}}};
  for (const auto& [text, location] : cases) EXPECT_EQ(parse_location(text), location) << text;
}

TEST(Values, cipher_groups_are_opened_and_unknown_lists_refused) {
  EXPECT_EQ(
      parse_ciphers("[TLS_AES_128_GCM_SHA256|TLS_AES_256_GCM_SHA384]:[ECDHE-RSA-AES128-GCM-SHA256|NO-SUCH]:AES128-SHA"),
      "ECDHE-RSA-AES128-GCM-SHA256:NO-SUCH:AES128-SHA");
  EXPECT_EQ(parse_ciphers("HIGH:!aNULL"), "HIGH:!aNULL");
  EXPECT_EQ(parse_ciphers("NO-SUCH"), std::nullopt);
  EXPECT_EQ(parse_ciphers("TLS_AES_128_GCM_SHA256"), std::nullopt);
  EXPECT_EQ(parse_ciphers("AES128-SHA; evil"), std::nullopt);
  EXPECT_EQ(parse_ciphers(""), std::nullopt);
}

TEST(Values, quotes_and_backslashes_stay_inside_a_word) {
  EXPECT_EQ(quoted(R"(a "b" \d ; })"), R"("a \"b\" \\d ; }")");
}

}  // namespace
}  // namespace workflow::router
