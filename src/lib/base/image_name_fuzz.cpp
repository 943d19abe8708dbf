#include <cstdint>

#include "lib/base/error.h"
#include "lib/base/image_name.h"

// Whatever the name, its parts are cut out of it and lose nothing.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace workflow;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto name = ImageName::split(text);
  auto back = name.host.empty() ? name.repository : name.host + "/" + name.repository;
  const auto at = text.find('@');
  if (!name.tag.empty() || text.substr(0, at).ends_with(':')) back += ":" + name.tag;
  if (at != std::string::npos) back += "@" + name.digest;
  WF_CHECK(back == text);
  WF_CHECK(name.tag.find('/') == std::string::npos && name.host.find('/') == std::string::npos);
  return 0;
}
