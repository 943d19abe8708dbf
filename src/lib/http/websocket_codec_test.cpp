#include "lib/http/websocket_codec.h"

#include <gtest/gtest.h>

namespace workflow::http {
namespace {

using Masking = WebSocketDecoder::Masking;

std::string frame(int first, const std::string& payload) {
  auto bytes = encode_frame(Opcode::text, payload, std::nullopt);
  bytes[0] = static_cast<char>(first);
  return bytes;
}

std::string describe(const WebSocketEvent& event) {
  if (const auto* message = std::get_if<WebSocket::Message>(&event)) {
    return (message->binary ? "binary " : "text ") + message->data;
  }
  if (const auto* ping = std::get_if<Ping>(&event)) return "ping " + ping->payload;
  if (std::holds_alternative<Pong>(event)) return "pong";
  if (const auto* closed = std::get_if<Closed>(&event)) return "closed " + std::to_string(closed->code);
  return "violation " + std::to_string(std::get<Violation>(event).code);
}

std::vector<std::string> decode(const std::string& bytes, std::size_t piece, std::size_t limit = 1000) {
  WebSocketDecoder decoder(Masking::forbidden, limit);
  std::vector<std::string> events;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    decoder.feed(std::string_view(bytes).substr(at, piece));
    while (auto event = decoder.next()) {
      events.push_back(describe(*event));
      if (events.back().starts_with("violation") || events.back().starts_with("closed")) return events;
    }
  }
  return events;
}

TEST(WebSocketDecoder, reads_messages_in_pieces_of_any_size) {
  const auto bytes = frame(0x81, "hello") + frame(0x02, "ab") + frame(0x89, "p") + frame(0x00, "c") + frame(0x80, "d") +
                     frame(0x8a, "") + frame(0x81, "") + frame(0x88, close_payload(1001, "bye"));
  const std::vector<std::string> expected{"text hello", "ping p", "binary abcd", "pong", "text ", "closed 1001"};
  for (std::size_t piece = 1; piece <= bytes.size(); ++piece) EXPECT_EQ(decode(bytes, piece), expected) << piece;
}

TEST(WebSocketDecoder, names_violations_by_their_code) {
  struct Case {
    std::string what, bytes;
    int code;
  };
  const Case cases[] = {
      {"reserved bit", frame(0xc1, "x"), 1002},
      {"unknown opcode", frame(0x83, "x"), 1002},
      {"unknown control", frame(0x8b, "x"), 1002},
      {"masked by a server", encode_frame(Opcode::text, "x", 0x12345678), 1002},
      {"long control", frame(0x89, std::string(126, 'x')), 1002},
      {"fragmented control", frame(0x09, "x"), 1002},
      {"continuation of nothing", frame(0x80, "x"), 1002},
      {"new message inside", frame(0x01, "x") + frame(0x81, "y"), 1002},
      {"length not minimal", std::string("\x82\x7e\x00\x05hello", 9), 1002},
      {"too large", frame(0x82, std::string(1001, 'x')), 1009},
      {"too large in pieces", frame(0x02, std::string(600, 'x')) + frame(0x80, std::string(600, 'x')), 1009},
      {"not UTF-8", frame(0x81, "\xc3"), 1007},
      {"close of one byte", frame(0x88, "x"), 1002},
      {"close code", frame(0x88, close_payload(1005, "")), 1002},
      {"close reason", frame(0x88, close_payload(1000, "\xff")), 1007},
  };
  for (const auto& [what, bytes, code] : cases) {
    const auto events = decode(bytes, bytes.size());
    ASSERT_FALSE(events.empty()) << what;
    EXPECT_EQ(events.back(), "violation " + std::to_string(code)) << what;
  }
}

TEST(WebSocketFrame, decodes_to_what_was_encoded) {
  for (const std::size_t size : {0u, 1u, 125u, 126u, 127u, 65'535u, 65'536u, 100'000u}) {
    std::string payload;
    for (std::size_t i = 0; i < size; ++i) payload += static_cast<char>(i * 7);
    WebSocketDecoder decoder(Masking::required, 1u << 20);
    decoder.feed(encode_frame(Opcode::binary, payload, 0xdeadbeef));
    const auto event = decoder.next();
    ASSERT_TRUE(event) << size;
    EXPECT_EQ(describe(*event), "binary " + payload) << size;
  }
}

TEST(Utf8, accepts_and_refuses) {
  for (const std::string good : {"", "a", "ü", "€", "😀", "\xf4\x8f\xbf\xbf"}) EXPECT_TRUE(is_utf8(good)) << good;
  for (const std::string bad :
       {"\x80", "\xc0\x80", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff"}) {
    EXPECT_FALSE(is_utf8(bad)) << bad;
  }
}

TEST(ClosePayload, cuts_the_reason_between_characters) {
  std::string reason(122, 'x');
  reason += "ü";
  EXPECT_EQ(close_payload(1000, reason).size(), 2u + 122u);
}

}  // namespace
}  // namespace workflow::http
