#include <cstdint>

#include "engine/apiserver/api_error.h"
#include "engine/apiserver/apply.h"
#include "engine/apiserver/decode.h"
#include "engine/fields.h"
#include "lib/base/error.h"
#include "lib/base/text.h"

// Configurations, a line each, that two managers apply in turn. What was applied by force is there, and applying it
// again changes nothing.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace workflow;
  using namespace workflow::engine;
  if (size == 0) return 0;
  const auto& type = *find_type(data[0] % 2 == 0 ? "io.k8s.api.apps.v1.Deployment" : "io.k8s.api.core.v1.Service");
  json::object live;
  int turn = 0;
  for (const auto& line : split(std::string_view(reinterpret_cast<const char*>(data) + 1, size - 1), '\n')) {
    const auto value = parse_json(line);
    if (!value || !value->is_object()) continue;
    const Manager manager{
        .name = turn++ % 2 == 0 ? "first" : "second", .api_version = "v1", .subresource = "", .now = {}};
    try {
      std::vector<std::string> unknown;
      const auto wanted = checked_against(type, value->get_object(), unknown);
      const auto once = applied_to(type, live, wanted, manager, OnConflict::take_over);
      WF_CHECK(once.conflicts.empty());
      const auto again = applied_to(type, once.object, wanted, manager, OnConflict::refuse);
      WF_CHECK(again.conflicts.empty() && again.object == once.object);
      live = once.object;
      auto changed = live;
      child(changed, "spec").erase("replicas");
      live = with_tracked_fields(type, live, std::move(changed),
                                 {.name = "edit", .api_version = "v1", .subresource = "", .now = {}});
    } catch (const ApiError& error) {
      WF_CHECK(error.code() == 400);
    }
  }
  return 0;
}
