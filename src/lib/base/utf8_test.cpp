#include "lib/base/utf8.h"

#include <gtest/gtest.h>

#include <random>

namespace workflow {
namespace {

const std::string fffd = "\xEF\xBF\xBD";

struct Case {
  std::string text, valid;
};
const Case cases[] = {
    {"", ""},
    {"plain\n", "plain\n"},
    {"caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80", "caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80"},
    {"caf\xE9\n", "caf" + fffd + "\n"},               // Latin-1
    {"\x80", fffd},                                   // a continuation alone
    {"\xC0\xAF", fffd + fffd},                        // overlong '/'
    {"\xE0\x80\x80", fffd + fffd + fffd},             // overlong
    {"\xED\xA0\x80", fffd + fffd + fffd},             // a surrogate
    {"\xF4\x90\x80\x80", fffd + fffd + fffd + fffd},  // above U+10FFFF
    {"\xF5\xFF", fffd + fffd},
    {"\xF0\x9F\x98", fffd},  // cut by the end: one part, one replacement
    {"\xF0\x9F\x98"
     "A",
     fffd + "A"},
    {"\xE2\x82\xE2\x82\xAC", fffd + "\xE2\x82\xAC"},
    {std::string("a\0b", 3), std::string("a\0b", 3)},
};

TEST(Utf8, what_is_broken_is_replaced_and_the_rest_is_kept) {
  for (const auto& [text, valid] : cases) {
    EXPECT_EQ(valid_utf8(text), valid);
    EXPECT_EQ(is_valid_utf8(text), text == valid);
    EXPECT_TRUE(is_valid_utf8(valid));
  }
}

TEST(Utf8, pieces_give_the_same_as_the_whole_wherever_they_are_cut) {
  std::mt19937 random(7);
  const std::string parts[] = {"a",    "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xC3", "\xE2\x82",
                               "\xF0", "\x80",     "\xFF",         "\xED\xA0"};
  for (int round = 0; round < 2000; ++round) {
    std::string whole;
    for (int i = 0; i < 12; ++i) whole += parts[random() % std::size(parts)];
    Utf8Stream stream;
    std::string out;
    for (std::size_t at = 0; at < whole.size();) {
      const auto length = random() % 4;
      out += stream.add(std::string_view(whole).substr(at, length));
      EXPECT_TRUE(is_valid_utf8(out));
      at += length;
    }
    out += stream.end();
    ASSERT_EQ(out, valid_utf8(whole));
  }
}

TEST(Utf8, a_message_stays_on_its_line) {
  EXPECT_EQ(printable("a\nb\x1b[2J\x7f \xC3\xA9 \xE9"), "a\\nb\\x1b[2J\\x7f \xC3\xA9 " + fffd);
}

}  // namespace
}  // namespace workflow
