#include "builder/output.h"

#include <gtest/gtest.h>

namespace workflow::builder {
namespace {

using namespace std::chrono_literals;

const std::string prefix = "\x1b[1G\x1b[K";

TEST(LinePrefixer, begins_each_line_whatever_pieces_it_comes_in) {
  LinePrefixer prefixer;
  EXPECT_EQ(prefixer.feed("one\ntw"), prefix + "one\n" + prefix + "tw");
  EXPECT_FALSE(prefixer.at_line_start());
  EXPECT_EQ(prefixer.feed("o"), "o");
  EXPECT_EQ(prefixer.feed("\n"), "\n");
  EXPECT_TRUE(prefixer.at_line_start());
  EXPECT_EQ(prefixer.feed(""), "");
  EXPECT_EQ(prefixer.feed("\n"), prefix + "\n");
}

TEST(Phases, are_shown_in_seconds) {
  EXPECT_EQ(phases_text({.receive = 120ms, .upload = 42ms, .build = 61s, .release = 0ms, .total = 61'166ms}),
            "Time: receive 0.12 s, upload 0.04 s, build 61.00 s, release 0.00 s, total 61.17 s");
}

}  // namespace
}  // namespace workflow::builder
