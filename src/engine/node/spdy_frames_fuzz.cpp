// Bytes of a client that speaks SPDY: no crash, bounds hold, and however they are cut, the same frames come of them.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/node/spdy_frames.h"
#include "lib/base/error.h"

namespace {

using namespace workflow::engine;

// What frames say, with the pieces of a data frame put together.
std::string story(std::string_view bytes, std::size_t cut) {
  spdy::Decoder decoder;
  std::string told;
  std::uint32_t talking = 0;
  for (std::size_t at = 0; at < bytes.size(); at += cut) {
    decoder.feed(bytes.substr(at, cut));
    while (auto frame = decoder.next()) {
      if (const auto* data = std::get_if<spdy::Data>(&*frame)) {
        if (data->stream != talking) told += "|" + std::to_string(data->stream) + ":";
        talking = data->stream;
        told += data->bytes;
        if (data->last) told += "|end";
        continue;
      }
      told += "|" + std::to_string(frame->index());
      if (const auto* open = std::get_if<spdy::Open>(&*frame)) {
        WF_CHECK(open->headers.size() <= spdy::most_headers);
        for (const auto& [name, value] : open->headers) told += name + "=" + value + ";";
      }
      if (std::holds_alternative<spdy::Violation>(*frame)) return told;
    }
  }
  return told;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  WF_CHECK(story(bytes, std::max<std::size_t>(size, 1)) == story(bytes, 7));
  return 0;
}
