#include "engine/apiserver/tokens.h"

#include <gtest/gtest.h>

#include "engine/apiserver/pki.h"
#include "engine/test_support.h"
#include "lib/base/encoding.h"
#include "lib/base/text.h"

namespace workflow::engine {
namespace {

class TokensTest : public testing::Test {
 protected:
  TemporaryFolder folder;
  ManualClock clock{Time{} + std::chrono::hours(24 * 365 * 56)};
  TokenSigner signer{open_pki(folder.path() / "a", {"localhost"}, {"127.0.0.1"}, clock).token_key};
  TokenClaims claims{.ns = "shop",
                     .account = "web",
                     .account_uid = "u1",
                     .audiences = {std::string(token_issuer), "vault"},
                     .pod = "web-1",
                     .pod_uid = "u2",
                     .issued = clock.now(),
                     .expires = clock.now() + std::chrono::hours(1),
                     .id = "one"};
  std::string token = signer.sign(claims).reveal();
};

TEST_F(TokensTest, says_what_was_signed) { EXPECT_EQ(signer.verify(token, clock.now()), claims); }

TEST_F(TokensTest, expires) {
  EXPECT_TRUE(signer.verify(token, claims.expires - std::chrono::seconds(1)));
  EXPECT_FALSE(signer.verify(token, claims.expires));
}

TEST_F(TokensTest, is_not_valid_before_it_was_issued) {
  EXPECT_TRUE(signer.verify(token, claims.issued - std::chrono::seconds(30)));  // clocks that were set back a little
  EXPECT_FALSE(signer.verify(token, claims.issued - std::chrono::hours(1)));
}

TEST_F(TokensTest, another_key_signs_nothing_for_us) {
  const TokenSigner other{open_pki(folder.path() / "b", {"localhost"}, {"127.0.0.1"}, clock).token_key};
  EXPECT_FALSE(signer.verify(other.sign(claims).reveal(), clock.now()));
}

TEST_F(TokensTest, a_changed_token_is_refused) {
  const auto parts = split(token, '.');
  ASSERT_EQ(parts.size(), 3u);
  auto body = *from_base64url(parts[1]);
  body = replace_all(body, "\"web\"", "\"root\"");
  EXPECT_FALSE(signer.verify(parts[0] + "." + to_base64url(body) + "." + parts[2], clock.now()));
  for (std::size_t i = 0; i < token.size(); i += 7) {
    auto broken = token;
    broken[i] = broken[i] == 'A' ? 'B' : 'A';
    // The last letter of a base64 text has unused bits.
    if (i + 1 < token.size()) EXPECT_FALSE(signer.verify(broken, clock.now())) << i;
  }
}

TEST_F(TokensTest, other_algorithms_and_rubbish_are_refused) {
  const auto parts = split(token, '.');
  const auto none = to_base64url(R"({"alg":"none","typ":"JWT"})"),
             hmac = to_base64url(R"({"alg":"HS256","typ":"JWT"})");
  for (const auto& text :
       {std::string(), std::string("."), std::string(".."), std::string("a.b.c"), none + "." + parts[1] + ".",
        none + "." + parts[1] + "." + parts[2], hmac + "." + parts[1] + "." + parts[2], parts[0] + "." + parts[1],
        token + "x", token + "." + parts[2]}) {
    EXPECT_FALSE(signer.verify(text, clock.now())) << text;
  }
}

TEST_F(TokensTest, the_public_key_is_a_point_of_the_curve) {
  const auto set = signer.public_keys();
  const auto& key = set.at("keys").as_array().at(0).as_object();
  EXPECT_EQ(key.at("crv"), "P-256");
  for (const auto* coordinate : {"x", "y"}) {
    const auto bytes = from_base64url(key.at(coordinate).as_string());
    ASSERT_TRUE(bytes) << coordinate;
    EXPECT_EQ(bytes->size(), 32u) << coordinate;
  }
  EXPECT_FALSE(key.contains("d"));
}

}  // namespace
}  // namespace workflow::engine
