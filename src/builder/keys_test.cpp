#include "builder/keys.h"

#include <gtest/gtest.h>

#include "lib/base/encoding.h"

namespace workflow::builder {
namespace {

std::string blob(const std::string& type, const std::string& rest) {
  return to_base64(std::string{0, 0, 0, static_cast<char>(type.size())} + type + rest);
}

TEST(Fingerprint, is_the_md5_of_the_keys_bytes) {
  // `ssh-keygen -l -E md5` says the same of this key.
  EXPECT_EQ(fingerprint_of("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIJ7YK4kPxJ8zB0V1w9Wm0b0p0aVdqXy5u0m1b2c3d4e5"),
            "19:e0:1d:ea:77:30:6b:c1:1a:4b:cf:7d:d1:7d:71:94");
}

TEST(Fingerprint, is_of_keys_alone) {
  EXPECT_TRUE(fingerprint_of("ssh-ed25519", blob("ssh-ed25519", "x")));
  EXPECT_FALSE(fingerprint_of("ssh-rsa", blob("ssh-ed25519", "x")));
  EXPECT_FALSE(fingerprint_of("ssh-ed25519", "not base64"));
  EXPECT_FALSE(fingerprint_of("ssh-ed25519", ""));
  EXPECT_FALSE(fingerprint_of("", ""));
  EXPECT_FALSE(fingerprint_of("ssh-ed25519", to_base64(std::string(4, '\xff') + "ssh-ed25519")));
}

TEST(Identity, is_believed_with_our_signature_only) {
  const Secret key("k"), other("l");
  const Identity bob{*UserName::parse("bob@example.com"), "aa:bb"};
  const auto text = sign_identity(bob, key);
  EXPECT_EQ(verify_identity(text, key), bob);
  EXPECT_FALSE(verify_identity(text, other));
  EXPECT_FALSE(verify_identity("alice" + text.substr(text.find(' ')), key));
  for (const std::string& forged :
       {std::string(), std::string("bob aa:bb"), text + " ", " " + text, text.substr(0, text.size() - 1)}) {
    EXPECT_FALSE(verify_identity(forged, key)) << forged;
  }
}

TEST(AuthorizedKey, lets_in_to_the_forced_command_alone) {
  EXPECT_EQ(authorized_key("ssh-ed25519", "AAAA", "bob aa:bb 00"),
            "restrict,environment=\"WORKFLOW_PUSHER=bob aa:bb 00\" ssh-ed25519 AAAA\n");
}

}  // namespace
}  // namespace workflow::builder
