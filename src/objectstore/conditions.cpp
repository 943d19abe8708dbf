#include "objectstore/conditions.h"

#include <algorithm>

#include "lib/base/text.h"

namespace workflow::objectstore {

namespace {

std::optional<std::uint64_t> parse_position(std::string_view text) {
  if (text.empty() || text.front() == '-' || text.front() == '+') return std::nullopt;
  const auto value = parse_integer(text);
  if (!value) return std::nullopt;
  return static_cast<std::uint64_t>(*value);
}

// "*", or a list of entity tags; weak ones compare like strong ones here.
bool matches(std::string_view list, const std::string& etag) {
  if (trim(list) == "*") return true;
  for (const auto& item : split(list, ',')) {
    auto tag = trim(item);
    if (tag.starts_with("W/")) tag.remove_prefix(2);
    if (tag.size() >= 2 && tag.front() == '"' && tag.back() == '"') tag = tag.substr(1, tag.size() - 2);
    if (tag == etag) return true;
  }
  return false;
}

}  // namespace

std::variant<WholeObject, ByteRange, UnsatisfiableRange> range_of(const std::optional<std::string>& header,
                                                                  std::uint64_t size) {
  if (!header || !header->starts_with("bytes=")) return WholeObject();
  const std::string_view spec = trim(std::string_view(*header).substr(6));
  const auto dash = spec.find('-');
  if (dash == std::string_view::npos || spec.find(',') != std::string_view::npos) return WholeObject();
  const auto first = spec.substr(0, dash), last = spec.substr(dash + 1);
  if (first.empty()) {
    const auto suffix = parse_position(last);
    if (!suffix) return WholeObject();
    if (*suffix == 0 || size == 0) return UnsatisfiableRange();
    const auto length = std::min(*suffix, size);
    return ByteRange{size - length, length};
  }
  const auto begin = parse_position(first);
  const auto end = last.empty() ? std::optional<std::uint64_t>(UINT64_MAX) : parse_position(last);
  if (!begin || !end || *end < *begin) return WholeObject();
  if (*begin >= size) return UnsatisfiableRange();
  return ByteRange{*begin, std::min(*end, size - 1) - *begin + 1};
}

Verdict check_conditions(const http::Headers& headers, const std::string& prefix, const std::string& etag,
                         Time modified) {
  const auto second = std::chrono::floor<std::chrono::seconds>(modified);  // what Last-Modified says
  const auto if_match = headers.find(prefix + "If-Match");
  if (if_match) {
    if (!matches(*if_match, etag)) return Verdict::failed;
  } else if (const auto since = parse_http_date(headers.get(prefix + "If-Unmodified-Since"))) {
    if (second > *since) return Verdict::failed;
  }
  const auto if_none_match = headers.find(prefix + "If-None-Match");
  if (if_none_match) {
    if (matches(*if_none_match, etag)) return Verdict::not_modified;
  } else if (const auto since = parse_http_date(headers.get(prefix + "If-Modified-Since"))) {
    if (second <= *since) return Verdict::not_modified;
  }
  return Verdict::go_on;
}

}  // namespace workflow::objectstore
