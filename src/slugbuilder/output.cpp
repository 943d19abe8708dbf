#include "slugbuilder/output.h"

#include <cstdio>

#include "lib/base/text.h"

namespace workflow::slugbuilder {
namespace {

std::string indented(std::string_view line) {
  const auto text = trim(line);
  if (text.empty()) return "\n";
  return text.starts_with("--") ? std::string(text) + "\n" : "       " + std::string(text) + "\n";
}

}  // namespace

std::string Indenter::feed(std::string_view bytes) {
  rest_ += bytes;
  std::string out;
  std::size_t begin = 0;
  for (std::size_t end; (end = rest_.find('\n', begin)) != std::string::npos; begin = end + 1) {
    out += indented(std::string_view(rest_).substr(begin, end - begin));
  }
  rest_.erase(0, begin);
  return out;
}

std::string Indenter::finish() {
  auto out = rest_.empty() ? std::string() : indented(rest_);
  rest_.clear();
  return out;
}

std::string human_size(std::uint64_t bytes) {
  double value = static_cast<double>(bytes);
  constexpr char units[] = {'B', 'K', 'M', 'G', 'T'};
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < sizeof units) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  if (unit == 0 || value >= 10)
    std::snprintf(text, sizeof text, "%.0f%c", value, units[unit]);
  else
    std::snprintf(text, sizeof text, "%.1f%c", value, units[unit]);
  return text;
}

}  // namespace workflow::slugbuilder
