// src/objectstore/conditions.h: ranges and preconditions of reads (RFC 9110, sections 13 and 14). Pure.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "lib/base/clock.h"
#include "lib/http/http.h"

namespace workflow::objectstore {

struct ByteRange {
  std::uint64_t offset = 0, length = 0;
  bool operator==(const ByteRange&) const = default;
};
struct WholeObject {
  bool operator==(const WholeObject&) const = default;
};
struct UnsatisfiableRange {
  bool operator==(const UnsatisfiableRange&) const = default;
};
// What a Range header asks for of `size` bytes. Malformed or several ranges: the whole, as S3 does.
std::variant<WholeObject, ByteRange, UnsatisfiableRange> range_of(const std::optional<std::string>& header,
                                                                  std::uint64_t size);

enum class Verdict { go_on, not_modified, failed };
// `prefix` is "" for a read, "x-amz-copy-source-" for a copy's source.
Verdict check_conditions(const http::Headers& headers, const std::string& prefix, const std::string& etag,
                         Time modified);

}  // namespace workflow::objectstore
