#include "lib/base/domain.h"

#include <algorithm>

#include "lib/base/text.h"

namespace workflow {

namespace {
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_letter(char c) { return is_lower(c) || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

template <typename Predicate>
bool all(std::string_view text, Predicate predicate) {
  return std::all_of(text.begin(), text.end(), predicate);
}
bool lower_digit_hyphen(char c) { return is_lower(c) || is_digit(c) || c == '-'; }
bool host_label(std::string_view label) {
  return !label.empty() && label.size() <= 63 && label.front() != '-' && label.back() != '-' &&
         all(label, [](char c) { return is_letter(c) || is_digit(c) || c == '-'; });
}
}  // namespace

bool AppNameRule::valid(std::string_view text) {
  return !text.empty() && text.size() <= 63 && is_lower(text.front()) && text.back() != '-' &&
         all(text, lower_digit_hyphen);
}

bool UserNameRule::valid(std::string_view text) {
  return !text.empty() && text.size() <= 150 && all(text, [](char c) {
    return is_letter(c) || is_digit(c) || std::string_view("@.+-_").find(c) != std::string_view::npos;
  });
}

bool ProcessTypeRule::valid(std::string_view text) {
  return !text.empty() && text.size() <= 63 && text.front() != '-' && text.back() != '-' &&
         all(text, lower_digit_hyphen);
}

bool ConfigKeyRule::valid(std::string_view text) {
  return !text.empty() && !is_digit(text.front()) &&
         all(text, [](char c) { return is_letter(c) || is_digit(c) || c == '_'; });
}

bool DomainNameRule::valid(std::string_view text) {
  if (text.size() > 253) return false;
  if (text.starts_with("*.")) text.remove_prefix(2);
  const auto labels = split(text, '.');
  return !labels.empty() && std::all_of(labels.begin(), labels.end(), host_label);
}

std::optional<ReleaseVersion> ReleaseVersion::parse(std::string_view text) {
  if (text.starts_with('v')) text.remove_prefix(1);
  if (text.empty() || text.size() > 18 || !all(text, is_digit)) return std::nullopt;
  return ReleaseVersion{*parse_integer(text)};
}

}  // namespace workflow
