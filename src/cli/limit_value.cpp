#include "cli/limit_value.h"

#include <algorithm>
#include <cctype>

namespace workflow::cli {
namespace {

bool is_quantity(std::string_view text) {
  // Digits with a unit of one or two letters …
  const auto digits = static_cast<std::size_t>(
      std::ranges::find_if_not(text, [](unsigned char c) { return std::isdigit(c); }) - text.begin());
  const auto unit = text.substr(digits);
  const bool unit_fits =
      !unit.empty() && unit.size() <= 2 && unit.find_first_not_of("bkmgBKMG") == std::string_view::npos;
  if (digits > 0 && unit_fits) return true;
  // … or a short number, of cores or thousandths.
  if (text.ends_with('m')) text.remove_suffix(1);
  return !text.empty() && text.size() <= 5 && text.find_first_not_of("0123456789.") == std::string_view::npos;
}

}  // namespace

bool is_limit(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return is_quantity(text);
  return is_quantity(text.substr(0, slash)) && is_quantity(text.substr(slash + 1));
}

}  // namespace workflow::cli
