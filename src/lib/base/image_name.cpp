#include "lib/base/image_name.h"

namespace workflow {

ImageName ImageName::split(std::string_view text) {
  ImageName name;
  if (const auto at = text.find('@'); at != std::string_view::npos) {
    name.digest = text.substr(at + 1);
    text = text.substr(0, at);
  }
  const auto slash = text.find('/');
  const auto first = text.substr(0, slash);
  if (slash != std::string_view::npos &&
      (first.find_first_of(".:") != std::string_view::npos || first == "localhost")) {
    name.host = first;
    text.remove_prefix(slash + 1);
  }
  const auto last = text.rfind('/') + 1;  // npos + 1 is 0
  if (const auto colon = text.find(':', last); colon != std::string_view::npos) {
    name.tag = text.substr(colon + 1);
    text = text.substr(0, colon);
  }
  name.repository = text;
  return name;
}

std::string ImageName::path() const {
  const bool official = registry() == "docker.io" && repository.find('/') == std::string::npos;
  return registry() + (official ? "/library/" : "/") + repository;
}

std::string ImageName::full() const {
  auto name = path();
  if (!tag.empty() || digest.empty()) name += ":" + (tag.empty() ? "latest" : tag);
  if (!digest.empty()) name += "@" + digest;
  return name;
}

}  // namespace workflow
