#include "controller/hephy/takeover.h"

#include <gtest/gtest.h>

namespace workflow::controller::hephy {
namespace {

using Cells = std::vector<std::optional<std::string>>;

// The least that is a platform: a user, an app, its config, its first release.
Dump smallest() {
  Dump dump;
  dump["auth_user"] = {{"id", "username", "password"}, {Cells{"1", "alice", "pbkdf2_sha256$1$a$b"}}};
  dump["api_app"] = {{"uuid", "id", "owner_id", "structure"}, {Cells{"u1", "peachy", "1", "{\"web\": 1}"}}};
  dump["api_config"] = {{"uuid", "app_id", "values"}, {Cells{"c1", "u1", "{\"A\": \"b\", \"PORT\": 5000}"}}};
  dump["api_release"] = {{"uuid", "app_id", "version"}, {Cells{"r1", "u1", "1"}}};
  return dump;
}

json::object first(const Takeover& takeover, const std::string& table) {
  return takeover.rows.at(table).at(0).as_object();
}

TEST(Takeover, has_what_the_dump_has_and_nulls_for_the_rest) {
  const auto takeover = takeover_of(smallest());
  EXPECT_TRUE(takeover.problems.empty());
  EXPECT_EQ(first(takeover, "auth_user").at("username"), "alice");
  EXPECT_TRUE(first(takeover, "auth_user").at("email").is_null());
  EXPECT_EQ(first(takeover, "api_app").at("procfile_structure"), "{}");
  EXPECT_TRUE(takeover.rows.at("api_tls").empty());
}

TEST(Takeover, makes_text_of_all_values_of_a_config) {
  EXPECT_EQ(first(takeover_of(smallest()), "api_config").at("values"), "{\"A\":\"b\",\"PORT\":\"5000\"}");
}

TEST(Takeover, names_tables_that_are_missing_and_values_that_are_none) {
  auto dump = smallest();
  dump.erase("api_release");
  dump["api_app"].rows.push_back({"u2", "Not An App", "1", "[]"});
  const auto takeover = takeover_of(dump);
  ASSERT_EQ(takeover.problems.size(), 3u);
  EXPECT_EQ(takeover.problems[0], "the dump has no table api_release; dump the original's whole database, with COPY");
  EXPECT_EQ(takeover.problems[1], "app \"Not An App\": its name cannot be that of an app here");
  EXPECT_EQ(takeover.problems[2], "api_app u2: structure is not a JSON object");
}

TEST(Takeover, leaves_out_keys_and_certificates_that_cannot_be_used_and_nobodys_user) {
  auto dump = smallest();
  dump["auth_user"].rows.push_back({"2", "AnonymousUser", ""});
  dump["api_key"] = {
      {"id", "public"},
      {Cells{"good", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGdvb2Rnb29kZ29vZGdvb2Rnb29kZ29vZGdvb2Rnb29k a@b"},
       Cells{"bad", "ssh-rsa !"}}};
  dump["api_certificate"] = {{"name", "certificate", "key"}, {Cells{"torn", "-----BEGIN CERTIFICATE-----", ""}}};
  const auto takeover = takeover_of(dump);
  EXPECT_EQ(takeover.rows.at("auth_user").size(), 1u);
  ASSERT_EQ(takeover.rows.at("api_key").size(), 1u);
  EXPECT_TRUE(first(takeover, "api_key").at("sha256").as_string().starts_with("SHA256:"));
  EXPECT_EQ(takeover.left_out,
            (std::vector<std::string>{"certificate torn: certificate and key are not a pair that can be read",
                                      "key bad: it is not a public key that can log in"}));
}

TEST(Takeover, keeps_tokens_only_as_their_hash) {
  auto dump = smallest();
  dump["authtoken_token"] = {{"key", "user_id"}, {Cells{"abc", "1"}}};
  const auto token = first(takeover_of(dump), "authtoken_token");
  EXPECT_EQ(token.at("hash"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_TRUE(token.at("key").is_null());
}

TEST(Takeover, knows_the_slugs_that_builds_are) {
  auto dump = smallest();
  dump["api_build"] = {
      {"uuid", "image"},
      {Cells{"b1", "home/peachy:git-01234567/push/slug.tgz"}, Cells{"b2", "home/peachy:git-89abcdef/push"},
       Cells{"b3", "registry.example.com/peachy:v3"}, Cells{"b4", "home/peachy:git-01234567/push/slug.tgz"}}};
  EXPECT_EQ(takeover_of(dump).slugs, (std::vector<std::string>{"home/peachy:git-01234567/push/slug.tgz",
                                                               "home/peachy:git-89abcdef/push/slug.tgz"}));
}

}  // namespace
}  // namespace workflow::controller::hephy
