// Frames from a peer: the same events whether they arrive whole or byte by byte, and no crash.
#include <cstdint>
#include <string_view>

#include "lib/base/error.h"
#include "lib/http/websocket_codec.h"

using namespace workflow;
using namespace workflow::http;

namespace {

std::size_t events_in(std::string_view bytes, std::size_t piece, WebSocketDecoder::Masking masking) {
  WebSocketDecoder decoder(masking, 1000);
  std::size_t count = 0;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    decoder.feed(bytes.substr(at, piece));
    while (auto event = decoder.next()) {
      ++count;
      if (const auto* message = std::get_if<WebSocket::Message>(&*event)) {
        WF_CHECK(message->data.size() <= 1000 && (message->binary || is_utf8(message->data)));
      }
      if (std::holds_alternative<Violation>(*event) || std::holds_alternative<Closed>(*event)) return count;
    }
  }
  return count;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const auto masking : {WebSocketDecoder::Masking::required, WebSocketDecoder::Masking::forbidden}) {
    WF_CHECK(events_in(bytes, 1, masking) == events_in(bytes, size + 1, masking));
  }
  return 0;
}
