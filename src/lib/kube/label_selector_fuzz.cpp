#include <cstdint>

#include "lib/base/error.h"
#include "lib/kube/selectors.h"

// Whatever parses can be printed and parsed again to the same selector.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace workflow::kube;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto selector = LabelSelector::parse(text)) {
    WF_CHECK(LabelSelector::parse(selector->text()) == selector);
    selector->matches(std::map<std::string, std::string>{{"app", "shop"}, {"rack", "12"}});
  }
  if (const auto value = workflow::parse_json(text)) LabelSelector::from_object(*value);
  return 0;
}
