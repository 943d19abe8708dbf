#include "lib/base/domain.h"

#include <locale.h>
#include <wctype.h>

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
// The next code point of UTF-8 text, taken off its front; nullopt where it is none.
std::optional<char32_t> next_character(std::string_view& text) {
  const auto first = static_cast<unsigned char>(text.front());
  const std::size_t length = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  constexpr char32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  if ((first >= 0x80 && first < 0xc2) || first > 0xf4 || text.size() < length) return std::nullopt;
  char32_t code = length == 1 ? first : first & (0xffu >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xc0) != 0x80) return std::nullopt;
    code = code << 6 | (next & 0x3f);
  }
  if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return std::nullopt;
  text.remove_prefix(length);
  return code;
}
// A letter or digit of any script, as Unicode has it.
bool is_letter_or_digit(char32_t code) {
  static const locale_t unicode = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  if (code < 0x80) return is_letter(static_cast<char>(code)) || is_digit(static_cast<char>(code));
  return unicode != nullptr && iswalnum_l(static_cast<wint_t>(code), unicode) != 0;
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
  std::size_t length = 0;
  while (!text.empty() && length <= 150) {
    const auto code = next_character(text);
    if (!code) return false;
    const bool is_sign = *code < 0x80 && std::string_view("@.+-_").contains(static_cast<char>(*code));
    if (!is_sign && !is_letter_or_digit(*code)) return false;
    ++length;
  }
  return length > 0 && length <= 150;
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
