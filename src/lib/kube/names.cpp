#include "lib/kube/names.h"

#include <algorithm>

namespace workflow::kube {

namespace {
bool is_lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool is_alphanumeric(char c) { return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z'); }
bool is_name_char(char c) { return is_alphanumeric(c) || c == '-' || c == '_' || c == '.'; }

template <typename Predicate>
bool all(std::string_view text, Predicate predicate) {
  return std::all_of(text.begin(), text.end(), predicate);
}

bool label_characters(std::string_view text) {
  return !text.empty() && is_lower_or_digit(text.front()) && is_lower_or_digit(text.back()) &&
         all(text, [](char c) { return is_lower_or_digit(c) || c == '-'; });
}

bool is_name_part(std::string_view text) {
  return !text.empty() && text.size() <= 63 && is_alphanumeric(text.front()) && is_alphanumeric(text.back()) &&
         all(text, is_name_char);
}
}  // namespace

bool is_dns_label(std::string_view text) { return text.size() <= 63 && label_characters(text); }

bool is_dns_subdomain(std::string_view text) {
  if (text.empty() || text.size() > 253) return false;
  for (;;) {
    const auto dot = text.find('.');
    if (!label_characters(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

bool is_service_name(std::string_view text) { return is_dns_label(text) && text.front() >= 'a'; }

bool is_label_key(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return is_name_part(text);
  return is_dns_subdomain(text.substr(0, slash)) && is_name_part(text.substr(slash + 1));
}

bool is_label_value(std::string_view text) { return text.empty() || is_name_part(text); }

bool is_data_key(std::string_view text) {
  return !text.empty() && text.size() <= 253 && text != "." && !text.starts_with("..") && all(text, is_name_char);
}

bool is_environment_name(std::string_view text) {
  return !text.empty() && all(text, [](char c) { return c >= ' ' && c <= '~' && c != '='; });
}

}  // namespace workflow::kube
