#include "cli/dispatch.h"

#include <gtest/gtest.h>

#include <set>

#include "cli/help.h"
#include "cli/identity.h"
#include "lib/base/text.h"

namespace workflow::cli {
namespace {

std::string described(const std::string& line) {
  const auto made = plan("deis", split(line, ' '));
  if (const auto* call = std::get_if<RunCommand>(&made)) {
    auto words = call->words;
    words.insert(words.begin(), std::string(call->command->name));
    return join(words, " ");
  }
  if (const auto* plugin = std::get_if<RunPlugin>(&made)) {
    return "plugin " + plugin->executable + (plugin->words.empty() ? "" : " " + join(plugin->words, " "));
  }
  if (const auto* help = std::get_if<ShowResourceHelp>(&made)) return "list " + std::string(help->resource->name);
  if (const auto* refusal = std::get_if<Refuse>(&made)) return "refuse " + refusal->text;
  return "help";
}

TEST(Dispatch, finds_what_the_words_ask_for) {
  const std::pair<std::string, std::string> cases[] = {
      {"", "refuse Usage: deis <command> [<args>...]\n"},
      {"-h", "help"},
      {"--help", "help"},
      {"help", "help"},
      {"-v", "version"},
      {"--version", "version"},
      {"version -a", "version -a"},
      {"help version", "version --help"},
      {"help ps:scale", "ps:scale --help"},
      {"help apps", "list apps"},
      {"help scale", "ps:scale --help"},
      {"apps", "apps:list"},
      {"apps -l 5", "apps:list -l 5"},
      {"apps -h", "list apps"},
      {"apps -l 3 -h", "apps:list -l 3 -h"},
      {"tls -a x", "tls:info -a x"},
      {"tls:auto -a x", "tls:auto -a x"},
      {"tls:auto:disable", "tls:auto:disable"},
      {"auth anything", "list auth"},
      {"git", "list git"},
      {"create shop", "apps:create shop"},
      {"sharing:add sam", "perms:create sam"},
      {"pull x/y", "builds:create x/y"},
      {"foo", "plugin deis-foo"},
      {"foo:bar --x y", "plugin deis-foo bar --x y"},
      {"foo:bar:baz", "plugin deis-foo bar:baz"},
      {"help foo:bar", "plugin deis-foo bar --help"},
      {"foo -c prod", "plugin deis-foo -c prod"},
      {"-c prod apps", "refuse -c requires argument\nUsage: deis <command> [<args>...]\n"},
      {"perms:bogus-verb-of-ours",
       "refuse Found no matching command, try 'deis help'\nUsage: deis <command> [<args>...]\n"},
      {"apps:creat",
       "refuse Found no matching command, try 'deis help'\nUsage: deis <command> [<args>...]\nDid you mean 'deis "
       "apps:create'?\n"},
  };
  for (const auto& [line, expected] : cases) EXPECT_EQ(described(line), expected) << line;
}

TEST(Commands, are_complete) {
  EXPECT_EQ(resources().size(), 26u);
  EXPECT_EQ(shortcuts().size(), 18u);
  EXPECT_EQ(commands().size(), 86u);
  std::set<std::string_view> names;
  for (const auto& command : commands()) {
    EXPECT_TRUE(names.insert(command.name).second) << command.name;
    EXPECT_NE(command.run, nullptr) << command.name;
    EXPECT_FALSE(command.summary.empty() || command.description.empty()) << command.name;
    const auto usage = usage_line("deis", command);
    for (const auto& name : command.required)
      EXPECT_NE(usage.find("--" + std::string(name)), std::string::npos) << usage;
    for (const auto& operand : command.operands) EXPECT_NE(usage.find(operand.name), std::string::npos) << usage;
  }
  for (const auto& resource : resources()) {
    if (!resource.default_verb.empty()) {
      EXPECT_NE(find_command(std::string(resource.name) + ":" + std::string(resource.default_verb)), nullptr);
    }
  }
  for (const auto& shortcut : shortcuts()) EXPECT_NE(find_command(shortcut.command), nullptr) << shortcut.name;
}

TEST(Help, begins_with_the_words_that_scripts_look_for) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"config:list", "Lists environment variables for an application."},
      {"config:set", "Sets environment variables for an application."},
      {"config:unset", "Unsets an environment variable for an application."},
      {"config:pull", "Extract all environment variables from an application for local use."},
      {"config:push", "Sets environment variables for an application."},
      {"healthchecks:list", "Lists healthchecks for an application."},
      {"healthchecks:set", "Sets healthchecks for an application."},
      {"healthchecks:unset", "Unsets healthchecks for an application."},
      {"labels:list", "Prints a list of labels of the application."},
      {"labels:set", "Sets labels for an application."},
      {"labels:unset", "Unsets labels for an application."},
      {"registry:list", "Lists registry information for an application."},
      {"registry:set", "Sets registry information for an application."},
      {"registry:unset", "Unsets registry information for an application."},
      {"routing:info", "Prints info about the current application's routability."},
      {"routing:enable", "Enables routability for an app."},
      {"routing:disable", "Disables routability for an app."},
      {"tags:list", "Lists tags for an application."},
      {"tags:set", "Sets tags for an application."},
      {"tags:unset", "Unsets tags for an application."},
  };
  for (const auto& [name, text] : cases) {
    EXPECT_TRUE(command_help("deis", *find_command(name)).starts_with(text)) << name;
  }
  EXPECT_TRUE(
      resource_help("deis", *find_resource("keys")).starts_with("\nValid commands for SSH keys:\n\nkeys:list      "));
  EXPECT_TRUE(resource_help("deis", *find_resource("ps")).starts_with("\nValid commands for processes:\n\n"));
  EXPECT_TRUE(program_help("deis").starts_with("\n"));
}

TEST(Identity, follows_from_the_name_of_the_file) {
  EXPECT_EQ(identity_of("/usr/bin/deis"), (Identity{"deis", "DEIS_PROFILE", "deis", ".deis"}));
  EXPECT_EQ(identity_of("Hephy.exe"), (Identity{"Hephy.exe", "HEPHY_PROFILE", "hephy", ".hephy"}));
  EXPECT_EQ(identity_of("./my_deis-2"), (Identity{"my_deis-2", "MY_DEIS_2_PROFILE", "my-deis-2", ".my-deis-2"}));
}

}  // namespace
}  // namespace workflow::cli
