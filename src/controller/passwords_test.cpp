#include "controller/passwords.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

namespace workflow::controller {
namespace {

// hashlib.scrypt(b"secret-1", salt=b"0123456789abcdef", n=16384, r=8, p=1, dklen=32): what the first version stored.
const std::string old_hash =
    "scrypt$16384$8$1$30313233343536373839616263646566$"
    "ff8b2d49fff0970d962b9048dbebb5cae34bc049e36e1878ff95623aeaaa2c65";

// The same with another salt and n=16: for checks that are many.
const std::string quick_hash =
    "scrypt$16$8$1$00112233445566778899aabbccddeeff$"
    "92275a49bbf2709e9734b847202939bfb02c7626c259a261b08ce59bfa3d0669";

TEST(Passwords, match_what_was_made_of_them_and_nothing_else) {
  const auto stored = hash_password("secret-1");
  EXPECT_TRUE(password_matches("secret-1", stored));
  EXPECT_FALSE(password_matches("secret-2", stored));
  EXPECT_FALSE(password_matches("", stored));
  EXPECT_NE(stored, hash_password("secret-1"));  // another salt
  EXPECT_EQ(stored.find("secret"), std::string::npos);
  EXPECT_TRUE(stored.starts_with("scrypt$16384$8$5$"));
}

TEST(Passwords, of_an_older_cost_still_match_and_are_known) {
  EXPECT_TRUE(password_matches("secret-1", old_hash));
  EXPECT_FALSE(password_matches("secret-2", old_hash));
  EXPECT_TRUE(is_cheaply_hashed(old_hash));
  EXPECT_FALSE(is_cheaply_hashed(hash_password("x")));
  EXPECT_FALSE(is_cheaply_hashed(decoy_hash()));
  EXPECT_FALSE(password_matches("", decoy_hash()));
}

TEST(Passwords, of_the_original_match_and_are_cheap) {
  // hashlib.pbkdf2_hmac("sha256", b"secret-1", b"Xa9dF3kQzP0e", 150000), as Django 2.2 writes it.
  const std::string stored = "pbkdf2_sha256$150000$Xa9dF3kQzP0e$1cF9Htk4D9VAj03J7OXsf1e9xJ2YrdrYSogo9FUbvIY=";
  EXPECT_TRUE(password_matches("secret-1", stored));
  EXPECT_FALSE(password_matches("secret-2", stored));
  EXPECT_TRUE(is_cheaply_hashed(stored));
}

TEST(Passwords, that_are_none_match_nothing) {
  const std::string none[] = {"!",
                              "",
                              "pbkdf2_sha256$0$a$" + std::string(43, 'A') + "=",
                              "pbkdf2_sha256$1$a$AA==",
                              "pbkdf2_sha256$x$a$",
                              "scrypt$1$2",
                              "scrypt$x$8$1$00$00",
                              "md5$16384$8$1$00$00"};
  for (const auto& stored : none) {
    EXPECT_FALSE(password_matches("", stored)) << stored;
    EXPECT_FALSE(is_cheaply_hashed(stored)) << stored;
  }
}

TEST(PasswordChecks, answer_as_the_plain_functions_do) {
  // OpenSSL is begun by the main thread, as in the server: it must end after the pool's threads, which then free their
  // part.
  ASSERT_TRUE(password_matches("secret-1", quick_hash));
  asio::io_context context(1);
  PasswordChecks checks(context.get_executor());
  bool right = false, wrong = true;
  std::string made;
  auto check = [&]() -> Task<> {
    right = co_await checks.matches("10.0.0.1", "secret-1", quick_hash);
    wrong = co_await checks.matches("10.0.0.1", "secret-2", quick_hash);
    made = co_await checks.hash("10.0.0.1", "secret-3");
  };
  asio::co_spawn(context.get_executor(), check(), [](const std::exception_ptr&) {});
  context.run();
  EXPECT_TRUE(right);
  EXPECT_FALSE(wrong);
  EXPECT_TRUE(password_matches("secret-3", made));
}

}  // namespace
}  // namespace workflow::controller
