// A dump is a file that somebody hands over.
#include <cstddef>
#include <cstdint>

#include "controller/hephy/dump.h"
#include "lib/base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace workflow::controller::hephy;
  const auto dump = read_dump({reinterpret_cast<const char*>(data), size}, {"t", "api_app"});
  if (!dump) return 0;
  for (const auto& [name, table] : *dump) {
    for (const auto& row : table.rows) WF_CHECK(row.size() == table.columns.size());
  }
  return 0;
}
