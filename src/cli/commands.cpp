#include "cli/commands.h"

#include <algorithm>

namespace workflow::cli {

const std::vector<Resource>& resources() {
  static const std::vector<Resource> all = {
      {"apps", "apps", "create, look at and remove applications", "list"},
      {"auth", "auth", "accounts: register, log in and out", ""},
      {"autoscale", "autoscale", "let the number of processes follow the load", "list"},
      {"builds", "builds", "see builds, deploy ready images", "list"},
      {"certs", "certs", "TLS certificates of domains", "list"},
      {"config", "config", "environment variables of an application", "list"},
      {"domains", "domains", "host names of an application", "list"},
      {"git", "git", "the git remote that one pushes to", ""},
      {"healthchecks", "healthchecks", "how to tell that processes are well", "list"},
      {"keys", "SSH keys", "SSH keys that may push", "list"},
      {"labels", "labels", "labels of an application", "list"},
      {"limits", "limits", "memory and CPU limits", "list"},
      {"maintenance", "maintenance", "maintenance mode of an application", "info"},
      {"perms", "perms", "who may use an application", "list"},
      {"ps", "processes", "see, scale and restart processes", "list"},
      {"registry", "registry", "credentials for a private image registry", "list"},
      {"releases", "releases", "see releases and go back to one", "list"},
      {"routing", "routing", "whether an application is reachable", "info"},
      {"services", "services", "paths that process types answer", "list"},
      {"shortcuts", "shortcuts", "the short forms of commands", "list"},
      {"tags", "tags", "which nodes an application may run on", "list"},
      {"timeouts", "timeouts", "how long processes may take to stop", "list"},
      {"tls", "tls", "whether HTTPS is required, and automatic certificates", "info"},
      {"users", "users", "everybody who has an account", "list"},
      {"version", "version", "the client's version", ""},
      {"whitelist", "whitelist", "addresses that may reach an application", "list"},
  };
  return all;
}

std::span<const Shortcut> shortcuts() {
  static constexpr Shortcut all[] = {
      {"create", "apps:create"},      {"destroy", "apps:destroy"},        {"info", "apps:info"},
      {"login", "auth:login"},        {"logout", "auth:logout"},          {"logs", "apps:logs"},
      {"open", "apps:open"},          {"passwd", "auth:passwd"},          {"pull", "builds:create"},
      {"register", "auth:register"},  {"rollback", "releases:rollback"},  {"run", "apps:run"},
      {"scale", "ps:scale"},          {"sharing", "perms:list"},          {"sharing:add", "perms:create"},
      {"sharing:list", "perms:list"}, {"sharing:remove", "perms:delete"}, {"whoami", "auth:whoami"},
  };
  return all;
}

const std::vector<Command>& commands() {
  static const std::vector<Command> all = [] {
    std::vector<Command> out;
    for (auto* part : {app_commands, auth_commands, deploy_commands, config_commands, healthcheck_commands,
                       settings_commands, access_commands, network_commands, local_commands}) {
      std::ranges::move(part(), std::back_inserter(out));
    }
    return out;
  }();
  return all;
}

const Resource* find_resource(std::string_view name) {
  const auto found = std::ranges::find(resources(), name, &Resource::name);
  return found == resources().end() ? nullptr : &*found;
}

const Command* find_command(std::string_view name) {
  const auto found = std::ranges::find(commands(), name, &Command::name);
  return found == commands().end() ? nullptr : &*found;
}

std::optional<std::pair<std::string, std::string>> parse_assignment(std::string_view text) {
  const auto equals = text.find('=');
  if (equals == 0 || equals == std::string_view::npos) return std::nullopt;
  return std::pair(std::string(text.substr(0, equals)), std::string(text.substr(equals + 1)));
}

}  // namespace workflow::cli
