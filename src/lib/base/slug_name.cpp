#include "lib/base/slug_name.h"

#include <algorithm>

namespace workflow {
namespace {

constexpr std::string_view name_mark = "@sha256:", url_mark = "#sha256=";

// What comes before the mark, and the digest after it; no digest where there is no whole one.
std::pair<std::string, std::string> apart(std::string_view text, std::string_view mark) {
  const auto at = text.rfind(mark);
  if (at == std::string_view::npos || !is_sha256(text.substr(at + mark.size()))) return {std::string(text), ""};
  return {std::string(text.substr(0, at)), std::string(text.substr(at + mark.size()))};
}

std::string together(const std::string& text, std::string_view mark, const std::string& sha256) {
  return sha256.empty() ? text : text + std::string(mark) + sha256;
}

}  // namespace

bool is_sha256(std::string_view text) {
  return text.size() == 64 &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

SlugName SlugName::parse(std::string_view image) {
  auto [key, sha256] = apart(image, name_mark);
  if (!key.ends_with(".tgz")) key += "/slug.tgz";
  return {std::move(key), std::move(sha256)};
}

std::string SlugName::text() const { return together(key, name_mark, sha256); }

SlugUrl SlugUrl::parse(std::string_view text) {
  auto [url, sha256] = apart(text, url_mark);
  return {std::move(url), std::move(sha256)};
}

std::string SlugUrl::text() const { return together(url, url_mark, sha256); }

}  // namespace workflow
