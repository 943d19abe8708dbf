#include <cstdint>

#include "lib/base/error.h"
#include "lib/kube/selectors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace workflow::kube;
  static const auto pod =
      workflow::parse_json(R"({"metadata":{"name":"a"},"status":{"phase":"Running","count":3}})")->get_object();
  if (const auto selector = FieldSelector::parse({reinterpret_cast<const char*>(data), size})) {
    WF_CHECK(FieldSelector::parse(selector->text()) == selector);
    selector->matches(pod);
  }
  return 0;
}
