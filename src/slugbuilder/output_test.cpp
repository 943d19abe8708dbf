#include "slugbuilder/output.h"

#include <gtest/gtest.h>

namespace workflow::slugbuilder {
namespace {

TEST(Indenter, moves_details_in_and_leaves_headings) {
  Indenter indenter;
  EXPECT_EQ(indenter.feed("-----> Step\ndetail\n  more  \n"), "-----> Step\n       detail\n       more\n");
}

TEST(Indenter, waits_for_whole_lines_and_loses_no_last_one) {
  Indenter indenter;
  EXPECT_EQ(indenter.feed("de"), "");
  EXPECT_EQ(indenter.feed("tail\nlast"), "       detail\n");
  EXPECT_EQ(indenter.finish(), "       last\n");
  EXPECT_EQ(indenter.finish(), "");
}

TEST(HumanSize, reads_like_du) {
  const std::pair<std::uint64_t, std::string> cases[] = {{0, "0B"},           {1000, "1000B"},    {4096, "4.0K"},
                                                         {1'782'579, "1.7M"}, {12u << 20, "12M"}, {3ull << 30, "3.0G"}};
  for (const auto& [bytes, text] : cases) EXPECT_EQ(human_size(bytes), text);
}

}  // namespace
}  // namespace workflow::slugbuilder
