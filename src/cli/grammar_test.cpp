#include "cli/grammar.h"

#include <gtest/gtest.h>

#include "cli/commands.h"

namespace workflow::cli {
namespace {

Parsed parse_line(std::string_view command, std::vector<std::string> words) {
  return parse("deis", *find_command(command), words);
}

std::string mistake(std::string_view command, std::vector<std::string> words) {
  try {
    parse_line(command, std::move(words));
  } catch (const Failure& failure) {
    return failure.text;
  }
  return "";
}

TEST(Grammar, takes_every_spelling_of_an_option) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"--app=x"}, {"--app", "x"}, {"-a", "x"}, {"-ax"}, {"--ap=x"}}) {
    EXPECT_EQ(parse_line("config:list", words).arguments.option("app"), "x");
  }
  EXPECT_EQ(parse_line("apps:list", {"-l", "-1"}).arguments.option("limit"), "-1");
  EXPECT_EQ(parse_line("apps:list", {"--lim", "2"}).arguments.option("limit"), "2");
  EXPECT_EQ(parse_line("apps:destroy", {"--conf=x"}).arguments.option("confirm"), "x");
  EXPECT_TRUE(parse_line("config:pull", {"-io"}).arguments.flag("overwrite"));
}

TEST(Grammar, takes_options_anywhere) {
  const auto parsed = parse_line("apps:run", {"ls", "-a", "shop", "etc"});
  EXPECT_EQ(parsed.arguments.option("app"), "shop");
  EXPECT_EQ(parsed.arguments.operands(), (std::vector<std::string>{"ls", "etc"}));
  const auto probe =
      parse_line("healthchecks:set", {"-a", "x", "liveness", "exec", "--", "/bin/true", "--type", "cmd"});
  EXPECT_EQ(probe.arguments.operands(), (std::vector<std::string>{"liveness", "exec", "/bin/true", "--type", "cmd"}));
}

TEST(Grammar, says_what_is_wrong_in_docopts_words) {
  const std::string list = "Usage: deis apps:list [options]\n";
  EXPECT_EQ(mistake("apps:list", {"-l"}), "-l requires argument\n" + list);
  EXPECT_EQ(mistake("apps:list", {"--limit"}), "--limit requires argument\n" + list);
  EXPECT_EQ(mistake("apps:list", {"-l", "1", "--limit=2"}), list);
  EXPECT_EQ(mistake("apps:list", {"--bogus"}), list);
  EXPECT_EQ(mistake("apps:list", {"surplus"}), list);
  EXPECT_EQ(mistake("apps:transfer", {}), "Usage: deis apps:transfer <username> [options]\n");
  EXPECT_EQ(mistake("version", {"--all=true"}), "--all must not have an argument\nUsage: deis version [options]\n");
  EXPECT_TRUE(
      mistake("healthchecks:set", {"--t=1"}).starts_with("--t is not a unique prefix: --type, --timeout-seconds?\n"));
  EXPECT_NE(mistake("autoscale:set", {"web", "--min=1", "--max=2"}), "");
  EXPECT_NE(mistake("perms:list", {"--limit=2"}), "");
  EXPECT_NE(mistake("perms:create", {"sam", "-a", "x", "--admin"}), "");
  EXPECT_NE(mistake("limits:unset", {"web", "--cpu", "-m"}), "");
}

TEST(Grammar, shows_usage_lines_as_the_original) {
  const std::pair<std::string_view, std::string_view> lines[] = {
      {"apps:create", "[<id>] [options]"},
      {"apps:run", "[options] [--] <command>..."},
      {"autoscale:set", "<process-type> --min=<min> --max=<max> --cpu-percent=<percent> [options]"},
      {"config:set", "<var>=<value> [<var>=<value>...] [options]"},
      {"healthchecks:set", "<health-type> <probe-type> [options] [--] <args>..."},
      {"healthchecks:unset", "[options] <health-type>..."},
      {"limits:unset", "[options] [--memory | --cpu] <type>..."},
      {"perms:list", "[-a --app=<app>|--admin|--admin --limit=<num>]"},
      {"perms:create", "<username> [-a --app=<app>|--admin]"},
      {"perms:delete", "<username> [-a --app=<app>|--admin]"},
      {"ps:scale", "<type>=<num>... [options]"},
      {"services:add", "--type <procfile_type> --route <path_pattern> [options]"},
      {"tags:set", "[options] <key>=<value>..."},
  };
  for (const auto& [name, line] : lines) {
    EXPECT_EQ(usage_line("deis", *find_command(name)), "Usage: deis " + std::string(name) + " " + std::string(line));
  }
}

TEST(Grammar, lets_help_win_over_every_mistake) {
  EXPECT_TRUE(parse_line("apps:list", {"surplus", "--bogus", "-h"}).help);
  EXPECT_TRUE(parse_line("apps:transfer", {"--help"}).help);
  EXPECT_FALSE(parse_line("apps:run", {"--", "ls", "--help"}).help);
}

TEST(Grammar, leaves_the_profile_option_of_a_program_to_the_program) {
  EXPECT_EQ(parse_line("apps:list", {"-c", "prod", "-c", "other"}).profile, "prod");
  EXPECT_EQ(parse_line("apps:list", {"--config=prod"}).profile, "prod");
  EXPECT_NE(mistake("apps:list", {"--config", "prod"}), "");
  const auto after = parse_line("apps:run", {"--", "sh", "-c", "echo hi"});
  EXPECT_FALSE(after.profile);
  EXPECT_EQ(after.arguments.operands(), (std::vector<std::string>{"sh", "-c", "echo hi"}));
  const auto bare = parse_line("apps:run", {"-c", "prod", "sh", "-c", "x"});
  EXPECT_EQ(bare.profile, "prod");
  EXPECT_EQ(bare.arguments.operands(), (std::vector<std::string>{"sh", "-c", "x"}));
}

}  // namespace
}  // namespace workflow::cli
