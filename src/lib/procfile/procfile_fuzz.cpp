// Only Error leaves the parser, and what it makes of a file survives being stored.
#include <algorithm>
#include <cctype>
#include <cstdint>

#include "lib/base/error.h"
#include "lib/procfile/procfile.h"

namespace {

using namespace workflow;

bool is_name(const std::string& text) {
  return !text.empty() &&
         std::ranges::all_of(text, [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-'; });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const auto types = procfile::parse(text);
    const bool printable = std::ranges::all_of(types, [](const auto& type) { return is_name(type.first); });
    if (printable) WF_CHECK(procfile::parse(procfile::print(types)) == types);
  } catch (const Error&) {
  }
  try {
    procfile::parse_release(text);
  } catch (const Error&) {
  }
  return 0;
}
