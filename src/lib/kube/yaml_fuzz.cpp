#include <cstdint>

#include "lib/base/error.h"
#include "lib/kube/yaml.h"

// Only Error leaves the parser, and what it returns survives printing.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace workflow::kube;
  try {
    const auto value = parse_yaml({reinterpret_cast<const char*>(data), size});
    WF_CHECK(parse_yaml(print_yaml(value)) == value);
  } catch (const workflow::Error&) {
  }
  return 0;
}
