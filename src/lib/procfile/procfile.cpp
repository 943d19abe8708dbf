#include "lib/procfile/procfile.h"

#include <algorithm>
#include <cctype>
#include <ranges>

#include "lib/base/error.h"
#include "lib/base/text.h"
#include "lib/base/utf8.h"
#include "lib/json/json.h"
#include "lib/kube/yaml.h"

namespace workflow::procfile {
namespace {

constexpr std::string_view blanks = " \t", byte_order_mark = "\xef\xbb\xbf";

[[noreturn]] void refuse(const std::string& what) { throw Error(ErrorKind::invalid, what); }

bool says_nothing(std::string_view line) {
  const auto text = trim(line);
  return text.empty() || text.starts_with('#');
}

// `|`, `>-` and their like: YAML's command is in the lines below.
bool is_block_indicator(std::string_view rest) {
  if (!rest.starts_with('|') && !rest.starts_with('>')) return false;
  rest.remove_prefix(1);
  rest.remove_prefix(std::min(rest.find_first_not_of("0123456789+-"), rest.size()));
  return says_nothing(rest);
}

// Where the quoted text that `text` begins with ends; npos: nowhere.
std::size_t end_of_quoted(std::string_view text) {
  const char quote = text.front();
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (quote == '"' && text[i] == '\\') {
      ++i;
    } else if (text[i] == quote) {
      const bool doubled = quote == '\'' && text.substr(i + 1).starts_with('\'');
      if (!doubled) return i + 1;
      ++i;
    }
  }
  return std::string_view::npos;
}

// What one quoted text as a whole holds; nullopt for everything else.
std::optional<std::string> unquoted(std::string_view rest) {
  if (!rest.starts_with('"') && !rest.starts_with('\'')) return std::nullopt;
  const auto end = end_of_quoted(rest);
  if (end == std::string_view::npos || !trim(rest.substr(end)).empty()) return std::nullopt;
  try {
    const auto value = kube::parse_yaml(rest.substr(0, end));
    if (value.is_string()) return std::string(value.get_string());
  } catch (const Error&) {
    // No text of YAML's, such as "\$HOME": the shell's then.
  }
  return std::nullopt;
}

// A line that is no process type of its own, but may be part of YAML: yaml-cpp would also take any words for more of
// the command before them.
bool may_be_yaml(std::string_view line) {
  return blanks.contains(line.front()) || line.starts_with('{') || line.starts_with('}') || line.contains(':');
}

// nullopt: not of the form `name: rest`.
std::optional<Types::value_type> parse_line(std::string_view line) {
  const auto colon = line.find(':');
  const bool named = colon != std::string_view::npos && colon > 0 &&
                     std::ranges::all_of(line.substr(0, colon),
                                         [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-'; });
  if (!named) return std::nullopt;
  auto rest = line.substr(colon + 1);
  rest.remove_prefix(std::min(rest.find_first_not_of(blanks), rest.size()));
  if (is_block_indicator(rest)) return std::nullopt;
  auto command = unquoted(rest);
  return Types::value_type(line.substr(0, colon), command ? *std::move(command) : std::string(rest));
}

std::string text_of(const json::value& value) {
  if (value.is_null()) return "";
  return value.is_string() ? std::string(value.get_string()) : json::serialize(value);
}

Types types_of(const json::value& value, const std::string& where) {
  Types types;
  if (value.is_null()) return types;
  if (!value.is_object()) refuse(where + " must have lines of the form \"web: command\"");
  for (const auto& [name, command] : value.get_object()) {
    if (command.is_structured()) refuse(where + ": the process type \"" + std::string(name) + "\" needs a command");
    types.emplace_back(name, text_of(command));
  }
  return types;
}

void check_text(std::string_view text, const std::string& where) {
  if (text.size() > longest) refuse(where + " is larger than " + std::to_string(longest >> 20) + " MiB");
  if (text.contains('\0')) refuse(where + " must be text: it holds a NUL");
  if (!is_valid_utf8(text)) refuse(where + " must be text in UTF-8");
}

}  // namespace

Types parse(std::string_view text) {
  check_text(text, "Procfile");
  if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
  Types types;
  std::size_t number = 0;
  std::string first_other;  // the line to name if this is no YAML either
  bool is_yaml = true;
  for (const auto part : std::views::split(text, '\n')) {
    std::string_view line(part);
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (says_nothing(line) || line == "---") continue;
    if (auto type = parse_line(line)) {
      types.push_back(*std::move(type));
    } else if (is_yaml) {
      is_yaml = may_be_yaml(line);
      if (first_other.empty() || !is_yaml) first_other = "Procfile line " + std::to_string(number);
    }
  }
  if (first_other.empty()) return types;
  json::value document;
  try {
    if (is_yaml) document = kube::parse_yaml(text);
  } catch (const Error&) {
    // Nor is it YAML.
  }
  if (!document.is_object()) refuse(first_other + " must be of the form \"web: command\"");
  return types_of(document, "Procfile");
}

std::string print(const Types& types) {
  if (types.empty()) return "{}\n";
  // JSON's quoted text is YAML's, too.
  std::string out;
  for (const auto& [name, command] : types) out += name + ": " + json::serialize(json::value(command)) + "\n";
  return out;
}

std::optional<std::string> find(const Types& types, std::string_view name) {
  for (const auto& [type, command] : types | std::views::reverse) {
    if (type == name && !trim(command).empty()) return command;
  }
  return std::nullopt;
}

Release parse_release(std::string_view yaml) {
  const std::string where = "The output of bin/release";
  check_text(yaml, where);
  json::value document;
  try {
    document = kube::parse_yaml(yaml);
  } catch (const Error& error) {
    refuse(where + " is not valid YAML: " + error.message());
  }
  Release release;
  if (document.is_null()) return release;
  if (!document.is_object()) refuse(where + " must be a mapping");
  if (const auto* types = find_path(document, {"default_process_types"})) {
    release.default_process_types = types_of(*types, "default_process_types");
  }
  const auto* vars = find_path(document, {"config_vars"});
  if (!vars || vars->is_null()) return release;
  if (!vars->is_object()) refuse("config_vars must map names to text");
  for (const auto& [name, value] : vars->get_object()) {
    if (value.is_structured()) refuse("config_vars: \"" + std::string(name) + "\" must be text");
    release.config_vars[name] = text_of(value);
  }
  return release;
}

}  // namespace workflow::procfile
