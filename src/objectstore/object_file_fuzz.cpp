// The tail of an object's file as a damaged disk might give it: no crash, and what is accepted is what would be
// written.
#include <cstdint>
#include <string_view>

#include "lib/base/error.h"
#include "objectstore/object_file.h"

using namespace workflow;
using namespace workflow::objectstore;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (bytes.size() >= footer_size) (void)tail_size(bytes.substr(bytes.size() - footer_size), size);
  if (const auto tail = decode_tail(bytes)) WF_CHECK(decode_tail(encode_tail(*tail)) == *tail);
  // The checksum keeps the fuzzer out of the rest, so it is also given a right one.
  if (bytes.size() > 4) {
    std::string mended(bytes.substr(0, bytes.size() - 4));
    const auto sum = crc32c(mended);
    for (int shift = 0; shift < 32; shift += 8) mended += static_cast<char>(sum >> shift);
    if (const auto tail = decode_tail(mended)) WF_CHECK(decode_tail(encode_tail(*tail)) == *tail);
  }
  return 0;
}
