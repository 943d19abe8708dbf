#include <cstdint>

#include "lib/base/error.h"
#include "lib/base/time_zone.h"

// Whatever parses has an offset at all times, and each span leads to a later one.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace workflow;
  using namespace std::chrono;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto check = [](const auto& zone) {
    for (auto at = sys_seconds(sys_days(year(1890) / 1 / 1)); at < sys_days(year(2200) / 1 / 1);) {
      const auto span = zone.span_at(at);
      WF_CHECK(span.end > at && span.offset > hours(-25) && span.offset < hours(26));
      at = std::max(span.end, at + days(300));
    }
  };
  if (const auto zone = TimeZone::parse(bytes)) check(*zone);
  if (const auto rule = TimeZone::parse_rule(bytes)) check(*rule);
  return 0;
}
