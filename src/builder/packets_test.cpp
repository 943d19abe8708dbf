#include "builder/packets.h"

#include <gtest/gtest.h>

namespace workflow::builder {
namespace {

using namespace std::literals;

TEST(PacketReader, knows_where_a_packet_may_be_put_in) {
  const auto stream = "0008abcd00000004000bsideban"s;
  for (std::size_t piece : {std::size_t{1}, std::size_t{3}, stream.size()}) {
    PacketReader reader;
    std::string boundaries;
    EXPECT_TRUE(reader.at_boundary());
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      reader.skip(std::string_view(stream).substr(at, piece));
      if (piece == 1) boundaries += reader.at_boundary() ? '|' : '.';
    }
    EXPECT_TRUE(reader.at_boundary());
    if (piece == 1) EXPECT_EQ(boundaries, ".......|...|...|..........|");
  }
}

TEST(PacketReader, puts_nothing_into_what_is_no_packet) {
  for (const auto& bytes : {"PACK"s, "fff1xx"s, "00g0"s}) {
    PacketReader reader;
    reader.skip(bytes);
    EXPECT_FALSE(reader.at_boundary()) << bytes;
    reader.skip("0000");
    EXPECT_FALSE(reader.at_boundary()) << bytes;
  }
}

TEST(PushRequest, tells_what_the_pushers_git_can) {
  const auto zeros = std::string(40, '0'), ones = std::string(40, '1');
  const auto command = zeros + " " + ones + " refs/heads/master\0 report-status side-band-64k atomic agent=git/2"s;
  char head[5];
  std::snprintf(head, sizeof head, "%04zx", command.size() + 4);
  const auto shallow = "0035shallow "s + ones + "\n";
  for (const auto& before : {""s, shallow}) {
    const auto stream = before + head + command + "0000PACK....0000";
    PushRequest whole, slow;
    whole.feed(stream);
    for (const char c : stream) slow.feed({&c, 1});
    for (const auto* request : {&whole, &slow}) {
      EXPECT_TRUE(request->can("side-band-64k") && request->can("atomic") && request->can("report-status"));
      EXPECT_FALSE(request->can("push-options"));
    }
  }
  PushRequest nothing;
  nothing.feed("0000");
  nothing.feed("0009\0atomic");
  EXPECT_FALSE(nothing.can("atomic"));
}

TEST(SidebandPackets, carry_text_of_any_length) {
  EXPECT_EQ(sideband_packets("hello\n"), "000b\2hello\n");
  EXPECT_EQ(sideband_packets(""), "");
  const auto packets = sideband_packets(std::string(70'000, 'x'));
  EXPECT_TRUE(packets.starts_with("fff0\2x"));
  PacketReader reader;
  std::string_view rest = packets;
  std::size_t count = 0, bytes = 0;
  while (!rest.empty()) {
    if (!reader.take(rest)) continue;
    ++count;
    bytes += reader.payload().size() - 1;
  }
  EXPECT_EQ(count, 2u);
  EXPECT_EQ(bytes, 70'000u);
}

TEST(Report, is_what_git_would_have_said) {
  const std::vector<RefResult> results{{"refs/tags/a", ""}, {"refs/heads/master", "release failed"}};
  const std::string report = "000eunpack ok\n0013ok refs/tags/a\n0028ng refs/heads/master release failed\n0000";
  EXPECT_EQ(report_packets(results, Sideband::no), report);
  EXPECT_EQ(report_packets(results, Sideband::yes), "0052\1" + report + "0000");
}

}  // namespace
}  // namespace workflow::builder
