#include "lib/json/json.h"

#include <gtest/gtest.h>

namespace workflow {

TEST(Json, parses_one_value_at_most_64_deep) {
  EXPECT_TRUE(parse_json(" {\"a\": [1, 2.5, null, true]} "));
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(parse_json(nested(64)));
  EXPECT_FALSE(parse_json(nested(65)));
  for (const auto* bad : {"", "{", "{} {}", "{'a': 1}", "[1,]", "nul", "\"\xff\"", "{\"a\":1}x"}) {
    EXPECT_FALSE(parse_json(bad)) << bad;
  }
}

TEST(Json, prints_compact_and_pretty) {
  const auto value = *parse_json(R"({"b": [1, {"c": "x\ny"}], "a": {}, "n": []})");
  EXPECT_EQ(print_json(value), R"({"b":[1,{"c":"x\ny"}],"a":{},"n":[]})");
  EXPECT_EQ(print_json_pretty(value),
            "{\n  \"b\": [\n    1,\n    {\n      \"c\": \"x\\ny\"\n    }\n  ],\n  \"a\": {},\n  \"n\": []\n}\n");
  EXPECT_EQ(parse_json(print_json_pretty(value)), value);
}

TEST(Json, finds_values_of_the_right_type_only) {
  const auto value =
      *parse_json(R"({"a": {"s": "x", "n": 3, "b": true, "z": null, "big": 18446744073709551615, "f": 1.0}})");
  EXPECT_EQ(find_string(value, {"a", "s"}), "x");
  EXPECT_EQ(find_integer(value, {"a", "n"}), 3);
  EXPECT_EQ(find_bool(value, {"a", "b"}), true);
  EXPECT_EQ(find_path(value, {"a", "z"}), nullptr);
  EXPECT_EQ(find_path(value, {"a", "s", "deeper"}), nullptr);
  EXPECT_EQ(find_string(value, {"a", "n"}), std::nullopt);
  EXPECT_EQ(find_integer(value, {"a", "big"}), std::nullopt);
  EXPECT_EQ(find_integer(value, {"a", "f"}), std::nullopt);
  EXPECT_EQ(string_map(find_path(value, {"a"})), (std::map<std::string, std::string>{{"s", "x"}}));
  EXPECT_TRUE(string_map(nullptr).empty());
}

TEST(FieldReader, collects_every_problem) {
  const auto body = *parse_json(R"({"app": "Bad Name", "count": "three", "flag": 1, "text": 5})");
  FieldReader in(body);
  in.required<AppName>("app");
  in.required<DomainName>("domain");
  in.optional_integer("count");
  in.optional_bool("flag");
  in.optional_text("text");
  in.optional_text("absent");
  try {
    in.done();
    FAIL() << "no exception";
  } catch (const Error& error) {
    EXPECT_EQ(error.fields(), (Error::Fields{{"app", {"must be " + std::string(AppName::rule())}},
                                             {"count", {"A valid integer is required."}},
                                             {"domain", {"This field is required."}},
                                             {"flag", {"Must be a valid boolean."}},
                                             {"text", {"Not a valid string."}}}));
  }
}

TEST(FieldReader, wants_an_object) {
  const auto body = *parse_json("[]");
  FieldReader in(body);
  EXPECT_EQ(in.required_text("app"), std::nullopt);
  try {
    in.done();
    FAIL() << "no exception";
  } catch (const Error& error) {
    ASSERT_EQ(error.fields().size(), 1u);
    EXPECT_TRUE(error.fields().contains("non_field_errors"));
  }
}

}  // namespace workflow
