#include "lib/http/websocket.h"

#include <poll.h>

#include <algorithm>
#include <cstring>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/text.h"

namespace workflow::http {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t message_limit = 16u << 20;
constexpr auto close_timeout = 5s;
constexpr auto as_long_as_it_likes = 24h * 365;

Mask random_mask() {
  Mask mask = 0;
  std::memcpy(&mask, random_bytes(sizeof(mask)).data(), sizeof(mask));
  return mask;
}

}  // namespace

std::string websocket_accept(std::string_view key) {
  return to_base64(sha1(std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
}

std::string choose_subprotocol(const std::vector<std::string>& ours, const Headers& request) {
  std::vector<std::string> offered;
  for (const auto& [name, value] : request) {
    if (!equal_ignoring_case(name, "Sec-WebSocket-Protocol")) continue;
    for (const auto& item : split(value, ',')) offered.emplace_back(trim(item));
  }
  for (const auto& protocol : ours) {
    if (std::ranges::find(offered, protocol) != offered.end()) return protocol;
  }
  return "";
}

WebSocketStream::WebSocketStream(Stream& stream, Side side, std::string subprotocol)
    : stream_(stream),
      side_(side),
      subprotocol_(std::move(subprotocol)),
      decoder_(side == Side::server ? WebSocketDecoder::Masking::required : WebSocketDecoder::Masking::forbidden,
               message_limit),
      changed_(stream.transport().socket().get_executor()) {
  stream_.transport().watchdog().reading_until(never);
  stream_.transport().write_timeout = as_long_as_it_likes;
}

Task<std::optional<WebSocket::Message>> WebSocketStream::read() {
  struct Reading {
    explicit Reading(WebSocketStream& socket) : socket_(socket) { socket_.reading_ = true; }
    ~Reading() {
      socket_.reading_ = false;
      socket_.changed_.notify_all();
    }
    WebSocketStream& socket_;
  } reading(*this);
  while (!peer_closed_) {
    auto event = decoder_.next();
    if (!event) {
      if (stream_.unread().empty() && !co_await stream_.fill(16u << 10)) {
        peer_closed_ = true;
        if (close_sent_) break;
        throw Error{ErrorKind::unavailable, "the peer broke off without closing the WebSocket"};
      }
      decoder_.feed(stream_.unread());
      stream_.consume(stream_.unread().size());
    } else if (auto* message = std::get_if<Message>(&*event)) {
      co_return std::move(*message);
    } else if (auto* ping = std::get_if<Ping>(&*event)) {
      if (!close_sent_) co_await send(Opcode::pong, std::move(ping->payload));
    } else if (auto* closed = std::get_if<Closed>(&*event)) {
      peer_closed_ = true;
      if (!close_sent_) co_await send_close(closed->code == 1005 ? 1000 : closed->code, "");
    } else if (auto* violation = std::get_if<Violation>(&*event)) {
      peer_closed_ = true;
      if (!close_sent_) co_await send_close(violation->code, violation->reason);
      throw Error{ErrorKind::invalid, "the peer broke the WebSocket protocol: " + violation->reason};
    }
  }
  co_return std::nullopt;
}

Task<> WebSocketStream::write(Message message) {
  if (close_sent_) throw Error{ErrorKind::unavailable, "the WebSocket is closed"};
  co_await send(message.binary ? Opcode::binary : Opcode::text, std::move(message.data));
}

// A pong must not fall into the middle of the writer's frame.
Task<> WebSocketStream::send(Opcode opcode, std::string payload) {
  while (writing_) co_await changed_.wait(changed_.version());
  struct Writing {
    explicit Writing(WebSocketStream& socket) : socket_(socket) { socket_.writing_ = true; }
    ~Writing() {
      socket_.writing_ = false;
      socket_.changed_.notify_all();
    }
    WebSocketStream& socket_;
  } writing(*this);
  std::optional<Mask> mask;
  if (side_ == Side::client) mask = random_mask();
  const std::string frame = encode_frame(opcode, payload, mask);
  co_await stream_.transport().write(frame);
}

Task<> WebSocketStream::send_close(std::uint16_t code, std::string reason) {
  close_sent_ = true;
  co_await send(Opcode::close, close_payload(code, reason));
}

Task<> WebSocketStream::close(std::uint16_t code, std::string reason) {
  co_await with_deadline(close_timeout, "the peer did not answer the close", close_both(code, std::move(reason)));
}

Task<> WebSocketStream::close_both(std::uint16_t code, std::string reason) {
  if (!close_sent_) co_await send_close(code, std::move(reason));
  while (reading_ && !peer_closed_) co_await changed_.wait(changed_.version());
  co_await drop_until_closed();
}

Task<> WebSocketStream::drop_until_closed() {
  while (co_await read()) {
  }
}

// Bytes that wait unread keep the socket readable, and the peer's end of the stream waits behind them. So then we say
// something each second: the kernel of a peer that has gone refuses it. A pong that nobody asked for is allowed (RFC
// 6455, section 5.5.3), and tells a peer whose pings wait, too, that we are there.
Task<> WebSocketStream::gone() {
  auto& socket = stream_.transport().socket();
  for (;;) {
    co_await socket.async_wait(tcp::socket::wait_read, asio::use_awaitable);
    pollfd query{.fd = socket.native_handle(), .events = POLLRDHUP, .revents = 0};
    if (::poll(&query, 1, 0) > 0) co_return;
    co_await sleep_for(1s);
    if (reading_ || close_sent_) continue;
    try {
      co_await send(Opcode::pong, "");
    } catch (const Error&) {
      co_return;
    }
  }
}

Task<> WebSocketStream::finish(std::uint16_t code) {
  try {
    co_await close(code, "");
  } catch (...) {
    // The connection ends now in any case.
  }
}

}  // namespace workflow::http
