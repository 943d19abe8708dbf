#include "lib/base/text.h"

#include <gtest/gtest.h>

namespace workflow {

TEST(Text, split_keeps_empty_parts) {
  EXPECT_EQ(split("a,,b", ','), (std::vector<std::string>{"a", "", "b"}));
  EXPECT_EQ(split(",", ','), (std::vector<std::string>{"", ""}));
  EXPECT_EQ(split("", ','), std::vector<std::string>{});
  EXPECT_EQ(join({"a", "", "b"}, ", "), "a, , b");
}

TEST(Text, trims_white_space_only_at_the_ends) {
  EXPECT_EQ(trim(" \t a b \r\n"), "a b");
  EXPECT_EQ(trim("  "), "");
}

TEST(Text, ignores_case_of_ascii_letters) {
  EXPECT_EQ(lower("Content-TYPE É"), "content-type É");
  EXPECT_TRUE(equal_ignoring_case("Host", "hOST"));
  EXPECT_FALSE(equal_ignoring_case("Host", "Hosts"));
  EXPECT_TRUE(starts_with_ignoring_case("Bearer abc", "bearer "));
  EXPECT_FALSE(starts_with_ignoring_case("Bear", "bearer "));
}

TEST(Text, integers_are_whole_texts) {
  struct Case {
    std::string text;
    std::optional<std::int64_t> value;
  };
  const Case cases[] = {{"0", 0},
                        {"-12", -12},
                        {"9223372036854775807", INT64_MAX},
                        {"9223372036854775808", {}},
                        {"", {}},
                        {"+1", {}},
                        {" 1", {}},
                        {"1 ", {}},
                        {"1.5", {}},
                        {"0x1", {}}};
  for (const auto& [text, value] : cases) EXPECT_EQ(parse_integer(text), value) << text;
}

TEST(Text, replaces_every_occurrence_once) {
  EXPECT_EQ(replace_all("aXbXc", "X", "XX"), "aXXbXXc");
  EXPECT_EQ(replace_all("abc", "", "x"), "abc");
  EXPECT_EQ(replace_all("abc", "z", "x"), "abc");
}

}  // namespace workflow
