#include "lib/kube/names.h"

#include <gtest/gtest.h>

#include <string>

namespace workflow::kube {

namespace {
struct Case {
  std::string text;
  bool ok;
};
}  // namespace

TEST(Names, dns_labels) {
  const Case cases[] = {{"a", true},
                        {"9", true},
                        {"my-name", true},
                        {std::string(63, 'a'), true},
                        {std::string(64, 'a'), false},
                        {"", false},
                        {"-a", false},
                        {"a-", false},
                        {"A", false},
                        {"a.b", false},
                        {"a_b", false}};
  for (const auto& [text, ok] : cases) EXPECT_EQ(is_dns_label(text), ok) << text;
  EXPECT_TRUE(is_service_name("a9"));
  EXPECT_FALSE(is_service_name("9a"));
  EXPECT_FALSE(is_service_name(""));
}

TEST(Names, dns_subdomains) {
  const Case cases[] = {{"a.b", true},
                        {"example.com", true},
                        {"a", true},
                        {"a..b", false},
                        {".a", false},
                        {"a.", false},
                        {"a.-b", false},
                        {std::string(253, 'a'), true},
                        {std::string(254, 'a'), false},
                        {"", false}};
  for (const auto& [text, ok] : cases) EXPECT_EQ(is_dns_subdomain(text), ok) << text;
}

TEST(Names, label_keys_and_values) {
  const Case keys[] = {{"app", true},
                       {"router.deis.io/routable", true},
                       {"MyName_1.x", true},
                       {"/a", false},
                       {"a/", false},
                       {"a/b/c", false},
                       {"A.io/x", false},
                       {"", false},
                       {std::string(64, 'a'), false},
                       {"a b", false}};
  for (const auto& [text, ok] : keys) EXPECT_EQ(is_label_key(text), ok) << text;
  const Case values[] = {{"", true},
                         {"v4", true},
                         {"My_Value.1", true},
                         {"-a", false},
                         {"a,", false},
                         {std::string(63, 'a'), true},
                         {std::string(64, 'a'), false}};
  for (const auto& [text, ok] : values) EXPECT_EQ(is_label_value(text), ok) << text;
}

TEST(Names, data_keys_and_variables) {
  const Case keys[] = {{"tls.crt", true},
                       {".dockerconfigjson", true},
                       {"DATABASE_URL", true},
                       {"a/b", false},
                       {"", false},
                       {".", false},
                       {"..", false},
                       {"..data", false}};
  for (const auto& [text, ok] : keys) EXPECT_EQ(is_data_key(text), ok) << text;
  EXPECT_TRUE(is_environment_name("my.var-1"));
  EXPECT_FALSE(is_environment_name("a=b"));
  EXPECT_FALSE(is_environment_name(""));
}

}  // namespace workflow::kube
