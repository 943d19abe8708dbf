#include <cstdint>

#include "engine/apiserver/api_error.h"
#include "engine/apiserver/patch.h"
#include "lib/base/error.h"

// A byte that chooses kind and type, then the object and the patch, a line each.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace workflow;
  using namespace workflow::engine;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto end = text.find('\n');
  const auto live = parse_json(text.substr(0, end));
  const auto patch = end == std::string_view::npos ? std::nullopt : parse_json(text.substr(end + 1));
  if (!live || !live->is_object() || !patch) return 0;
  const auto* type = find_type(data[0] % 2 == 0 ? "io.k8s.api.apps.v1.Deployment" : "io.k8s.api.core.v1.Service");
  try {
    switch (data[0] / 2 % 3) {
      case 0: json_patched(live->get_object(), *patch); break;
      case 1: {
        const auto once = merge_patched(live->get_object(), *patch);
        WF_CHECK(merge_patched(once, *patch) == once);
        break;
      }
      default: strategic_patched(type, live->get_object(), *patch); break;
    }
  } catch (const ApiError& error) {
    WF_CHECK(error.code() == 400 || error.code() == 422);
  }
  return 0;
}
