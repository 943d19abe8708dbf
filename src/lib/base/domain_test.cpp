#include "lib/base/domain.h"

#include <gtest/gtest.h>

#include "lib/base/log.h"

namespace workflow {

namespace {
struct Case {
  std::string text;
  bool ok;
};
}  // namespace

TEST(AppName, is_a_dns_label) {
  const Case cases[] = {{"peachy-9", true},
                        {std::string(63, 'a'), true},
                        {std::string(64, 'a'), false},
                        {"", false},
                        {"9lives", false},
                        {"-a", false},
                        {"a-", false},
                        {"Caps", false},
                        {"a.b", false},
                        {"a", true},
                        {"a_b", false},
                        {std::string("a\0", 2), false}};
  for (const auto& [text, ok] : cases) EXPECT_EQ(AppName::parse(text).has_value(), ok) << text;
}

TEST(UserName, follows_the_original) {
  const Case cases[] = {{"alice", true},
                        {"a.b@c+d-e_f", true},
                        {std::string(150, 'a'), true},
                        {std::string(151, 'a'), false},
                        {"", false},
                        {"a b", false},
                        {"alice\n", false},
                        {"Zoé", true},
                        {"Владимир", true},
                        {"田中", true},
                        {"a\u00a0b", false},
                        {"a\u202eb", false},
                        {"a\u200bb", false},
                        {"\xe9", false},
                        {"\xc0\xae", false},
                        {"\xed\xa0\x80", false},
                        {"\xf0\x9f\x98\x80", false}};
  for (const auto& [text, ok] : cases) EXPECT_EQ(UserName::parse(text).has_value(), ok) << text;
}

TEST(ProcessType, may_start_with_a_digit) {
  const Case cases[] = {{"web", true}, {"2nd", true},  {"a-b", true}, {"-a", false},
                        {"a-", false}, {"Web", false}, {"", false},   {"a_b", false}};
  for (const auto& [text, ok] : cases) EXPECT_EQ(ProcessType::parse(text).has_value(), ok) << text;
}

TEST(ConfigKey, is_a_variable_name) {
  const Case cases[] = {{"PORT", true}, {"_x9", true}, {"9x", false}, {"A-B", false}, {"", false}, {"A=B", false}};
  for (const auto& [text, ok] : cases) EXPECT_EQ(ConfigKey::parse(text).has_value(), ok) << text;
}

TEST(DomainName, allows_one_leading_wildcard) {
  const Case cases[] = {{"www.example.com", true},
                        {"*.example.com", true},
                        {"shop", true},
                        {"*", false},
                        {"*.", false},
                        {"a.*.com", false},
                        {"a..b", false},
                        {".a", false},
                        {"a.", false},
                        {"-a.com", false},
                        {std::string(64, 'a') + ".com", false},
                        {"Example.COM", true},
                        {"a_b.com", false},
                        {"", false}};
  for (const auto& [text, ok] : cases) EXPECT_EQ(DomainName::parse(text).has_value(), ok) << text;
  std::string long_name;
  while (long_name.size() < 250) long_name += "abcdefgh.";
  EXPECT_FALSE(DomainName::parse(long_name + "abc").has_value());
}

TEST(ReleaseVersion, reads_with_and_without_v) {
  EXPECT_EQ(ReleaseVersion::parse("v12")->number, 12);
  EXPECT_EQ(ReleaseVersion::parse("3")->text(), "v3");
  for (const auto* bad : {"", "v", "-1", "v-1", "1.0", "vv1", "9999999999999999999"}) {
    EXPECT_FALSE(ReleaseVersion::parse(bad)) << bad;
  }
}

TEST(Secret, does_not_show_itself) {
  EXPECT_EQ(kv("password", Secret("hunter2")).value, "***");
  EXPECT_EQ(Secret("hunter2").reveal(), "hunter2");
}

}  // namespace workflow
