#include "builder/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace workflow::builder {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Call, comes_back_as_it_was_printed) {
  const std::vector<std::string> fields{"session", "", "git-receive-pack '/a.git'", "a\nb"};
  EXPECT_EQ(parse_call(print_call(fields)), fields);
  EXPECT_THAT(parse_call(print_call({})), IsEmpty());
}

TEST(Call, that_is_cut_is_none) {
  EXPECT_THAT(parse_call("session"), IsEmpty());
  EXPECT_THAT(parse_call(std::string("keys\0ssh-rsa", 12)), IsEmpty());
  EXPECT_THAT(parse_call(std::string("\0", 1)), ElementsAre(""));
}

TEST(GitError, is_a_packet_with_its_length) {
  EXPECT_EQ(git_error("Another git push is ongoing"), "0024ERR Another git push is ongoing\n");
  EXPECT_EQ(git_error(std::string(5000, 'x')).substr(0, 8), "03f1ERR ");
}

}  // namespace
}  // namespace workflow::builder
