#include "cli/help.h"

#include <algorithm>

namespace workflow::cli {
namespace {

std::string row(std::string_view name, std::string_view text, std::size_t column) {
  std::string out = "  " + std::string(name);
  out.append(out.size() < column - 1 ? column - 1 - out.size() : 1, ' ');
  return out + std::string(text) + "\n";
}

std::string block(std::string_view name, std::string_view text) {
  return "  " + std::string(name) + "\n    " + std::string(text) + "\n";
}

std::string option_name(const Option& option) {
  std::string out = option.letter ? "-" + std::string(1, option.letter) + " " : "";
  out += "--" + std::string(option.name);
  return option.value.empty() ? out : out + "=" + std::string(option.value);
}

}  // namespace

std::string program_help(std::string_view program) {
  const std::string deis(program);
  std::string out = "\nThe Workflow command-line client issues API calls to a Workflow controller.\n\nUsage: " + deis +
                    " <command> [<args>...]\n\nOptions:\n"
                    "  -h --help\n    show this help\n"
                    "  -v --version\n    show the client's version\n"
                    "  -c --config=<config>\n    profile to use: a name in ~/.deis, or a path [default: client]\n"
                    "\nAuth commands, use '" +
                    deis + " help auth' to learn more:\n\n";
  for (const std::string_view name : {"register", "login", "logout"}) {
    out += row(name, find_command("auth:" + std::string(name))->summary, 16);
  }
  out += "\nSubcommands, use '" + deis + " help [subcommand]' to learn more:\n\n";
  for (const auto& resource : resources()) out += row(resource.name, resource.summary, 16);
  out += "\nShortcut commands, use '" + deis + " shortcuts' to see all:\n\n";
  for (const auto& shortcut : shortcuts()) {
    if (shortcut.name.find(':') == std::string_view::npos && !shortcut.command.starts_with("auth:")) {
      out += row(shortcut.name, find_command(shortcut.command)->summary, 16);
    }
  }
  return out + "\nUse 'git push deis master' to deploy to an application.\n";
}

std::string resource_help(std::string_view program, const Resource& resource) {
  const std::string prefix = std::string(resource.name) + ":";
  std::size_t longest = 0;
  for (const auto& command : commands()) {
    if (command.name.starts_with(prefix)) longest = std::max(longest, command.name.size());
  }
  std::string out = "\nValid commands for " + std::string(resource.title) + ":\n\n";
  for (const auto& command : commands()) {
    if (!command.name.starts_with(prefix)) continue;
    out += std::string(command.name) + std::string(longest + 4 - command.name.size(), ' ') +
           std::string(command.summary) + "\n";
  }
  return out + "\nUse '" + std::string(program) + " help [command]' to learn more.\n";
}

std::string command_help(std::string_view program, const Command& command) {
  std::string out = std::string(command.description) + "\n\n" + usage_line(program, command) + "\n";
  if (!command.operands.empty()) {
    out += "\nArguments:\n";
    for (const auto& operand : command.operands) out += block(operand.name, operand.help);
  }
  if (!command.options.empty()) {
    out += "\nOptions:\n";
    for (const auto& option : command.options) out += block(option_name(option), option.help);
  }
  return out;
}

}  // namespace workflow::cli
