#include "lib/http/websocket_codec.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace workflow::http {

namespace {

constexpr std::size_t control_limit = 125;

std::uint64_t big_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

void append_big_endian(std::string& out, std::uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(value >> (8 * i));
}

void apply_mask(char* data, std::size_t size, const std::array<char, 4>& key) {
  std::uint64_t wide = 0;
  std::memcpy(&wide, key.data(), 4);
  std::memcpy(reinterpret_cast<char*>(&wide) + 4, key.data(), 4);
  std::size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    std::uint64_t block = 0;
    std::memcpy(&block, data + i, 8);
    block ^= wide;
    std::memcpy(data + i, &block, 8);
  }
  for (; i < size; ++i) data[i] = static_cast<char>(data[i] ^ key[i % 4]);
}

bool is_control(Opcode opcode) { return static_cast<int>(opcode) >= 8; }

bool is_known(int opcode) { return opcode <= 2 || (opcode >= 8 && opcode <= 10); }

// Section 7.4: codes that may stand in a frame.
bool is_close_code(std::uint16_t code) {
  return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
         (code >= 3000 && code < 5000);
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || text.size() - i < length) return false;
    std::uint32_t point = lead & (0xffu >> (length + 1));
    for (std::size_t k = 1; k < length; ++k) {
      const auto byte = static_cast<unsigned char>(text[i + k]);
      if ((byte & 0xc0) != 0x80) return false;
      point = point << 6 | (byte & 0x3fu);
    }
    const bool overlong = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
    if (overlong || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return false;
    i += length;
  }
  return true;
}

std::variant<std::monostate, WebSocketDecoder::Frame, Violation> WebSocketDecoder::take_frame() {
  if (buffer_.size() < 2) return std::monostate();
  const auto first = static_cast<unsigned char>(buffer_[0]);
  const auto second = static_cast<unsigned char>(buffer_[1]);
  if ((first & 0x70) != 0) return Violation{1002, "reserved bits are set"};
  if (!is_known(first & 0x0f)) return Violation{1002, "unknown opcode"};
  Frame frame{.final = (first & 0x80) != 0, .opcode = static_cast<Opcode>(first & 0x0f)};
  const bool masked = (second & 0x80) != 0;
  if (masked != (masking_ == Masking::required)) return Violation{1002, "wrong masking"};

  std::uint64_t length = second & 0x7f;
  const std::size_t extended = length == 126 ? 2 : length == 127 ? 8 : 0;
  const std::size_t header = 2 + extended + (masked ? 4 : 0);
  if (is_control(frame.opcode) && (!frame.final || extended > 0)) return Violation{1002, "malformed control frame"};
  if (buffer_.size() < 2 + extended) return std::monostate();
  if (extended > 0) {
    length = big_endian(std::string_view(buffer_).substr(2, extended));
    if (length < (extended == 2 ? 126u : 65536u) || length >> 63 != 0) return Violation{1002, "malformed length"};
  }
  const std::size_t before = partial_ && !is_control(frame.opcode) ? partial_->data.size() : 0;
  if (length > limit_ || before > limit_ - length) {
    return Violation{1009, "the message is larger than " + std::to_string(limit_) + " bytes"};
  }
  if (buffer_.size() < header + length) return std::monostate();
  frame.payload = buffer_.substr(header, static_cast<std::size_t>(length));
  if (masked) {
    std::array<char, 4> key;
    std::memcpy(key.data(), buffer_.data() + header - 4, 4);
    apply_mask(frame.payload.data(), frame.payload.size(), key);
  }
  buffer_.erase(0, header + static_cast<std::size_t>(length));
  return frame;
}

std::optional<WebSocketEvent> WebSocketDecoder::accept(Frame frame) {
  switch (frame.opcode) {
    case Opcode::ping: return Ping{std::move(frame.payload)};
    case Opcode::pong: return Pong{};
    case Opcode::close: {
      if (frame.payload.empty()) return Closed{};
      if (frame.payload.size() == 1) return Violation{1002, "malformed close frame"};
      const auto code = static_cast<std::uint16_t>(big_endian(std::string_view(frame.payload).substr(0, 2)));
      std::string reason = frame.payload.substr(2);
      if (!is_close_code(code)) return Violation{1002, "unknown close code"};
      if (!is_utf8(reason)) return Violation{1007, "the close reason is not UTF-8"};
      return Closed{code, std::move(reason)};
    }
    case Opcode::continuation:
      if (!partial_) return Violation{1002, "a continuation of nothing"};
      partial_->data += frame.payload;
      break;
    case Opcode::text:
    case Opcode::binary:
      if (partial_) return Violation{1002, "a new message inside another"};
      partial_ = WebSocket::Message{frame.opcode == Opcode::binary, std::move(frame.payload)};
      break;
  }
  if (!frame.final) return std::nullopt;
  auto message = std::move(*partial_);
  partial_.reset();
  if (!message.binary && !is_utf8(message.data)) return Violation{1007, "the text is not UTF-8"};
  return message;
}

std::optional<WebSocketEvent> WebSocketDecoder::next() {
  for (;;) {
    auto taken = take_frame();
    if (std::holds_alternative<std::monostate>(taken)) return std::nullopt;
    if (auto* violation = std::get_if<Violation>(&taken)) return std::move(*violation);
    if (auto event = accept(std::move(std::get<Frame>(taken)))) return event;
  }
}

std::string encode_frame(Opcode opcode, std::string_view payload, std::optional<Mask> mask) {
  std::string frame;
  frame.reserve(payload.size() + 14);
  frame += static_cast<char>(0x80 | static_cast<int>(opcode));
  const int mask_bit = mask ? 0x80 : 0;
  if (payload.size() <= control_limit) {
    frame += static_cast<char>(mask_bit | static_cast<int>(payload.size()));
  } else if (payload.size() <= 0xffff) {
    frame += static_cast<char>(mask_bit | 126);
    append_big_endian(frame, payload.size(), 2);
  } else {
    frame += static_cast<char>(mask_bit | 127);
    append_big_endian(frame, payload.size(), 8);
  }
  if (!mask) return frame.append(payload);
  std::array<char, 4> key;
  std::memcpy(key.data(), &*mask, 4);
  frame.append(key.data(), 4);
  const auto start = frame.size();
  frame.append(payload);
  apply_mask(frame.data() + start, payload.size(), key);
  return frame;
}

std::string close_payload(std::uint16_t code, std::string_view reason) {
  std::string payload;
  append_big_endian(payload, code, 2);
  // At most 123 bytes, cut between characters.
  auto size = std::min<std::size_t>(reason.size(), control_limit - 2);
  while (size < reason.size() && size > 0 && (static_cast<unsigned char>(reason[size]) & 0xc0) == 0x80) --size;
  return payload.append(reason.substr(0, size));
}

}  // namespace workflow::http
