#include "builder/command.h"

#include <algorithm>
#include <optional>

namespace workflow::builder {
namespace {

// The argument of a git command, which git quotes for a shell. A quote or a backslash inside is no app's name.
std::optional<std::string_view> unquoted(std::string_view text) {
  if (text.size() >= 2 && text.front() == '\'' && text.back() == '\'') text = text.substr(1, text.size() - 2);
  if (text.empty() || text.find_first_of("'\"\\ \n") != std::string_view::npos) return std::nullopt;
  return text;
}

std::string_view repository_name(std::string_view path) {
  while (path.starts_with('/')) path.remove_prefix(1);
  while (path.ends_with('/')) path.remove_suffix(1);
  if (path.ends_with(".git")) path.remove_suffix(4);
  return path;
}

}  // namespace

Command parse_command(std::string_view text) {
  if (text == "ping") return Ping{};
  if (text.empty()) return RefusedCommand{"There is no shell here, only git."};
  const auto space = text.find(' ');
  const auto verb = text.substr(0, space);
  if (verb == "git-upload-archive") return RefusedCommand{"There are no archives here: clone the app instead", true};
  if (verb != "git-receive-pack" && verb != "git-upload-pack")
    return RefusedCommand{"There is no shell here, only git."};
  if (space == std::string_view::npos) return RefusedCommand{"No app was named: use ssh://…/<app>.git", true};
  const auto argument = text.substr(space + 1);
  const auto path = unquoted(argument);
  const auto app = path ? AppName::parse(repository_name(*path)) : std::nullopt;
  if (!app) return RefusedCommand{"\"" + shown(argument) + "\" does not name an app: use ssh://…/<app>.git", true};
  if (verb == "git-upload-pack") return UploadPack{*app};
  return ReceivePack{*app};
}

std::string shown(std::string_view text) {
  std::string out(text.substr(0, 80));
  std::ranges::replace_if(out, [](char c) { return c < ' ' || c > '~'; }, '?');
  return out;
}

}  // namespace workflow::builder
