#include "controller/rules.h"

#include <gmock/gmock.h>

#include "lib/base/encoding.h"

namespace workflow::controller {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Error::Fields problems_of(const std::function<void(Fields&)>& read, const json::object& body) {
  Fields fields(body);
  read(fields);
  try {
    fields.done();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid);
    return error.fields();
  }
  return {};
}

// The message of an Error without fields, or that of its only field.
std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.fields().empty() ? error.message() : error.fields().begin()->second.front();
  }
  return "";
}

TEST(Fields, texts_are_stripped_and_checked) {
  struct Case {
    json::value value;
    std::string problem, text;
  };
  const Case cases[] = {
      {" a ", "", "a"},
      {7, "", "7"},
      {"", "This field may not be blank.", ""},
      {" \t", "This field may not be blank.", ""},
      {nullptr, "This field may not be null.", ""},
      {true, "Not a valid string.", ""},
      {json::array{"a"}, "Not a valid string.", ""},
      {json::object{}, "Not a valid string.", ""},
      {json::string_view("a\0b", 3), "Null characters are not allowed.", ""},
      {"four", "Ensure this field has no more than 3 characters.", "four"},
      {"\xc3\xa4\xc3\xb6\xc3\xbc", "", "\xc3\xa4\xc3\xb6\xc3\xbc"},  // characters, not bytes
  };
  for (const auto& [value, problem, text] : cases) {
    std::optional<std::string> read;
    const auto problems = problems_of([&](Fields& f) { read = f.text("x", {.max = 3}); }, {{"x", value}});
    EXPECT_EQ(problems.empty() ? "" : problems.at("x").front(), problem) << value;
    EXPECT_EQ(read.value_or(""), text) << value;
  }
  EXPECT_THAT(problems_of([](Fields& f) { f.text("x", {}); }, {}).at("x"), ElementsAre("This field is required."));
  EXPECT_THAT(problems_of([](Fields& f) { f.text("x", {.required = false}); }, {}), IsEmpty());
}

TEST(Fields, a_password_is_not_stripped) {
  const json::object body{{"x", "  "}};
  Fields fields(body);
  EXPECT_EQ(fields.text("x", {.stripped = false}), "  ");
}

TEST(Fields, booleans_are_what_clients_of_the_original_send) {
  for (const json::value& yes :
       {json::value(true), json::value(1), json::value("t"), json::value("Yes"), json::value("ON")}) {
    const json::object body{{"x", yes}};
    EXPECT_EQ(Fields(body).boolean("x"), true) << yes;
  }
  for (const json::value& no :
       {json::value(false), json::value(0), json::value("F"), json::value("no"), json::value("off")}) {
    const json::object body{{"x", no}};
    EXPECT_EQ(Fields(body).boolean("x"), false) << no;
  }
  for (const json::value& neither :
       {json::value("maybe"), json::value(2), json::value(""), json::value(json::object{})}) {
    EXPECT_THAT(problems_of([](Fields& f) { f.boolean("x"); }, {{"x", neither}}).at("x"),
                ElementsAre("Must be a valid boolean."))
        << neither;
  }
  const json::object null{{"x", nullptr}};
  EXPECT_EQ(Fields(null).boolean("x"), std::nullopt);
}

TEST(Fields, every_problem_is_told_at_once) {
  const auto problems = problems_of(
      [](Fields& f) {
        f.text("a", {});
        f.boolean("b");
        f.map("c");
      },
      {{"b", "x"}, {"c", 5}});
  EXPECT_EQ(problems.size(), 3u);
}

TEST(AppNames, say_everything_that_is_wrong_with_them) {
  const std::string rule =
      "App name must start with an alphabetic character, cannot end with a hyphen and can only contain a-z "
      "(lowercase), 0-9 and hyphens.";
  const std::string slug = "Enter a valid \"slug\" consisting of letters, numbers, underscores or hyphens.";
  const std::set<std::string> reserved{"deis"};
  EXPECT_THAT(app_name_problems("shop-1", reserved), IsEmpty());
  EXPECT_THAT(app_name_problems(std::string(63, 'a'), reserved), IsEmpty());
  EXPECT_THAT(app_name_problems(std::string(64, 'a'), reserved),
              ElementsAre("Ensure this field has no more than 63 characters."));
  EXPECT_THAT(app_name_problems("9" + std::string(63, '.'), reserved),
              ElementsAre(rule, "Ensure this field has no more than 63 characters.", slug));
  for (const char* name : {"9lives", "-a", "a-", "Caps", "under_score"})
    EXPECT_THAT(app_name_problems(name, reserved), ElementsAre(rule)) << name;
  for (const char* name : {"a.b", "a b", "a/b", "\xc3\xa4", "a\n"})
    EXPECT_THAT(app_name_problems(name, reserved), ElementsAre(rule, slug)) << name;
  EXPECT_THAT(app_name_problems("deis", reserved), ElementsAre("deis is a reserved name."));
}

TEST(Emails, look_like_one) {
  for (const char* good : {"a@b.co", "first.last+tag@sub.example.com", "a@localhost"})
    EXPECT_TRUE(is_email(good)) << good;
  for (const char* bad :
       {"", "a", "@b.co", "a@", "a b@c.de", "a@b", "a@*.b.co", ".a@b.co", "a..b@c.de", "a@b@c.de", "a@-b.co"}) {
    EXPECT_FALSE(is_email(bad)) << bad;
  }
}

TEST(ProcessTypes, are_lower_case_words_joined_by_hyphens) {
  for (const char* good : {"web", "w2", "2w", "a-b-c"}) EXPECT_TRUE(is_process_type(good)) << good;
  for (const char* bad : {"", "-", "a-", "-a", "a--b", "A", "a_b", "a.b", "web/cmd", "a\n"})
    EXPECT_FALSE(is_process_type(bad)) << bad;
}

TEST(Rules, none_takes_what_follows_a_line_end) {
  struct Case {
    std::string map, key, value;  // good without the line end
  };
  const Case cases[] = {{"values", "PORT", "80"},
                        {"values", "HEALTHCHECK_URL", "/healthz"},
                        {"values", "HEALTHCHECK_TIMEOUT", "5"},
                        {"memory", "web", "1G"},
                        {"memory", "web", "1G/2G"},
                        {"cpu", "web", "500m"},
                        {"cpu", "web", "1/2"},
                        {"termination_grace_period", "web", "30"},
                        {"tags", "disk", "ssd"},
                        {"tags", "a.b/disk", "ssd"}};
  auto is_good = [](const std::string& map, const std::string& key, const std::string& value) {
    return problems_of([&](Fields& f) { config_change(f, map); }, {{map, json::object{{key, value}}}}).empty();
  };
  for (const auto& [map, key, value] : cases) {
    EXPECT_TRUE(is_good(map, key, value)) << map << " " << value;
    for (const char* end : {"\n", "\r\n", "\nX"}) {
      EXPECT_FALSE(is_good(map, key, value + end)) << map << " " << value;
      EXPECT_FALSE(is_good(map, key + end, value)) << map << " " << key;
    }
  }
  EXPECT_FALSE(is_good("registry", "username\n", "x"));
  EXPECT_FALSE(is_good("values", "KEY", std::string("a\0b", 3)));
  EXPECT_FALSE(is_email("a@b.co\n"));
  for (const char* network : {"10.0.0.0/8\n", "10.0.0.1\n", "10.0.0.0\n/8", "2001:db8::/32\n"})
    EXPECT_FALSE(is_network(network)) << network;
  EXPECT_FALSE(is_network(std::string("10.0.0.1\0x", 10)));
  EXPECT_FALSE(parse_public_key("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5\nssh-ed25519 AAAA"));
}

TEST(ConfigSizes, what_no_process_could_be_started_with_is_told) {
  EXPECT_THAT(problems_of_sizes({{"A", std::string(131'069, 'x')}}), IsEmpty());
  EXPECT_THAT(
      problems_of_sizes({{"A", std::string(131'070, 'x')}}).at("values"),
      ElementsAre("A has 131072 bytes with its name: a process gets at most 131071 in one variable. Keep it in a "
                  "file or a store instead"));
  json::object many;
  for (int i = 0; i < 11; ++i) many["K" + std::to_string(i)] = std::string(100'000, 'x');
  EXPECT_THAT(
      problems_of_sizes(many).at("values"),
      ElementsAre("The config has 1100034 bytes, names included: it may have at most 1000000. Keep what is large "
                  "in a file or a store instead"));
  many.erase("K9");
  many.erase("K10");
  EXPECT_THAT(problems_of_sizes(many), IsEmpty());
}

TEST(Domains, below_the_platforms_belong_to_the_app_of_that_name) {
  struct Case {
    std::string domain;
    std::optional<std::string> label;
    std::string host;
  };
  const Case cases[] = {{"foo", "foo", "foo.apps.example.com"},
                        {"foo.apps.example.com", "foo", "foo.apps.example.com"},
                        {"www.foo.apps.example.com", "foo", "www.foo.apps.example.com"},
                        {"*.foo.apps.example.com", "foo", "*.foo.apps.example.com"},
                        {"*.apps.example.com", "*", "*.apps.example.com"},
                        {"apps.example.com", "", "apps.example.com"},
                        {"fooapps.example.com", {}, "fooapps.example.com"},
                        {"example.com", {}, "example.com"},
                        {"apps.example.com.org", {}, "apps.example.com.org"}};
  for (const auto& [domain, label, host] : cases) {
    EXPECT_EQ(owning_label(domain, "apps.example.com"), label) << domain;
    EXPECT_EQ(host_of_domain(domain, "apps.example.com"), host);
  }
  EXPECT_EQ(owning_label("foo.apps.example.com", ""), std::nullopt);
  EXPECT_EQ(host_of_domain("foo", ""), "foo");
}

TEST(ConfigChange, checks_each_map_by_its_own_rule) {
  struct Case {
    std::string map, key;
    json::value value;
    bool ok;
  };
  const Case cases[] = {
      {"values", "A_b9", "x", true},
      {"values", "_", "", true},
      {"values", "9A", "x", false},
      {"values", "A-B", "x", false},
      {"values", "", "x", false},
      {"values", "A\n", "x", false},
      {"values", "9A", nullptr, true},  // taken away: not checked
      {"values", "PORT", "65535", true},
      {"values", "PORT", 5000, true},
      {"values", "PORT", "0", false},
      {"values", "PORT", "65536", false},
      {"values", "PORT", "99999999999999999999", false},
      {"values", "PORT", "", false},
      {"values", "HEALTHCHECK_URL", "/health", true},
      {"values", "HEALTHCHECK_URL", "health", false},
      {"values", "HEALTHCHECK_URL", "/a?b", false},
      {"values", "HEALTHCHECK_URL", "http://x/", false},
      {"values", "HEALTHCHECK_URL", "//x/", false},
      {"values", "HEALTHCHECK_PORT", "x", false},
      {"values", "HEALTHCHECK_PORT", "9", true},
      {"memory", "web", "64M", true},
      {"memory", "web", "1gb", true},
      {"memory", "web", "0/3G", true},
      {"memory", "web", "64", false},
      {"memory", "web", "G", false},
      {"memory", "web", "1.5G", false},
      {"memory", "web", "1G/", false},
      {"memory", "Web", "1G", false},
      {"cpu", "web", "500m", true},
      {"cpu", "web", "0.5/1", true},
      {"cpu", "web", "0.25", true},
      {"cpu", "web", "m", false},
      {"cpu", "web", "+1", false},
      {"cpu", "web", "1/2/3", false},
      {"termination_grace_period", "web", "30", true},
      {"termination_grace_period", "web", "", false},
      {"termination_grace_period", "web", "-1", false},
      {"termination_grace_period", "web", "3s", false},
      {"tags", "rack", "r1", true},
      {"tags", "example.com/rack", "r1", true},
      {"tags", "a/b/c", "d", false},
      {"tags", "/rack", "r1", false},
      {"tags", "rack", "-r", false},
      {"tags", "rack", "", true},
      {"tags", std::string(64, 'a'), "x", false},
      {"tags", std::string(254, 'a') + "/b", "x", false},
      {"registry", "username", "u", true},
      {"registry", "user-name", "u", false},
      {"lifecycle_pre_stop", "web", "sleep 5", true},
      {"lifecycle_pre_stop", "web", 5, false},
      {"healthcheck", "web/cmd", json::object{}, true},
      {"healthcheck", "livenessProbe", json::object{}, false},
      {"healthcheck", "web", "x", false},
      {"healthcheck", "web", json::object{{"otherProbe", json::object{}}}, false},
      {"healthcheck", "web", json::object{{"livenessProbe", nullptr}}, true},
      {"healthcheck", "web", json::object{{"livenessProbe", json::object{{"successThreshold", 2}}}}, false},
      {"healthcheck", "web", json::object{{"readinessProbe", json::object{{"successThreshold", 2}}}}, true},
      {"healthcheck", "web", json::object{{"readinessProbe", json::object{{"httpGet", json::object{{"port", "80"}}}}}},
       false},
      {"healthcheck", "web", json::object{{"readinessProbe", json::object{{"httpGet", json::object{{"path", "/"}}}}}},
       false},
      {"healthcheck", "web",
       json::object{{"readinessProbe", json::object{{"tcpSocket", json::object{{"port", 70000}}}}}}, false},
      {"healthcheck", "web",
       json::object{{"readinessProbe", json::object{{"exec", json::object{{"command", json::array{}}}}}}}, false},
      {"healthcheck", "web",
       json::object{{"readinessProbe", json::object{{"exec", json::object{{"command", json::array{"true"}}}}}}}, true},
      {"healthcheck", "web", json::object{{"readinessProbe", json::object{{"periodSeconds", "5"}}}}, false},
  };
  for (const auto& [map, key, value, ok] : cases) {
    const auto problems = problems_of([&](Fields& f) { config_change(f, map); }, {{map, json::object{{key, value}}}});
    EXPECT_EQ(problems.empty(), ok) << map << " " << key << "=" << value;
    if (!ok) EXPECT_TRUE(problems.contains(map));
  }
}

TEST(ConfigChange, values_become_text_as_python_says_it) {
  const json::object body{{"values", {{"A", 5000}, {"B", true}, {"C", 1.5}, {"D", nullptr}, {"E", ""}}}};
  Fields fields(body);
  EXPECT_EQ(config_change(fields, "values"),
            (json::object{{"A", "5000"}, {"B", "True"}, {"C", "1.5"}, {"D", nullptr}, {"E", ""}}));
}

TEST(Domains, are_kept_in_one_form) {
  struct Case {
    std::string text, stored;
  };
  const Case cases[] = {{"example.com", "example.com"},
                        {" Example.COM. ", "example.com"},
                        {"single", "single"},
                        {"*.example.com", "*.example.com"},
                        {"3com.com", "3com.com"},
                        {"b\xc3\xbc"
                         "cher.example",
                         "xn--bcher-kva.example"},
                        {"stra\xc3\x9f"
                         "e.de",
                         "xn--strae-oqa.de"},
                        {"xn--bcher-kva.example", "xn--bcher-kva.example"}};
  for (const auto& [text, stored] : cases) EXPECT_EQ(checked_domain(text), stored);
  EXPECT_EQ(checked_domain(std::string(63, 'a') + ".com"), std::string(63, 'a') + ".com");
}

TEST(Domains, that_cannot_be_are_refused) {
  const std::string cases[] = {"",
                               ".",
                               "*",
                               "*.",
                               "under_score.com",
                               "a.*.com",
                               "*a.com",
                               "*.*.com",
                               "a..b",
                               ".a",
                               "-a.com",
                               "a-.com",
                               "1.2.3.4",
                               "a.1",
                               "a b.com",
                               "a/b",
                               "a;b",
                               "a\nb",
                               "a\tb",
                               "http://a.com",
                               "a:80",
                               "[::1]",
                               "a.com..",
                               std::string(64, 'a') + ".com",
                               std::string("a\0b", 3),
                               "\xff.com",
                               "xn--\xff.com",
                               "\xef\xbc\x8f.com"};
  for (const auto& text : cases) EXPECT_NE(message_of([&] { checked_domain(text); }), "") << text;
  std::string many;
  for (int i = 0; i < 5; ++i) many += std::string(60, 'a') + ".";
  EXPECT_NE(message_of([&] { checked_domain(many + "com"); }), "");
}

TEST(Networks, are_addresses_with_or_without_a_length) {
  for (const char* good : {"1.2.3.4", "10.0.0.0/8", "10.1.2.3/8", "0.0.0.0/0", "::1", "2001:db8::/32", "::/128"}) {
    EXPECT_TRUE(is_network(good)) << good;
  }
  for (const char* bad : {"", "1.2.3", "1.2.3.256", "1.2.3.4/33", "1.2.3.4/", "1.2.3.4/-1", "1.2.3.4/8/8", "::1/129",
                          "a", "1.2.3.4;", " 1.2.3.4"}) {
    EXPECT_FALSE(is_network(bad)) << bad;
  }
}

TEST(PublicKeys, have_the_fingerprints_that_ssh_keygen_prints) {
  const auto key =
      parse_public_key("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMtE05DCnzwhUUFpVCaAhZShMWdaydB6wHOeVzcW0Ikd me@box");
  ASSERT_TRUE(key);
  EXPECT_EQ(key->md5.size(), 47u);
  EXPECT_EQ(key->md5[2], ':');
  EXPECT_TRUE(key->sha256.starts_with("SHA256:"));
  EXPECT_EQ(key->sha256.size(), 7u + 43u);
  const std::string blob("\0\0\0\x07ssh-rsa", 11);
  EXPECT_TRUE(parse_public_key("ssh-rsa " + to_base64(blob)));
  EXPECT_FALSE(parse_public_key("ssh-dss " + to_base64(blob)));  // the line names another type than the key itself
}

TEST(PublicKeys, that_are_none_are_refused) {
  for (const std::string& text :
       {std::string(), std::string("ssh-rsa"), std::string("ssh-rsa AAA"), std::string("ssh-rsa ????"),
        "ssh-rsa " + to_base64("abc"), "ssh-rsa " + to_base64(std::string("\0\0\xff\xff", 4))}) {
    EXPECT_FALSE(parse_public_key(text)) << text;
  }
}

TEST(ReservedRepositories, are_those_of_the_platform_on_whatever_registry) {
  for (const std::string image : {"deis/router", "deis/router:v2", "quay.io/deis/router:v2",
                                  "a:5000/deis/router@sha256:ab", "localhost/mirror/deis/router:v2@sha256:ab"}) {
    EXPECT_EQ(reserved_repository(image), "deis/router") << image;
  }
  for (const std::string image : {"", "deis", "router", "deis/example-go", "mydeis/router", "deis:5000/router",
                                  "deis/routers", "a/b@deis/router"}) {
    EXPECT_EQ(reserved_repository(image), "") << image;
  }
}

TEST(ScaleCounts, are_whole_numbers_from_zero) {
  EXPECT_EQ(scale_count(3), 3);
  EXPECT_EQ(scale_count("3"), 3);
  EXPECT_EQ(scale_count(2.9), 2);
  EXPECT_EQ(scale_count(true), 1);
  EXPECT_EQ(message_of([] { scale_count("one"); }),
            "Invalid scaling format: invalid literal for int() with base 10: 'one'");
  EXPECT_NE(message_of([] { scale_count(-1); }).find("Must be greater than or equal to zero"), std::string::npos);
  for (const json::value& bad : {json::value(nullptr), json::value(json::array{1}), json::value(1e300),
                                 json::value(-1e300), json::value("99999999999999999999"), json::value(1001)}) {
    EXPECT_NE(message_of([&] { scale_count(bad); }), "") << bad;
  }
}

}  // namespace
}  // namespace workflow::controller
