#include "controller/directory.h"

#include <gtest/gtest.h>

namespace workflow::controller {
namespace {

TEST(FilterValue, leaves_no_syntax) {
  using namespace std::string_literals;
  const std::pair<std::string, std::string> cases[] = {
      {"alice", "alice"}, {"a*", "a\\2a"},     {"x)(uid=*", "x\\29\\28uid=\\2a"},
      {"a\\b", "a\\5cb"}, {"a\0b"s, "a\\00b"}, {"müller", "müller"}};
  for (const auto& [text, value] : cases) EXPECT_EQ(filter_value(text), value);
}

}  // namespace
}  // namespace workflow::controller
