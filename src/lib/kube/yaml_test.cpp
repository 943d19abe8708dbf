#include "lib/kube/yaml.h"

#include <gtest/gtest.h>

#include <random>

namespace workflow::kube {

TEST(Yaml, scalars_follow_the_core_schema) {
  struct Case {
    std::string yaml, json;
  };
  const Case cases[] = {{"1", "1"},
                        {"-12", "-12"},
                        {"+3", "3"},
                        {"0", "0"},
                        {"0644", "420"},
                        {"0o17", "15"},
                        {"0x1F", "31"},
                        {"09", "9"},
                        {"1.5", "1.5E0"},
                        {"1e3", "1E3"},
                        {".5", "5E-1"},
                        {"1.", "1E0"},
                        {"true", "true"},
                        {"False", "false"},
                        {"yes", "\"yes\""},
                        {"on", "\"on\""},
                        {"off", "\"off\""},
                        {"n", "\"n\""},
                        {"null", "null"},
                        {"~", "null"},
                        {"", "null"},
                        {"'1'", "\"1\""},
                        {"\"true\"", "\"true\""},
                        {"'null'", "\"null\""},
                        {"!!str 1", "\"1\""},
                        {"2026-01-05", "\"2026-01-05\""},
                        {"1:30", "\"1:30\""},
                        {"1_000", "\"1_000\""},
                        {".inf", "\".inf\""},
                        {".nan", "\".nan\""},
                        {"1.2.3", "\"1.2.3\""},
                        {"e3", "\"e3\""},
                        {"-", "[null]"},
                        {"9223372036854775807", "9223372036854775807"},
                        {"18446744073709551615", "18446744073709551615"},
                        {"-9223372036854775808", "-9223372036854775808"},
                        {"|\n  1\n", "\"1\\n\""},
                        {"12e", "\"12e\""},
                        {"250m", "\"250m\""}};
  for (const auto& [yaml, expected] : cases) EXPECT_EQ(print_json(parse_yaml(yaml)), expected) << yaml;
}

TEST(Yaml, reads_manifests) {
  const auto objects = parse_manifests(R"(---
# a comment
apiVersion: v1
kind: Namespace
metadata: {name: a, labels: {heritage: deis}}
---
---
kind: List
apiVersion: v1
items:
- {kind: Secret, metadata: {name: b}}
- kind: Service
  spec:
    ports:
    - port: 80
      targetPort: http
---
kind: ConfigMap
data:
  on: "true"
  script: |
    line one
    line two
)");
  ASSERT_EQ(objects.size(), 4u);
  EXPECT_EQ(print_json(objects[0]),
            R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a","labels":{"heritage":"deis"}}})");
  EXPECT_EQ(print_json(objects[2]), R"({"kind":"Service","spec":{"ports":[{"port":80,"targetPort":"http"}]}})");
  EXPECT_EQ(print_json(objects[3]), R"({"kind":"ConfigMap","data":{"on":"true","script":"line one\nline two\n"}})");
  EXPECT_TRUE(parse_manifests("").empty());
  EXPECT_TRUE(parse_manifests("---\n# nothing\n---\n").empty());
}

TEST(Yaml, anchors_are_copied_but_may_not_explode) {
  EXPECT_EQ(print_json(parse_yaml("a: &x {n: 1}\nb: *x")), R"({"a":{"n":1},"b":{"n":1}})");
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 12; ++i) {
    const auto before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
    for (int n = 0; n < 9; ++n) bomb += "," + before;
    bomb += "]\n";
  }
  EXPECT_THROW(parse_yaml(bomb), Error);
}

TEST(Yaml, refuses_with_the_line) {
  struct Case {
    std::string yaml, message;
  };
  const Case cases[] = {{"a: 1\nb: [", "line 2: "},
                        {"a: 1\na: 2", "line 2: the key \"a\" is there twice"},
                        {"? [a]\n: b", "line 1: a key must be a scalar"}};
  for (const auto& [yaml, message] : cases) {
    try {
      parse_yaml(yaml);
      ADD_FAILURE() << yaml;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid);
      EXPECT_NE(error.message().find(message), std::string::npos) << error.message();
    }
  }
  EXPECT_THROW(parse_yaml("a: 1\n---\nb: 2"), Error);
  EXPECT_THROW(parse_manifests("- 1"), Error);
  EXPECT_THROW(parse_yaml(std::string(70, '[') + std::string(70, ']')), Error);
  EXPECT_THROW(parse_yaml("a: *nowhere"), Error);
  EXPECT_THROW(parse_yaml("a: &x {b: *x}"), Error);
  for (const auto& text : {std::string("\0\0\0,\0\0", 6), std::string("\xfe\xff\0a", 4), std::string("a: \xc0\x80"),
                           std::string("a: \x01")}) {
    EXPECT_THROW(parse_yaml(text), Error);
  }
}

TEST(Yaml, prints_block_style) {
  const auto value =
      *parse_json(R"({"kind":"Pod","metadata":{"labels":{},"name":"a"},"spec":{"containers":[{"args":["start","web"],
    "name":"x"},{"name":"y"}],"on":"yes","port":"80","nested":[[1,2],[]],"text":"a: b\n"}})");
  EXPECT_EQ(print_yaml(value), R"(kind: Pod
metadata:
  labels: {}
  name: a
spec:
  containers:
  - args:
    - start
    - web
    name: x
  - name: "y"
  "on": "yes"
  port: "80"
  nested:
  - - 1
    - 2
  - []
  text: "a: b\n"
)");
  EXPECT_EQ(print_manifests({{{"a", 1}}, {{"b", 2}}}), "---\na: 1\n---\nb: 2\n");
}

namespace {
class RandomValues {
 public:
  explicit RandomValues(unsigned seed) : random_(seed) {}
  json::value value(int depth) {
    switch (pick(depth > 0 ? 7 : 5)) {
      case 0: return nullptr;
      case 1: return pick(2) == 0;
      case 2: return static_cast<std::int64_t>(random_()) - 2'000'000'000;
      case 3: return json::string(text());
      case 4: return json::string(text());
      case 5: {
        json::array array;
        for (std::size_t i = pick(4); i > 0; --i) array.push_back(value(depth - 1));
        return array;
      }
      default: {
        json::object object;
        for (std::size_t i = pick(4); i > 0; --i) object[text()] = value(depth - 1);
        return object;
      }
    }
  }

 private:
  std::size_t pick(std::size_t count) { return random_() % count; }
  std::string text() {
    static const std::vector<std::string> parts{
        "a", "yes", "null", "1", "0x1", ":", " ", "#", "-", "- ", "\n",   "\"", "'", "\\", "é",    "{",    "]",
        "&", "*",   "!",    "%", "@",   "`", "~", ".", "/", "\t", "true", "?",  "|", ">",  "\x01", "\x7f", ","};
    std::string result;
    for (std::size_t i = pick(4); i > 0; --i) result += parts[pick(parts.size())];
    return result;
  }
  std::mt19937 random_;
};
}  // namespace

TEST(Yaml, what_is_printed_is_read_back) {
  RandomValues random(42);
  for (int i = 0; i < 3000; ++i) {
    const auto value = random.value(4);
    EXPECT_EQ(parse_yaml(print_yaml(value)), value) << print_yaml(value);
  }
}

}  // namespace workflow::kube
