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

TEST(ClientCommands, are_those_of_sshd_and_git) {
  for (const std::string word : {"keys", "session", "pre-receive"}) EXPECT_TRUE(is_client_command(word)) << word;
  for (const std::string word : {"", "serve", "post-receive", "Session"}) EXPECT_FALSE(is_client_command(word)) << word;
}

}  // namespace
}  // namespace workflow::builder
