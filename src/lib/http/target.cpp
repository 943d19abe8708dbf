#include "lib/http/target.h"

#include <algorithm>

#include "lib/base/encoding.h"
#include "lib/base/text.h"

namespace workflow::http {

namespace {

bool has_dot_segment(std::string_view path) {
  for (;;) {
    const auto segment = path.substr(0, path.find('/'));
    if (segment == "." || segment == "..") return true;
    if (segment.size() == path.size()) return false;
    path.remove_prefix(segment.size() + 1);
  }
}

}  // namespace

std::optional<Target> parse_target(std::string_view target) {
  for (std::string_view scheme : {"http://", "https://"}) {
    if (!starts_with_ignoring_case(target, scheme)) continue;
    target.remove_prefix(scheme.size());
    const auto path = target.find_first_of("/?");
    target = path == std::string_view::npos ? "/" : target.substr(path);
  }
  if (target == "*") return Target{.path = "*", .raw_path = "*"};
  if (target.empty() || target.front() != '/') return std::nullopt;
  if (std::ranges::any_of(target, [](unsigned char c) { return c <= ' ' || c == 0x7f || c == '#'; })) {
    return std::nullopt;
  }
  Target result;
  const auto mark = target.find('?');
  result.raw_path = target.substr(0, mark);
  if (mark != std::string_view::npos) result.raw_query = target.substr(mark + 1);
  auto path = percent_decode(result.raw_path);
  auto query = Query::parse(result.raw_query);
  if (!path || !query || path->find('\0') != std::string::npos || has_dot_segment(*path)) return std::nullopt;
  result.path = std::move(*path);
  result.query = std::move(*query);
  return result;
}

}  // namespace workflow::http
