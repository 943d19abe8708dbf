// src/lib/http/websocket.h: WebSocket over a stream, after the handshake; and the handshake's small rules. Inside
// lib/http.
#pragma once
#include <string>
#include <vector>

#include "lib/http/http.h"
#include "lib/http/stream.h"
#include "lib/http/websocket_codec.h"

namespace workflow::http {

std::string websocket_accept(std::string_view key);  // RFC 6455, section 4.2.2
std::string choose_subprotocol(const std::vector<std::string>& ours, const Headers& request);  // "": none

// Answers pings while somebody reads. A peer that vanished without a word is found by TCP keep-alive.
class WebSocketStream : public WebSocket {
 public:
  enum class Side { server, client };
  WebSocketStream(Stream& stream, Side side, std::string subprotocol);
  Task<std::optional<Message>> read() override;
  Task<> write(Message message) override;
  Task<> close(std::uint16_t code, std::string reason) override;
  Task<> gone() override;
  const std::string& subprotocol() const override { return subprotocol_; }

  Task<> finish(std::uint16_t code);  // the closing handshake unless it happened; no error leaves it
  bool peer_closed() const { return peer_closed_; }

 private:
  Task<> send(Opcode opcode, std::string payload);
  Task<> send_close(std::uint16_t code, std::string reason);
  Task<> drop_until_closed();
  Task<> close_both(std::uint16_t code, std::string reason);

  Stream& stream_;
  Side side_;
  std::string subprotocol_;
  WebSocketDecoder decoder_;
  Notifier changed_;
  bool writing_ = false, reading_ = false;
  bool close_sent_ = false, peer_closed_ = false;
};

}  // namespace workflow::http
