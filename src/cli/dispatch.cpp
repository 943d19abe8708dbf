#include "cli/dispatch.h"

#include <algorithm>

namespace workflow::cli {
namespace {

bool is_help(std::string_view word) { return word == "-h" || word == "--help"; }

std::string usage(std::string_view program) { return "Usage: " + std::string(program) + " <command> [<args>...]\n"; }

// Levenshtein's distance.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const auto above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

Plan unknown_verb(std::string_view program, std::string_view word, const Resource& resource) {
  const std::string prefix = std::string(resource.name) + ":";
  std::vector<std::string_view> verbs;
  for (const auto& command : commands()) {
    if (command.name.starts_with(prefix)) verbs.push_back(command.name.substr(prefix.size()));
  }
  auto text = no_match(program);
  if (const auto verb = nearest(word.substr(prefix.size()), verbs); !verb.empty()) {
    text += "Did you mean '" + std::string(program) + " " + prefix + std::string(verb) + "'?\n";
  }
  return Refuse{std::move(text)};
}

}  // namespace

std::string no_match(std::string_view program) {
  return "Found no matching command, try '" + std::string(program) + " help'\n" + usage(program);
}

std::string_view nearest(std::string_view word, const std::vector<std::string_view>& names) {
  std::string_view best;
  std::size_t least = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const auto name : names) {
    if (const auto d = distance(word, name); d < least) {
      least = d;
      best = name;
    }
  }
  return best;
}

Plan plan(std::string_view program, std::vector<std::string> words) {
  if (words.size() == 1 && is_help(words[0])) words[0] = "help";
  if (words.size() == 1 && (words[0] == "-v" || words[0] == "--version")) words[0] = "version";
  if (words.size() > 1 && (words[0] == "help" || is_help(words[0]))) {
    words.erase(words.begin());
    words.emplace_back("--help");
  }
  if (words.empty()) return Refuse{usage(program)};
  for (const auto& shortcut : shortcuts()) {
    if (words[0] == shortcut.name) {
      words[0] = shortcut.command;
      break;
    }
  }
  const std::string word = words[0];
  if (word.starts_with('-')) return Refuse{(word == "-c" ? "-c requires argument\n" : "") + usage(program)};
  words.erase(words.begin());
  if (word == "help") return ShowProgramHelp{};

  const auto colon = word.find(':');
  const auto* resource = find_resource(std::string_view(word).substr(0, colon));
  if (!resource) {
    if (colon != std::string::npos) words.insert(words.begin(), word.substr(colon + 1));
    return RunPlugin{std::string(program) + "-" + word.substr(0, colon), std::move(words)};
  }
  if (colon == std::string::npos) {
    if (const auto* command = find_command(word)) return RunCommand{command, std::move(words)};  // version
    if (resource->default_verb.empty() || (!words.empty() && is_help(words[0]))) return ShowResourceHelp{resource};
    return RunCommand{find_command(word + ":" + std::string(resource->default_verb)), std::move(words)};
  }
  if (const auto* command = find_command(word)) return RunCommand{command, std::move(words)};
  return unknown_verb(program, word, *resource);
}

}  // namespace workflow::cli
