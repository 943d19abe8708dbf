// src/lib/base/text.h: the few string operations that everybody needs.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace workflow {

std::vector<std::string> split(std::string_view text, char separator);  // "a,,b" → {"a","","b"}; "" → {}
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string_view trim(std::string_view text);
std::string lower(std::string_view text);  // ASCII
bool starts_with_ignoring_case(std::string_view text, std::string_view prefix);
bool equal_ignoring_case(std::string_view a, std::string_view b);
std::optional<std::int64_t> parse_integer(std::string_view text);  // the whole text, decimal
std::string replace_all(std::string text, std::string_view from, std::string_view to);

}  // namespace workflow
