// src/lib/base/image_name.h: the parts of an image's name, as every container tool reads them. Nothing is judged here.
#pragma once
#include <string>
#include <string_view>

namespace workflow {

struct ImageName {
  std::string host;        // of the registry, with its port; "" when the name has none
  std::string repository;  // as written
  std::string tag;         // "" when there is none
  std::string digest;      // "sha256:…", or ""
  bool operator==(const ImageName&) const = default;

  // The first part is a host when it has a dot or a colon, or is "localhost".
  static ImageName split(std::string_view text);
  std::string registry() const { return host.empty() ? "docker.io" : host; }
  std::string path() const;  // with registry, without tag and digest: "docker.io/library/busybox"
  std::string full() const;  // as a runtime names it: "docker.io/library/busybox:latest"
  bool is_fixed() const { return !digest.empty() || (!tag.empty() && tag != "latest"); }
};

}  // namespace workflow
