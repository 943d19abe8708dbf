#include "builder/sshd.h"

#include <gtest/gtest.h>

#include "lib/base/golden.h"

namespace workflow::builder {
namespace {

TEST(SshdConfig, lets_nothing_in_but_keys_to_the_forced_command) {
  expect_golden("sshd_config", sshd_config({.port = 2223,
                                            .user = "git",
                                            .host_keys = {"/run/b/ssh-host-ed25519-key", "/run/b/ssh-host-rsa-key"},
                                            .program = "/usr/bin/workflow-push",
                                            .keys_socket = "/run/b/keys.socket",
                                            .session_socket = "/run/b/git.socket"}));
}

TEST(PlainPath, is_one_word_for_sshd_and_the_shell) {
  EXPECT_TRUE(is_plain_path("/usr/bin/workflow-1.0"));
  for (const std::string path : {"", "relative", "/with space", "/a;b", "/a%k", "/a\nb", "/a'b"})
    EXPECT_FALSE(is_plain_path(path)) << path;
}

}  // namespace
}  // namespace workflow::builder
