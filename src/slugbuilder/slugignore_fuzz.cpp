// Any text is a .slugignore: it is read without an error, what says nothing leaves nothing out, and a name that stands
// in it alone is left out.
#include <algorithm>
#include <cstdint>
#include <string>

#include "lib/base/error.h"
#include "slugbuilder/slug.h"

namespace {

bool is_plain(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 256) return 0;  // patterns are the C library's; here it is about how they are found
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto left_out = workflow::slugbuilder::slugignore(text);
  for (const char* path : {"a", "a/b", "deep/a/file.psd", "test"}) left_out(path);
  if (is_plain(text)) WF_CHECK(left_out(text) && left_out("deep/" + text));
  WF_CHECK(!workflow::slugbuilder::slugignore("# " + text.substr(0, text.find('\n')) + "\n\n")("a"));
  workflow::slugbuilder::parse_buildpack_url(text);
  return 0;
}
