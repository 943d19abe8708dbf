#include "router/encode.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <map>
#include <regex>
#include <set>

#include "router/table/table.h"

namespace workflow::router {
namespace {

struct Engine : table::Regexes {
  bool matches(std::string_view pattern, table::Letters letters, std::string_view subject) override {
    auto flags = std::regex::ECMAScript;
    if (letters == table::Letters::any_case) flags |= std::regex::icase;
    return std::regex_search(std::string(subject), std::regex(std::string(pattern), flags));
  }
};

// Bytes where a table may lie.
class Bytes {
 public:
  explicit Bytes(const std::string& text) : words_(text.size() / 8 + 1), size_(text.size()) {
    std::memcpy(words_.data(), text.data(), text.size());
  }
  std::span<std::byte> span() { return {reinterpret_cast<std::byte*>(words_.data()), size_}; }

 private:
  std::vector<std::uint64_t> words_;
  std::size_t size_;
};

Model model_with(std::vector<std::pair<std::string, bool>> hosts) {  // name, regex; an app for each, named by its place
  Model model;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    model.backends.push_back({.name = "ns.app-" + std::to_string(i), .addresses = {"10.0.0.1:80", "[fd00::1]:8080"}});
    model.apps.push_back({.label = "app-" + std::to_string(i),
                          .backend = i,
                          .hosts = {{.name = hosts[i].first, .regex = hosts[i].second, .certificate = "cert"}}});
  }
  return model;
}

TEST(Encode, a_host_is_found_exactly_then_by_the_longest_wildcard_then_by_expression) {
  Bytes bytes(encode_table(model_with({{"foo.example.com", false},
                                       {"*.example.com", false},
                                       {"*.a.example.com", false},
                                       {"bare.*", false},
                                       {"^(?:shop-\\d+)\\.(.+)$", true},
                                       {"^(?:shop-1.)\\.(.+)$", true}}),
                           {.generation = 7, .seed = 12345}));
  std::string problem;
  const auto table = table::Table::open(bytes.span(), problem);
  ASSERT_TRUE(table) << problem;
  EXPECT_EQ(table->first_fault(), "");
  EXPECT_EQ(table->generation(), 7u);
  struct Case {
    std::string host, app;
  };
  const Case cases[] = {{"foo.example.com", "app-0"},
                        {"x.example.com", "app-1"},
                        {"x.y.example.com", "app-1"},
                        {"x.a.example.com", "app-2"},
                        {"a.example.com", "app-1"},
                        {"example.com", ""},
                        {"bare.org", "app-3"},
                        {"bare.a.org", "app-3"},
                        {"bare", ""},
                        {"bare.", ""},
                        {"xbare.org", ""},
                        {"shop-12.org", "app-4"},
                        {"shop-1.org", "app-4"},
                        {"shop-1x.org", "app-5"},
                        {"shop-.org", ""},
                        {"", ""},
                        {"*.example.com", "app-1"},
                        {std::string(300, 'a'), ""},
                        {".example.com", ""}};
  Engine engine;
  for (const auto& [name, expected] : cases) {
    const auto* host = table->find_host(name, engine);
    EXPECT_EQ(host ? std::string(table->text(table->app(*host)->label)) : "", expected) << name;
  }
}

TEST(Encode, everything_of_a_model_is_in_its_table) {
  Model model;
  model.settings.default_service_address = "10.9.9.9";
  model.settings.trusted_peers = {"10.1.0.0/16"};
  model.backends = {{.name = "foo.foo",
                     .addresses = {"10.0.0.1:5000", "[fd00::1]:5001"},
                     .connect_timeout = std::chrono::seconds(3),
                     .io_timeout = std::chrono::seconds(4),
                     .maintenance = true},
                    {.name = "foo.hook", .addresses = {}}};
  model.apps = {
      {.label = "foo",
       .backend = 0,
       .hosts = {{.name = "foo.example.com", .certificate = "abc"}},
       .locations = {{{"", "/hook"}, 1}, {{"=", "/hook/x"}, 0}, {{"~", "^/re/\\d+$"}, 1}, {{"^~", "/re/9"}, 0}},
       .whitelist = {{"192.0.2.0/25", "fd00::/8"}},
       .referrer_policy = "origin",
       .hsts = "max-age=1"},
      {.label = "hook", .backend = 1}};
  Bytes bytes(encode_table(model, {.generation = 1, .seed = 2}));
  std::string problem;
  const auto table = table::Table::open(bytes.span(), problem);
  ASSERT_TRUE(table) << problem;
  EXPECT_EQ(table->first_fault(), "");
  Engine engine;
  const auto* host = table->find_host("foo.example.com", engine);
  ASSERT_TRUE(host);
  EXPECT_EQ(table->text(host->certificate), "abc");
  const auto* app = table->app(*host);
  ASSERT_TRUE(app);
  EXPECT_EQ(table->text(app->referrer_policy), "origin");
  EXPECT_EQ(table->text(app->hsts), "max-age=1");
  const auto whitelist = table->list(app->whitelist);
  const auto allowed = [&](std::vector<std::uint8_t> address) { return table::contains(whitelist, address); };
  EXPECT_TRUE(allowed({192, 0, 2, 127}));
  EXPECT_FALSE(allowed({192, 0, 2, 128}));
  EXPECT_TRUE(allowed({0xfd, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}));
  EXPECT_FALSE(allowed({0xfe, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}));
  const auto path = [&](std::string_view p) { return table->text(table->backend_for(*app, p, engine)->name); };
  EXPECT_EQ(path("/"), "foo.foo");
  EXPECT_EQ(path("/hookX"), "foo.hook");
  EXPECT_EQ(path("/hook/x"), "foo.foo");
  EXPECT_EQ(path("/re/12"), "foo.hook");
  EXPECT_EQ(path("/re/9"), "foo.foo");
  const auto* backend = table->find_backend("foo.foo");
  ASSERT_TRUE(backend);
  EXPECT_EQ(backend->connect_timeout, 3000u);
  EXPECT_EQ(backend->flags, table::backend_flags::maintenance);
  const auto endpoints = table->list(backend->endpoints);
  ASSERT_EQ(endpoints.size(), 2u);
  EXPECT_EQ(endpoints[0].port, 5000);
  EXPECT_EQ(endpoints[0].address[3], 1);
  EXPECT_EQ(endpoints[1].family, 6);
  const auto* fallback = table->backend(table->settings().default_backend);
  ASSERT_TRUE(fallback);
  EXPECT_EQ(table->list(fallback->endpoints)[0].port, 80);
  EXPECT_EQ(table->find_backend("foo.nothing"), nullptr);
}

TEST(Encode, an_amendment_wins_over_its_base) {
  auto model = model_with({{"a.com", false}, {"b.com", false}, {"*.c.com", false}});
  model.apps[1].locations = {{{"", "/x"}, 2}};
  Bytes base(encode_table(model, {.generation = 5, .seed = 1}));
  // App 0 loses its name to app 1, app 2 is gone, app 3 is new.
  Touched touched{
      .places = {0, 1, 2, 3}, .hosts = {"a.com", "b.com", "*.c.com"}, .backends = {"ns.app-0", "ns.app-1", "ns.app-2"}};
  model.apps[0].hosts = {};
  model.apps[1].hosts = {{.name = "a.com"}, {.name = "b.com"}};
  model.apps[1].locations = {{{"", "/x"}, 0}};
  model.backends[2] = {};
  model.apps[2] = {};
  model.backends[0].addresses = {"10.9.9.9:1"};
  model.backends.push_back({.name = "ns.app-3"});
  model.apps.push_back({.label = "app-3", .backend = 3, .hosts = {{.name = "d.com"}}});
  Bytes amendment(encode_amendment(model, touched, 5, {.generation = 6, .seed = 2}));
  std::string problem;
  auto table = table::Table::open(base.span(), problem);
  ASSERT_TRUE(table) << problem;
  Bytes other(encode_table(model, {.generation = 4, .seed = 1}));
  auto wrong = table::Table::open(other.span(), problem);
  EXPECT_FALSE(wrong->amend(amendment.span(), problem));
  EXPECT_EQ(problem, "it amends another table");
  Engine engine;
  const auto label = [&](std::string_view name) {
    const auto* host = table->find_host(name, engine);
    return host ? std::string(table->text(table->app(*host)->label)) : "";
  };
  EXPECT_EQ(label("a.com"), "app-0");
  EXPECT_EQ(label("x.c.com"), "app-2");
  ASSERT_TRUE(table->amend(amendment.span(), problem)) << problem;
  EXPECT_EQ(table->first_fault(), "");
  EXPECT_EQ(table->generation(), 6u);
  EXPECT_EQ(label("a.com"), "app-1");
  EXPECT_EQ(label("b.com"), "app-1");
  EXPECT_EQ(label("x.c.com"), "");
  EXPECT_EQ(label("d.com"), "app-3");
  EXPECT_EQ(table->find_backend("ns.app-2"), nullptr);
  ASSERT_TRUE(table->find_backend("ns.app-3"));
  ASSERT_TRUE(table->find_backend("ns.app-0"));
  EXPECT_EQ(table->list(table->find_backend("ns.app-0")->endpoints)[0].address[1], 9);
  const auto* host = table->find_host("a.com", engine);
  EXPECT_EQ(table->text(table->backend_for(*table->app(*host), "/x", engine)->name), "ns.app-0");
  EXPECT_EQ(table->text(table->backend_for(*table->app(*host), "/", engine)->name), "ns.app-1");
}

TEST(Encode, a_base_meets_what_is_amended_of_others) {
  auto model = model_with({{"a.com", false}, {"b.com", false}});
  model.apps[0].locations = {{{"", "/x"}, 1}};
  Bytes base(encode_table(model, {.generation = 5, .seed = 1}));
  model.backends[1].maintenance = true;
  Bytes amendment(encode_amendment(model, {.places = {1}, .hosts = {"b.com"}, .backends = {"ns.app-1"}}, 5,
                                   {.generation = 6, .seed = 1}));
  std::string problem;
  auto table = table::Table::open(base.span(), problem);
  ASSERT_TRUE(table && table->amend(amendment.span(), problem)) << problem;
  Engine engine;
  const auto* host = table->find_host("a.com", engine);
  ASSERT_TRUE(host);
  EXPECT_EQ(table->backend_for(*table->app(*host), "/x", engine)->flags, table::backend_flags::maintenance);
}

TEST(Encode, a_changed_or_cut_table_is_refused) {
  const auto good = encode_table(model_with({{"a.com", false}, {"b.com", false}}), {.generation = 1, .seed = 1});
  std::string problem;
  for (std::size_t at = 0; at < good.size(); ++at) {
    auto bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x20);
    Bytes bytes(bad);
    const auto table = table::Table::open(bytes.span(), problem);
    EXPECT_FALSE(table) << "byte " << at;
  }
  for (const std::size_t size : {std::size_t{0}, std::size_t{10}, sizeof(table::Header), good.size() - 1}) {
    Bytes bytes(good.substr(0, size));
    EXPECT_FALSE(table::Table::open(bytes.span(), problem)) << size;
  }
}

TEST(Encode, equal_models_make_equal_tables) {
  const auto model = model_with({{"a.com", false}, {"*.b.com", false}});
  EXPECT_EQ(encode_table(model, {.generation = 1, .seed = 2}), encode_table(model, {.generation = 1, .seed = 2}));
  EXPECT_NE(encode_table(model, {.generation = 1, .seed = 2}), encode_table(model, {.generation = 2, .seed = 2}));
}

TEST(Encode, ten_thousand_apps_take_little_time_and_room) {
  std::vector<std::pair<std::string, bool>> hosts;
  for (int i = 0; i < 10'000; ++i) hosts.emplace_back("app-" + std::to_string(i) + ".example.com", false);
  const auto model = model_with(hosts);
  const auto begin = std::chrono::steady_clock::now();
  const auto text = encode_table(model, {.generation = 1, .seed = 99});
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  RecordProperty("microseconds", static_cast<int>(took.count() * 1e6));
  EXPECT_LT(text.size(), 10'000u * 400);
  Bytes bytes(text);
  std::string problem;
  const auto table = table::Table::open(bytes.span(), problem);
  ASSERT_TRUE(table) << problem;
  EXPECT_EQ(table->first_fault(), "");
  Engine engine;
  for (int i = 0; i < 10'000; ++i) {
    const auto* host = table->find_host("app-" + std::to_string(i) + ".example.com", engine);
    ASSERT_TRUE(host);
    EXPECT_EQ(host->app, static_cast<std::uint32_t>(i));
  }
}

}  // namespace
}  // namespace workflow::router
