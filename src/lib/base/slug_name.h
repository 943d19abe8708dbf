// src/lib/base/slug_name.h: what a release of a buildpack app runs, as builder and controller write it down.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace workflow {

// "home/<app>:git-…/push/slug.tgz@sha256:<64 hex digits>": the object's key, and what its bytes must be. Releases of
// before have no digest, or (of the original) only the folder of the object.
struct SlugName {
  std::string key;
  std::string sha256;  // hex; "" when nobody wrote it down
  static SlugName parse(std::string_view image);
  std::string text() const;
  bool operator==(const SlugName&) const = default;
};
bool is_sha256(std::string_view text);  // 64 lower-case hex digits

// The URL that a container fetches a slug from, with the digest as its fragment, which no server gets to see.
struct SlugUrl {
  std::string url;
  std::string sha256;  // "" when unknown
  static SlugUrl parse(std::string_view text);
  std::string text() const;
  bool operator==(const SlugUrl&) const = default;
};

}  // namespace workflow
