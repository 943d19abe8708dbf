#include "slugrunner/process_types.h"

#include <gtest/gtest.h>

#include "lib/base/error.h"

namespace workflow::slugrunner {
namespace {

std::string command(const std::string& type, const std::optional<std::string>& procfile, const std::string& release) {
  try {
    return command_of(type, procfile, procfile::parse_release(release));
  } catch (const Error& error) {
    return std::string("error: ") + error.what();
  }
}

TEST(CommandOf, prefers_the_procfile_to_the_buildpacks_default) {
  const std::string release = "default_process_types:\n  web: npm start\n  rake: rake\n";
  struct Case {
    std::string type;
    std::optional<std::string> procfile;
    std::string release, expected;
  };
  const Case cases[] = {
      {"web", "web: python app.py\n", release, "python app.py"},
      {"web", std::nullopt, release, "npm start"},
      {"rake", "web: python app.py\n", release, "rake"},
      {"web", "web: \"a: b\"\n", "", "a: b"},
      {"web", "web: bundle exec puma -p $PORT\nworker: x\n", "", "bundle exec puma -p $PORT"},
      {"nosuch", "web: x\n", release, "error: Proc entrypoint nosuch does not exist. Please check your Procfile"},
      {"web", std::nullopt, "", "error: Proc entrypoint web does not exist. Please check your Procfile"},
      {"web", "web:\n", "--- {}", "error: Proc entrypoint web does not exist. Please check your Procfile"},
      {"web", "web: MSG=\"a: b\" OPT=\"x # y\" python3 server.py --opt a: b\n", "",
       "MSG=\"a: b\" OPT=\"x # y\" python3 server.py --opt a: b"},
      {"web", "web: old\nweb: new\n", "", "new"},
      {"web", "- list\n", "", "error: Procfile line 1 must be of the form \"web: command\""},
  };
  for (const auto& [type, procfile, from_release, expected] : cases) {
    EXPECT_EQ(command(type, procfile, from_release), expected);
  }
}

TEST(AppEnvironment, lacks_the_slugs_url_and_has_a_port) {
  const auto env = app_environment({{"SLUG_URL", "http://x"}, {"A", "1"}, {"HOME", "/root"}}, {}, "/app");
  EXPECT_EQ(env, (std::map<std::string, std::string>{{"A", "1"}, {"HOME", "/app"}, {"PORT", "5000"}}));
}

TEST(AppEnvironment, takes_the_buildpacks_variables_only_where_none_is_set) {
  const auto release = procfile::parse_release("config_vars:\n  A: pack\n  B: pack\n  N: 5\n");
  const auto env = app_environment({{"A", "mine"}, {"PORT", "80"}}, release, "/app");
  EXPECT_EQ(env.at("A"), "mine");
  EXPECT_EQ(env.at("B"), "pack");
  EXPECT_EQ(env.at("N"), "5");
  EXPECT_EQ(env.at("PORT"), "80");
}

}  // namespace
}  // namespace workflow::slugrunner
