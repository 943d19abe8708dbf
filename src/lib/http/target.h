// src/lib/http/target.h: the request target (RFC 9112, section 3.2), taken apart.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "lib/http/http.h"

namespace workflow::http {

struct Target {
  std::string path;  // decoded
  std::string raw_path, raw_query;
  Query query;
};
// Origin form, absolute form ("http://host/path"), or "*". nullopt: a broken escape, a NUL, a control character, or a
// "." or ".." segment, plain or encoded: such a path could mean one thing to us and another to who stands before us.
std::optional<Target> parse_target(std::string_view target);

}  // namespace workflow::http
