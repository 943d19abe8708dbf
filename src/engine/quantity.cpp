// Quantities: a decimal number with a suffix of powers of ten or two (apimachinery, pkg/api/resource).
#include "engine/quantity.h"

#include <algorithm>
#include <cmath>

#include "engine/fields.h"

namespace workflow::engine {

namespace {

struct Suffix {
  std::string_view text;
  int base, exponent;
};
constexpr Suffix suffixes[] = {{"n", 10, -9}, {"u", 10, -6}, {"m", 10, -3}, {"", 10, 0},   {"k", 10, 3},  {"M", 10, 6},
                               {"G", 10, 9},  {"T", 10, 12}, {"P", 10, 15}, {"E", 10, 18}, {"Ki", 2, 10}, {"Mi", 2, 20},
                               {"Gi", 2, 30}, {"Ti", 2, 40}, {"Pi", 2, 50}, {"Ei", 2, 60}};

struct Parsed {
  __int128 nanos = 0;  // value × 10⁹, rounded up
  bool binary = false;
  bool exponent_form = false;
};

__int128 power(int base, int exponent) {
  __int128 result = 1;
  for (int i = 0; i < exponent; ++i) result *= base;
  return result;
}

std::optional<Parsed> parse(std::string_view text) {
  bool negative = false;
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) {
    negative = text.front() == '-';
    text.remove_prefix(1);
  }
  __int128 digits = 0;
  int decimals = 0, count = 0;
  bool after_point = false;
  std::size_t at = 0;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '.' && !after_point) {
      after_point = true;
    } else if (c >= '0' && c <= '9') {
      if (++count > 24) return std::nullopt;
      digits = digits * 10 + (c - '0');
      if (after_point) ++decimals;
    } else {
      break;
    }
  }
  if (count == 0) return std::nullopt;
  auto suffix = text.substr(at);
  Parsed result;
  int base = 10, exponent = 0;
  if (suffix.size() > 1 && (suffix.front() == 'e' || suffix.front() == 'E')) {
    const auto number = std::string(suffix.substr(1));
    char* end = nullptr;
    const long value = std::strtol(number.c_str(), &end, 10);
    if (*end != 0 || value < -18 || value > 18) return std::nullopt;
    exponent = static_cast<int>(value);
    result.exponent_form = true;
  } else {
    const Suffix* found = nullptr;
    for (const auto& s : suffixes) {
      if (s.text == suffix) found = &s;
    }
    if (found == nullptr) return std::nullopt;
    base = found->base;
    exponent = found->exponent;
    result.binary = base == 2;
  }
  // digits × 10^-decimals × base^exponent × 10^9
  __int128 value = digits;
  if (base == 2) {
    if (count + exponent / 3 > 27) return std::nullopt;
    value *= power(2, exponent);
    exponent = 0;
  }
  int shift = exponent - decimals + 9;
  if (count + shift > 36 || count + exponent > 28) return std::nullopt;
  if (shift >= 0) {
    value *= power(10, shift);
  } else {
    if (-shift > 36) return std::nullopt;
    const auto divisor = power(10, -shift);
    value = (value + divisor - 1) / divisor;
  }
  result.nanos = negative ? -value : value;
  return result;
}

std::string print(__int128 value) {
  if (value == 0) return "0";
  std::string text;
  const bool negative = value < 0;
  for (auto rest = negative ? -value : value; rest > 0; rest /= 10)
    text.insert(text.begin(), static_cast<char>('0' + rest % 10));
  return negative ? "-" + text : text;
}

}  // namespace

std::optional<std::string> canonical_quantity(std::string_view text) {
  const auto parsed = parse(text);
  if (!parsed) return std::nullopt;
  if (parsed->exponent_form) return std::string(text);
  constexpr __int128 one = 1'000'000'000;
  if (parsed->binary && parsed->nanos % one == 0) {
    auto value = parsed->nanos / one;
    int thousands = 0;
    while (value != 0 && value % 1024 == 0 && thousands < 6) {
      value /= 1024;
      ++thousands;
    }
    constexpr std::string_view names[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
    return print(value) + std::string(names[thousands]);
  }
  auto value = parsed->nanos;
  int thousands = 0;
  while (value != 0 && value % 1000 == 0 && thousands < 9) {
    value /= 1000;
    ++thousands;
  }
  constexpr std::string_view names[] = {"n", "u", "m", "", "k", "M", "G", "T", "P", "E"};
  return value == 0 ? "0" : print(value) + std::string(names[thousands]);
}

std::optional<std::int64_t> quantity_in_thousandths(std::string_view text) {
  const auto parsed = parse(text);
  if (!parsed) return std::nullopt;
  const auto value = (parsed->nanos + (parsed->nanos > 0 ? 999'999 : 0)) / 1'000'000;
  if (value > INT64_MAX || value < INT64_MIN) return std::nullopt;
  return static_cast<std::int64_t>(value);
}

std::optional<std::int64_t> thousandths_at(const json::object& object, std::initializer_list<std::string_view> path) {
  const auto* value = value_at(object, path);
  if (value == nullptr) return std::nullopt;
  return quantity_in_thousandths(value->is_string() ? std::string(value->get_string()) : json::serialize(*value));
}

std::int64_t pod_amount(const json::object& pod, std::string_view kind, std::string_view resource) {
  const auto amount_of = [&](const json::value& container) {
    return thousandths_at(container.get_object(), {"resources", kind, resource}).value_or(0);
  };
  std::int64_t together = 0, sidecars = 0, largest = 0;
  for (const auto& item : array_at(pod, {"spec", "initContainers"})) {
    if (!item.is_object()) continue;
    const bool stays = text_at(item.get_object(), {"restartPolicy"}) == "Always";
    if (stays) sidecars += amount_of(item);
    largest = std::max(largest, sidecars + (stays ? 0 : amount_of(item)));
  }
  for (const auto& item : array_at(pod, {"spec", "containers"})) {
    if (item.is_object()) together += amount_of(item);
  }
  return std::max(together + sidecars, largest);
}

}  // namespace workflow::engine
