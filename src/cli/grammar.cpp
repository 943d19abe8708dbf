#include "cli/grammar.h"

#include <algorithm>

namespace workflow::cli {

std::optional<std::string> Arguments::option(std::string_view name) const {
  const auto found = options_.find(name);
  if (found == options_.end()) return std::nullopt;
  return found->second;
}

std::string Arguments::option_or(std::string_view name, std::string_view fallback) const {
  return option(name).value_or(std::string(fallback));
}

std::string usage_line(std::string_view program, const Command& command) {
  std::string out = "Usage: " + std::string(program) + " " + std::string(command.name);
  if (!command.usage.empty()) return out + " " + std::string(command.usage);
  for (const auto& operand : command.operands) {
    const std::string name(operand.name);
    if (operand.count == Count::one) out += " " + name;
    if (operand.count == Count::optional) out += " [" + name + "]";
    if (operand.count == Count::many) out += " " + name + "...";
  }
  if (!command.options.empty()) out += " [options]";
  return out;
}

// One pass over the words. The first mistake is kept rather than thrown, because a later --help wins over it.
struct ArgumentParser {
  const Command& command;
  std::span<const std::string> words;
  Parsed parsed = {};
  std::optional<std::string> mistake = {};  // its reason; "" when there is none to tell
  std::size_t at = 0;

  void wrong(std::string reason = "") {
    if (!mistake) mistake = std::move(reason);
  }

  void set(const Option& option, std::string value) {
    if (!parsed.arguments.options_.emplace(option.name, std::move(value)).second) wrong();
  }

  // An exact name wins; else every option that begins with it.
  std::vector<const Option*> long_options(std::string_view name) const {
    std::vector<const Option*> found;
    for (const auto& option : command.options) {
      if (option.name == name) return {&option};
      if (option.name.starts_with(name)) found.push_back(&option);
    }
    return found;
  }

  void take_long(std::string_view word) {
    const auto equals = word.find('=');
    const auto name = word.substr(2, equals == std::string_view::npos ? equals : equals - 2);
    const bool has_value = equals != std::string_view::npos;
    if (name == "config" && has_value) {
      take_profile(std::string(word.substr(equals + 1)));
      return;
    }
    const auto found = long_options(name);
    if (found.empty() && std::string_view("help").starts_with(name)) {
      parsed.help = true;
      return;
    }
    if (found.empty()) return wrong();
    if (found.size() > 1) {
      std::string reason = "--" + std::string(name) + " is not a unique prefix: ";
      for (const auto* option : found) reason += (option == found[0] ? "--" : ", --") + std::string(option->name);
      return wrong(reason + "?");
    }
    const auto& option = *found[0];
    const std::string shown = "--" + std::string(option.name);
    if (option.value.empty()) {
      if (has_value) return wrong(shown + " must not have an argument");
      return set(option, "");
    }
    if (has_value) return set(option, std::string(word.substr(equals + 1)));
    if (at == words.size()) return wrong(shown + " requires argument");
    set(option, words[at++]);
  }

  void take_short(std::string_view word) {
    for (std::size_t i = 1; i < word.size(); ++i) {
      const char letter = word[i];
      const auto option = std::ranges::find(command.options, letter, &Option::letter);
      const bool known = option != command.options.end();
      const bool profile = letter == 'c' && !known;
      if (letter == 'h' && !known) {
        parsed.help = true;
        continue;
      }
      if (!known && !profile) return wrong();
      if (known && option->value.empty()) {
        set(*option, "");
        continue;
      }
      std::string value(word.substr(i + 1));
      if (value.empty()) {
        if (at == words.size()) return wrong("-" + std::string(1, letter) + " requires argument");
        value = words[at++];
      }
      if (profile) return take_profile(std::move(value));
      return set(*option, std::move(value));
    }
  }

  void take_profile(std::string value) {
    if (!parsed.profile) parsed.profile = std::move(value);
  }

  // From the first operand of `run` on, only the command's own options are taken, and -c goes to the program.
  bool is_for_the_program(std::string_view word) const {
    return command.takes_command_line && !parsed.arguments.operands_.empty() &&
           (word.starts_with("-c") || word.starts_with("--config="));
  }

  void end_loose_operands() {
    auto& arguments = parsed.arguments;
    arguments.loose_operands_ = std::min(arguments.loose_operands_, arguments.operands_.size());
  }

  void check_operands() {
    std::size_t least = 0;
    bool open = false;
    for (const auto& operand : command.operands) {
      if (operand.count != Count::optional) ++least;
      if (operand.count == Count::many) open = true;
    }
    const auto given = parsed.arguments.operands_.size();
    if (given < least || (!open && given > command.operands.size())) wrong();
  }

  void check_options() {
    const auto& given = parsed.arguments;
    for (const auto& name : command.required) {
      if (!given.flag(name)) wrong();
    }
    for (const auto& [a, b] : command.exclusive) {
      if (given.flag(a) && given.flag(b))
        wrong("--" + std::string(a) + " and --" + std::string(b) + " exclude each other");
    }
    for (const auto& [a, b] : command.needs) {
      if (given.flag(a) && !given.flag(b)) wrong("--" + std::string(a) + " goes only with --" + std::string(b));
    }
  }

  void run() {
    bool only_operands = false;
    while (at < words.size()) {
      const std::string& word = words[at++];
      const bool for_the_program = !only_operands && is_for_the_program(word);
      if (for_the_program) end_loose_operands();
      if (only_operands || word == "-" || !word.starts_with('-') || for_the_program) {
        parsed.arguments.operands_.push_back(word);
      } else if (word == "--") {
        only_operands = true;
        end_loose_operands();
      } else if (word.starts_with("--")) {
        take_long(word);
      } else {
        take_short(word);
      }
    }
    check_operands();
    check_options();
  }
};

Parsed parse(std::string_view program, const Command& command, std::span<const std::string> words) {
  ArgumentParser parser{command, words};
  parser.run();
  if (parser.mistake && !parser.parsed.help) {
    throw Failure{(parser.mistake->empty() ? "" : *parser.mistake + "\n") + usage_line(program, command) + "\n"};
  }
  return std::move(parser.parsed);
}

}  // namespace workflow::cli
