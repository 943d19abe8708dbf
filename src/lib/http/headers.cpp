#include <algorithm>

#include "lib/base/encoding.h"
#include "lib/base/text.h"
#include "lib/http/http.h"

namespace workflow::http {

std::optional<std::string> Headers::find(std::string_view name) const {
  for (const auto& [key, value] : fields_) {
    if (equal_ignoring_case(key, name)) return value;
  }
  return std::nullopt;
}

void Headers::set(std::string_view name, std::string value) {
  remove(name);
  fields_.emplace_back(std::string(name), std::move(value));
}

void Headers::remove(std::string_view name) {
  std::erase_if(fields_, [name](const auto& field) { return equal_ignoring_case(field.first, name); });
}

std::optional<Query> Query::parse(std::string_view raw) {
  Query query;
  while (!raw.empty()) {
    const auto piece = raw.substr(0, raw.find('&'));
    raw.remove_prefix(std::min(raw.size(), piece.size() + 1));
    if (piece.empty()) continue;
    const auto equals = piece.find('=');
    std::string name(piece.substr(0, equals));
    std::string value(equals == std::string_view::npos ? "" : piece.substr(equals + 1));
    for (auto* text : {&name, &value}) {
      std::ranges::replace(*text, '+', ' ');
      auto decoded = percent_decode(*text);
      if (!decoded) return std::nullopt;
      *text = std::move(*decoded);
    }
    query.fields_.emplace_back(std::move(name), std::move(value));
  }
  return query;
}

std::optional<std::string> Query::find(std::string_view name) const {
  for (const auto& [key, value] : fields_) {
    if (key == name) return value;
  }
  return std::nullopt;
}

std::vector<std::string> Query::all(std::string_view name) const {
  std::vector<std::string> values;
  for (const auto& [key, value] : fields_) {
    if (key == name) values.push_back(value);
  }
  return values;
}

}  // namespace workflow::http
