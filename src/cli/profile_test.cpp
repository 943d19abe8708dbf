#include "cli/profile.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "lib/base/error.h"
#include "lib/base/file.h"

namespace workflow::cli {
namespace {

TEST(Profile, is_found_by_name_or_path) {
  const auto deis = identity_of("deis");
  const std::pair<std::string, std::string> cases[] = {
      {"client", "/home/maya/.deis/client.json"},
      {"prod.json", "/home/maya/.deis/prod.json.json"},
      {"", "/home/maya/.deis/.json"},
      {"./prod.json", "./prod.json"},
      {"/etc/x.json", "/etc/x.json"},
      {"a/b", "/home/maya/.deis/a/b.json"},
  };
  for (const auto& [name, path] : cases) EXPECT_EQ(profile_path(deis, name, "/home/maya").string(), path) << name;
}

TEST(Profile, is_the_originals_file) {
  const Profile maya{"maya", true, "http://deis.apps.example.net", "9f", 0};
  const std::string text =
      R"({"username":"maya","ssl_verify":true,"controller":"http://deis.apps.example.net","token":"9f","response_limit":0})";
  EXPECT_EQ(print_profile(maya), text);
  EXPECT_EQ(parse_profile(text), maya);
  EXPECT_EQ(parse_profile("{}"), Profile{});
  EXPECT_TRUE(parse_profile("{}")->ssl_verify);
  EXPECT_FALSE(parse_profile("[]"));
  EXPECT_FALSE(parse_profile("{"));
}

TEST(Profile, is_saved_for_its_user_only) {
  TemporaryFolder home;
  const auto folder = home.path() / ".deis";
  save_profile(folder / "client.json", folder, {.username = "maya"});
  struct stat status{};
  ASSERT_EQ(::stat((folder / "client.json").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  ASSERT_EQ(::stat(folder.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  EXPECT_EQ(find_profile(folder / "client.json")->username, "maya");
  EXPECT_FALSE(find_profile(folder / "other.json"));
  EXPECT_THROW(save_profile(home.path() / "none" / "x.json", folder, {}), Error);
}

TEST(ControllerUrl, gets_a_scheme_and_a_lower_case_host) {
  const std::pair<std::string, std::string> cases[] = {
      {"deis.example.com", "http://deis.example.com"},
      {"HTTPS://Deis.Example.com:8443/Path", "https://deis.example.com:8443/Path"},
      {"localhost:8000", "http://localhost:8000"},
      {"10.0.0.5", "http://10.0.0.5"},
      {"http://[::1]:8000", "http://[::1]:8000"},
      {"foo", "host \"foo\": invalid host"},
      {"", "host \"\": empty host"},
      {"http://a b.c", "host \"a b.c\": invalid host"},
      {"ftp://deis.example.com", "scheme \"ftp\": use http:// or https://"},
      {"deis.example.com:http", "port \"http\": must be a number from 1 to 65535"},
  };
  for (const auto& [typed, expected] : cases) {
    std::string got;
    try {
      got = controller_url(typed);
    } catch (const Error& error) {
      got = error.message();
    }
    EXPECT_EQ(got, expected) << typed;
  }
}

}  // namespace
}  // namespace workflow::cli
