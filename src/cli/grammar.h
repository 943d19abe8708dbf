// src/cli/grammar.h: what a command accepts, and the parser of its words.
//   Our own and not CLI11, because scripts rely on docopt's rules, which CLI11 cannot be talked into: an option given
//   twice is an error, values may begin with "-", long options may be shortened, and each mistake has fixed words.
#pragma once
#include <algorithm>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace workflow::cli {

class Session;
class Arguments;

struct Option {
  char letter = 0;              // 0: long form only
  std::string_view name;        // without dashes
  std::string_view value = {};  // placeholder of its value; empty: a flag
  std::string_view help = {};
};

enum class Count { one, optional, many };
struct Operand {
  std::string_view name;  // "<app>"
  Count count = Count::one;
  std::string_view help = {};
};

struct Command {
  std::string_view name;         // "apps:create"
  std::string_view summary;      // for the list of a resource's commands
  std::string_view description;  // first paragraph of its help
  std::vector<Operand> operands = {};
  std::vector<Option> options = {};
  std::vector<std::string_view> required = {};                                // options without which nothing works
  std::vector<std::pair<std::string_view, std::string_view>> exclusive = {};  // not together
  std::vector<std::pair<std::string_view, std::string_view>> needs = {};      // first only with second
  bool takes_command_line = false;  // from its first operand on, -c belongs to the operands
  std::string_view usage = {};      // what follows the name in the usage line, where the above does not say it
  int (*run)(Session&, const Arguments&) = nullptr;
};

// The words of one call, sorted.
class Arguments {
 public:
  bool flag(std::string_view name) const { return options_.contains(name); }
  std::optional<std::string> option(std::string_view name) const;  // nullopt when absent
  std::string option_or(std::string_view name, std::string_view fallback) const;
  const std::vector<std::string>& operands() const { return operands_; }
  const std::string& operand(std::size_t index) const { return operands_.at(index); }
  // How many operands, counted from the first, came before "--" or, for a command line, before its first -c.
  std::size_t loose_operands() const { return std::min(loose_operands_, operands_.size()); }

 private:
  friend struct ArgumentParser;
  std::map<std::string, std::string, std::less<>> options_;
  std::vector<std::string> operands_;
  std::size_t loose_operands_ = std::string::npos;
};

struct Parsed {
  Arguments arguments;
  std::optional<std::string> profile;  // of -c or --config=
  bool help = false;
};

// What standard error shows before the exit status; unlike Error, without a prefix of ours.
struct Failure {
  std::string text;
  int status = 1;
};

std::string usage_line(std::string_view program, const Command& command);  // "Usage: deis apps:list [options]"
// Throws Failure with the reason, if there is one to tell, and the usage line.
Parsed parse(std::string_view program, const Command& command, std::span<const std::string> words);

}  // namespace workflow::cli
