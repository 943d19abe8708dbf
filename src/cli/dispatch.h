// src/cli/dispatch.h: what the words after the program's name ask for.
#pragma once
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "cli/commands.h"

namespace workflow::cli {

struct ShowProgramHelp {};
struct ShowResourceHelp {
  const Resource* resource;
};
struct RunCommand {
  const Command* command;
  std::vector<std::string> words;
};
struct RunPlugin {
  std::string executable;  // looked up in PATH
  std::vector<std::string> words;
};
struct Refuse {
  std::string text;  // for standard error
};
using Plan = std::variant<ShowProgramHelp, ShowResourceHelp, RunCommand, RunPlugin, Refuse>;

Plan plan(std::string_view program, std::vector<std::string> words);
std::string no_match(std::string_view program);  // what to say when there is no such plugin either
// The closest name to `word`, if it is close.
std::string_view nearest(std::string_view word, const std::vector<std::string_view>& names);

}  // namespace workflow::cli
