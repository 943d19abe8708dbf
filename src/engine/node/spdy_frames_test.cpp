#include "engine/node/spdy_frames.h"

#include <gtest/gtest.h>

namespace workflow::engine::spdy {
namespace {

std::vector<Frame> frames_of(Decoder& decoder, std::string_view bytes, std::size_t cut) {
  std::vector<Frame> frames;
  for (std::size_t at = 0; at < bytes.size(); at += cut) {
    decoder.feed(bytes.substr(at, cut));
    while (auto frame = decoder.next()) {
      frames.push_back(*frame);
      if (std::holds_alternative<Violation>(*frame)) return frames;
    }
  }
  return frames;
}

TEST(SpdyFrames, headers_of_several_streams_are_one_zlib_stream) {
  Encoder encoder;
  std::string wire;
  for (std::uint32_t id = 1; id <= 7; id += 2) {
    wire += encoder.open({id, {{"streamtype", "stdin"}, {"port", std::to_string(id)}}, id == 7});
    wire += encoder.reply(id);  // passed over; its block belongs to the stream all the same
  }
  for (const std::size_t cut : {std::size_t{1}, std::size_t{13}, wire.size()}) {
    Decoder decoder;
    const auto frames = frames_of(decoder, wire, cut);
    ASSERT_EQ(frames.size(), 4u) << cut;
    for (std::size_t i = 0; i < frames.size(); ++i) {
      const auto& open = std::get<Open>(frames[i]);
      EXPECT_EQ(open.stream, 2 * i + 1);
      EXPECT_EQ(open.headers, (Headers{{"streamtype", "stdin"}, {"port", std::to_string(open.stream)}}));
      EXPECT_EQ(open.last, i == 3);
    }
  }
}

TEST(SpdyFrames, data_comes_in_pieces_and_only_the_last_one_ends_its_stream) {
  const std::string bytes(200'000, 'x');
  Decoder decoder;
  std::string got;
  std::size_t ends = 0;
  for (const auto& frame : frames_of(decoder, Encoder::data({3, bytes, true}), 150'000)) {
    const auto& data = std::get<Data>(frame);
    EXPECT_EQ(data.stream, 3u);
    EXPECT_LE(data.bytes.size(), 64u << 10);
    got += data.bytes;
    if (data.last) {
      ++ends;
      EXPECT_EQ(got.size(), bytes.size());
    }
  }
  EXPECT_EQ(got, bytes);
  EXPECT_EQ(ends, 1u);
}

TEST(SpdyFrames, small_frames_are_read) {
  Decoder decoder;
  const auto frames = frames_of(decoder,
                                Encoder::ping(9) + Encoder::window_update(1, 5) + Encoder::reset(5) +
                                    Encoder::data({5, "", false}) + Encoder::data({5, "", true}) + Encoder::go_away(5),
                                3);
  ASSERT_EQ(frames.size(), 4u);
  EXPECT_EQ(std::get<Ping>(frames[0]).id, 9u);
  EXPECT_EQ(std::get<Reset>(frames[1]).stream, 5u);
  EXPECT_TRUE(std::get<Data>(frames[2]).last);
  EXPECT_TRUE(std::holds_alternative<GoAway>(frames[3]));
}

TEST(SpdyFrames, what_is_too_large_or_broken_ends_the_reading) {
  struct Case {
    std::string why, wire;
  };
  Encoder encoder;
  Headers many;
  for (std::size_t i = 0; i <= most_headers; ++i) many.emplace_back("a", "b");
  const std::string broken_block =
      std::string("\x80\x03\x00\x01\x00\x00\x00\x0e\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00", 18) + "junk";
  const Case cases[] = {
      {"long control frame", std::string("\x80\x03\x00\x06\x00\xff\xff\xff", 8)},
      {"another version", std::string("\x80\x02\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01", 12)},
      {"short", std::string("\x80\x03\x00\x06\x00\x00\x00\x02\x00\x01", 10)},
      {"broken block", broken_block},
      {"a bomb", encoder.open({1, {{"a", std::string(most_header_bytes + 1, 'a')}}, false})},
      {"many headers", Encoder().open({1, many, false})},
  };
  for (const auto& [why, wire] : cases) {
    Decoder decoder;
    const auto frames = frames_of(decoder, wire, wire.size());
    ASSERT_EQ(frames.size(), 1u) << why;
    EXPECT_TRUE(std::holds_alternative<Violation>(frames[0])) << why;
    decoder.feed(Encoder::ping(1));
    EXPECT_TRUE(std::holds_alternative<Violation>(*decoder.next())) << why;
  }
}

}  // namespace
}  // namespace workflow::engine::spdy
