// src/cli/commands.h: the table of everything that `deis` can do. Each *_commands.cpp holds its rows and their
// handlers.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/grammar.h"

namespace workflow::cli {

struct Resource {
  std::string_view name;          // "apps"
  std::string_view title;         // "Valid commands for <title>:"
  std::string_view summary;       // for `deis help`
  std::string_view default_verb;  // of the bare name; "": it lists its commands
};
struct Shortcut {
  std::string_view name, command;
};

const std::vector<Resource>& resources();
std::span<const Shortcut> shortcuts();  // sorted
const std::vector<Command>& commands();
const Resource* find_resource(std::string_view name);
const Command* find_command(std::string_view name);

std::vector<Command> auth_commands();
std::vector<Command> app_commands();
std::vector<Command> deploy_commands();  // builds, releases, processes
std::vector<Command> config_commands();  // config, limits, registry, tags, timeouts
std::vector<Command> healthcheck_commands();
std::vector<Command> settings_commands();  // autoscale, labels, maintenance, routing, tls, whitelist
std::vector<Command> access_commands();    // keys, perms, users
std::vector<Command> network_commands();   // certs, domains, services
std::vector<Command> local_commands();     // git, shortcuts, version

inline constexpr Option app_option = {'a', "app", "<app>",
                                      "the app; default: the one of the git remote, else the current folder's name"};
inline constexpr Option limit_option = {'l', "limit", "<num>", "the most results to show"};

// "web=2" → {"web", "2"}; nullopt without "=" or with nothing before it.
std::optional<std::pair<std::string, std::string>> parse_assignment(std::string_view text);

}  // namespace workflow::cli
