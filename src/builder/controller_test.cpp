#include "builder/controller.h"

#include <gtest/gtest.h>

namespace workflow::builder {
namespace {

using namespace std::chrono_literals;

TEST(Patience, is_as_long_for_each_absence_and_ends_for_one_who_never_comes) {
  struct Attempt {
    std::chrono::seconds begin, end;
    bool goes_on;
  };
  const std::vector<std::vector<Attempt>> histories = {
      // Never there.
      {{0s, 0s, true}, {30s, 35s, true}, {55s, 59s, true}, {56s, 60s, false}},
      // Away, there for two minutes of deploying, away again.
      {{0s, 0s, true},
       {50s, 50s, true},
       {55s, 175s, true},
       {176s, 176s, true},
       {230s, 234s, true},
       {231s, 235s, false}},
      // Gone for good after it had worked on it.
      {{0s, 600s, true}, {601s, 601s, true}, {655s, 660s, false}},
  };
  for (const auto& history : histories) {
    Patience patience(60s);
    const Patience::Time start{};
    for (const auto& [begin, end, goes_on] : history) {
      EXPECT_EQ(patience.goes_on(start + begin, start + end), goes_on) << end.count();
    }
  }
}

}  // namespace
}  // namespace workflow::builder
