// src/lib/http/websocket_codec.h: frames of RFC 6455 as bytes. Pure; inside lib/http only.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "lib/http/http.h"

namespace workflow::http {

enum class Opcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };
using Mask = std::uint32_t;

struct Ping {
  std::string payload;
};
struct Pong {};
struct Closed {  // the peer's close frame
  std::uint16_t code = 1005;
  std::string reason;
};
struct Violation {  // of the protocol: end the connection with this code
  std::uint16_t code = 1002;
  std::string reason;
};
using WebSocketEvent = std::variant<WebSocket::Message, Ping, Pong, Closed, Violation>;

// Bytes in, messages and control frames out. After Closed or Violation nothing more comes.
class WebSocketDecoder {
 public:
  enum class Masking { required, forbidden };  // a server's peer masks, a client's does not
  WebSocketDecoder(Masking masking, std::size_t message_limit) : masking_(masking), limit_(message_limit) {}
  void feed(std::string_view bytes) { buffer_ += bytes; }
  std::optional<WebSocketEvent> next();  // nullopt: more bytes are needed

 private:
  struct Frame {
    bool final = false;
    Opcode opcode = Opcode::continuation;
    std::string payload;
  };
  std::variant<std::monostate, Frame, Violation> take_frame();
  std::optional<WebSocketEvent> accept(Frame frame);
  Masking masking_;
  std::size_t limit_;
  std::string buffer_;
  std::optional<WebSocket::Message> partial_;
};

// A complete frame; masked when `mask` is given.
std::string encode_frame(Opcode opcode, std::string_view payload, std::optional<Mask> mask);
std::string close_payload(std::uint16_t code, std::string_view reason);
bool is_utf8(std::string_view text);

}  // namespace workflow::http
