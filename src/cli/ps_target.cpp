#include "cli/ps_target.h"

#include <algorithm>
#include <cctype>

#include "cli/render.h"
#include "lib/base/text.h"

namespace workflow::cli {
namespace {

bool is_lower_or_digit(char c) {
  return std::islower(static_cast<unsigned char>(c)) || std::isdigit(static_cast<unsigned char>(c));
}

bool is_word(std::string_view text, std::size_t least, std::size_t most) {
  return text.size() >= least && text.size() <= most && std::ranges::all_of(text, is_lower_or_digit);
}

}  // namespace

RestartTarget restart_target(std::string_view app, std::string_view name, const json::array& pods) {
  if (name.find('-') == std::string_view::npos) return {std::string(name), ""};
  const std::string prefix = std::string(app) + "-";
  for (const auto& pod : pods) {
    if (text_of(pod, "type") == name) return {std::string(name), ""};
  }
  for (const auto& pod : pods) {
    const auto full = text_of(pod, "name");
    if (full == name || full == prefix + std::string(name)) return {text_of(pod, "type"), std::string(name)};
  }
  // "web-5d8f7c6b9-a1b2c": a type, a replica set's hash, a pod's suffix.
  const auto rest = name.starts_with(prefix) ? name.substr(prefix.size()) : name;
  const auto parts = split(rest, '-');
  const bool pod_like = parts.size() >= 3 && is_word(parts[parts.size() - 2], 8, 10) && is_word(parts.back(), 5, 5);
  if (pod_like) {
    const auto hash_and_suffix = parts[parts.size() - 2].size() + parts.back().size() + 2;
    return {std::string(rest.substr(0, rest.size() - hash_and_suffix)), std::string(name)};
  }
  if (name.starts_with(prefix) && parts.size() == 2) return {parts[0], std::string(name)};
  return {std::string(name), ""};
}

bool is_process_type(std::string_view text) {
  if (text.empty() || text.starts_with('-') || text.ends_with('-') || text.find("--") != std::string_view::npos)
    return false;
  return std::ranges::all_of(text, [](char c) { return is_lower_or_digit(c) || c == '-'; });
}

std::optional<ScaleTarget> parse_scale_target(std::string_view text) {
  const auto equals = text.find('=');
  if (equals == std::string_view::npos || !is_process_type(text.substr(0, equals))) return std::nullopt;
  const auto digits = text.substr(equals + 1);
  if (digits.empty() || !std::ranges::all_of(digits, [](unsigned char c) { return std::isdigit(c); }))
    return std::nullopt;
  const auto count = parse_integer(digits);
  if (!count) return std::nullopt;
  return ScaleTarget{std::string(text.substr(0, equals)), *count};
}

}  // namespace workflow::cli
