#include "router/values.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <memory>

#include "lib/base/text.h"

namespace workflow::router {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_word(char c) { return is_digit(c) || is_letter(c); }

// The digits at the front, and what follows them.
std::optional<std::pair<std::int64_t, std::string_view>> number_and_unit(std::string_view text) {
  const auto digits = static_cast<std::size_t>(std::ranges::find_if_not(text, is_digit) - text.begin());
  if (digits == 0 || digits > 15) return std::nullopt;
  return std::pair(*parse_integer(text.substr(0, digits)), text.substr(digits));
}

// RFC 1123 label; underscores are no host names.
bool is_label(std::string_view text) {
  return !text.empty() && text.size() <= 63 && text.front() != '-' && text.back() != '-' &&
         std::ranges::all_of(text, [](char c) { return is_word(c) || c == '-'; });
}

bool is_host_name(std::string_view text) {
  if (text.size() > 253) return false;
  while (true) {
    const auto dot = text.find('.');
    if (!is_label(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

// Recursive descent over the tame subset. `repeats` of a piece says whether a quantifier is anywhere inside it.
class RegexCheck {
 public:
  explicit RegexCheck(std::string_view text) : rest_(text) {}
  bool passes() {
    bool repeats = false;
    return alternatives(repeats, 0) && rest_.empty();
  }

 private:
  bool at(char c) const { return !rest_.empty() && rest_.front() == c; }
  char take() {
    const char c = rest_.front();
    rest_.remove_prefix(1);
    return c;
  }
  bool take(char c) {
    if (!at(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  bool alternatives(bool& repeats, int depth) {
    if (depth > 8) return false;
    do {
      while (!rest_.empty() && !at('|') && !at(')')) {
        if (!piece(repeats, depth)) return false;
      }
    } while (take('|'));
    return true;
  }

  bool piece(bool& repeats, int depth) {
    bool inside = false;
    const char c = take();
    switch (c) {
      case '^':
      case '$': return !at('*') && !at('+') && !at('?') && !at('{');
      case '*':
      case '+':
      case '?':
      case '{':
      case '}':
      case ']': return false;
      case '(':
        if (take('?') && !take(':')) return false;
        if (!alternatives(inside, depth + 1) || !take(')')) return false;
        break;
      case '[':
        if (!char_class()) return false;
        break;
      case '\\':
        if (!escape()) return false;
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
    }
    bool repeated = false;
    if (!quantifier(repeated)) return false;
    if (repeated && inside) return false;
    repeats = repeats || repeated || inside;
    return true;
  }

  bool escape() {
    if (rest_.empty()) return false;
    const char c = take();
    return std::string_view("dDwWsSbB").contains(c) ||
           (!is_word(c) && static_cast<unsigned char>(c) > 0x20 && c != 0x7f);
  }

  // Neither nested nor POSIX classes; a range runs upwards between letters or digits.
  bool char_class() {
    take('^');
    if (at(']')) return false;
    while (!rest_.empty() && !at(']')) {
      const char c = take();
      if (c == '[' || static_cast<unsigned char>(c) < 0x20) return false;
      if (c == '\\') {
        if (!escape()) return false;
        continue;
      }
      if (!at('-') || rest_.size() < 2 || rest_[1] == ']') continue;
      take();
      const char last = take();
      if (!is_word(c) || !is_word(last) || last < c) return false;
    }
    return take(']');
  }

  bool quantifier(bool& repeated) {
    if (take('?')) return !at('*') && !at('+') && !at('?') && !at('{');
    if (take('*') || take('+')) {
      repeated = true;
    } else if (take('{')) {
      int low = 0, high = 0;
      if (!small_number(low)) return false;
      high = low;
      if (take(',') && !at('}') && !small_number(high)) return false;
      if (!take('}') || high < low) return false;
      repeated = true;
    }
    return !at('*') && !at('+') && !at('?') && !at('{');
  }

  bool small_number(int& out) {
    int digits = 0;
    out = 0;
    for (; !rest_.empty() && is_digit(rest_.front()); ++digits) {
      if (digits == 3) return false;
      out = out * 10 + (take() - '0');
    }
    return digits > 0;
  }

  std::string_view rest_;
};

}  // namespace

std::optional<bool> parse_bool(std::string_view text) {
  if (equal_ignoring_case(text, "true")) return true;
  if (equal_ignoring_case(text, "false")) return false;
  return std::nullopt;
}

std::optional<std::int64_t> parse_count(std::string_view text, std::int64_t min, std::int64_t max) {
  const auto parts = number_and_unit(text);
  if (!parts || !parts->second.empty() || parts->first < min || parts->first > max) return std::nullopt;
  return parts->first;
}

std::optional<std::chrono::milliseconds> parse_time(std::string_view text) {
  using namespace std::chrono_literals;
  static constexpr std::pair<std::string_view, std::chrono::milliseconds> units[] = {
      {"", 1s},   {"ms", 1ms},    {"s", 1s},       {"m", 1min},     {"h", 1h},
      {"d", 24h}, {"w", 7 * 24h}, {"M", 30 * 24h}, {"y", 365 * 24h}};
  const std::chrono::milliseconds most = 365 * 24h;
  const auto parts = number_and_unit(text);
  if (!parts || parts->first == 0 || parts->first > most.count()) return std::nullopt;
  for (const auto& [unit, length] : units) {
    if (unit != parts->second) continue;
    if (parts->first > most / length) return std::nullopt;
    return parts->first * length;
  }
  return std::nullopt;
}

std::optional<std::int64_t> parse_size(std::string_view text) {
  const auto parts = number_and_unit(text);
  if (!parts || parts->second.size() > 1) return std::nullopt;
  const char unit = parts->second.empty() ? 'b' : parts->second.front();
  const int shift = unit == 'b' && parts->second.empty() ? 0
                    : unit == 'k' || unit == 'K'         ? 10
                    : unit == 'm' || unit == 'M'         ? 20
                                                         : -1;
  if (shift < 0 || parts->first > (1LL << 40) >> shift) return std::nullopt;
  return parts->first << shift;
}

std::optional<std::string> parse_cidr(std::string_view text) {
  text = trim(text);
  const auto slash = text.find('/');
  const std::string address(text.substr(0, slash));
  std::array<unsigned char, 16> bytes{};
  const int family = address.contains(':') ? AF_INET6 : AF_INET;
  const int bits = family == AF_INET ? 32 : 128;
  if (::inet_pton(family, address.c_str(), bytes.data()) != 1) return std::nullopt;
  int prefix = bits;
  if (slash != std::string_view::npos) {
    const std::string mask(text.substr(slash + 1));
    std::array<unsigned char, 4> mask_bytes{};
    if (const auto length = parse_count(mask, 0, bits)) {
      prefix = static_cast<int>(*length);
    } else if (family == AF_INET && ::inet_pton(AF_INET, mask.c_str(), mask_bytes.data()) == 1) {
      const std::uint32_t value = std::uint32_t{mask_bytes[0]} << 24 | std::uint32_t{mask_bytes[1]} << 16 |
                                  std::uint32_t{mask_bytes[2]} << 8 | mask_bytes[3];
      prefix = std::countl_one(value);
      if (prefix < 32 && (value << prefix) != 0) return std::nullopt;
    } else {
      return std::nullopt;
    }
  }
  for (int bit = prefix; bit < bits; ++bit)
    bytes[static_cast<std::size_t>(bit / 8)] &= static_cast<unsigned char>(~(0x80 >> (bit % 8)));
  char out[INET6_ADDRSTRLEN];
  ::inet_ntop(family, bytes.data(), out, sizeof out);
  return std::string(out) + "/" + std::to_string(prefix);
}

std::vector<std::string> parse_list(std::string_view text) {
  std::vector<std::string> items;
  for (const auto& item : split(text, ',')) {
    if (const auto trimmed = trim(item); !trimmed.empty()) items.emplace_back(trimmed);
  }
  return items;
}

std::optional<std::string> parse_domain(std::string_view text) {
  const auto name = text.starts_with("*.") ? text.substr(2) : text;
  if (!is_host_name(name) || text.size() > 253) return std::nullopt;
  if (text.starts_with("*.") && is_bare(name)) return std::nullopt;
  // Four numbers are an address; a browser that is given one is answered like any stranger.
  if (std::ranges::all_of(name, [](char c) { return is_digit(c) || c == '.'; }) && !is_bare(name)) return std::nullopt;
  return lower(text);
}

bool is_token(std::string_view text) {
  return !text.empty() && text.size() <= 64 &&
         std::ranges::all_of(text, [](char c) { return is_word(c) || c == '-' || c == '_'; });
}

bool is_bare(std::string_view domain) { return !domain.contains('.'); }

std::optional<std::string> parse_platform_domain(std::string_view text) {
  if (!is_host_name(text)) return std::nullopt;
  return lower(text);
}

bool is_tame_regex(std::string_view text) { return !text.empty() && text.size() <= 1024 && RegexCheck(text).passes(); }

std::optional<LocationPath> parse_location(std::string_view text) {
  text = trim(text);
  LocationPath location;
  const auto space = text.find(' ');
  if (!text.starts_with('/') && space != std::string_view::npos) {
    location.modifier = text.substr(0, space);
    text = trim(text.substr(space));
  }
  location.path = text;
  if (location.modifier == "~" || location.modifier == "~*") {
    return is_tame_regex(text) ? std::optional(location) : std::nullopt;
  }
  if (location.modifier != "" && location.modifier != "=" && location.modifier != "^~") return std::nullopt;
  // RFC 3986 path characters, less percent-encoding: nginx compares with the decoded path.
  const bool plain = text.starts_with('/') && text.size() <= 1024 && std::ranges::all_of(text, [](char c) {
                       return is_word(c) || std::string_view("/-._~!&'()*+,;=:@").contains(c);
                     });
  return plain ? std::optional(location) : std::nullopt;
}

std::optional<std::string> parse_ciphers(std::string_view text) {
  std::vector<std::string> names;
  std::string name;
  const auto finish = [&] {
    if (!name.empty() && !name.starts_with("TLS_")) names.push_back(name);
    name.clear();
  };
  for (const char c : text) {
    if (c == ':' || c == '|' || c == '[' || c == ']')
      finish();
    else if (is_word(c) || std::string_view("-_+!.@=").contains(c))
      name += c;
    else
      return std::nullopt;
  }
  finish();
  const auto list = join(names, ":");
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (names.empty() || SSL_CTX_set_cipher_list(context.get(), list.c_str()) != 1) return std::nullopt;
  return list;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

}  // namespace workflow::router
