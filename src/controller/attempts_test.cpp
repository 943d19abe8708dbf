#include "controller/attempts.h"

#include <gtest/gtest.h>

namespace workflow::controller {
namespace {

using namespace std::chrono_literals;

TEST(Attempts, pause_after_the_allowed_failures_until_the_minute_is_over) {
  ManualClock clock;
  Attempts attempts(3);
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(attempts.pause("alice", clock.now())) << i;
    attempts.failed("alice", clock.now());
    clock.advance(10s);
  }
  EXPECT_EQ(attempts.pause("alice", clock.now()), 30s);
  EXPECT_FALSE(attempts.pause("bob", clock.now()));
  clock.advance(29s + 1ms);
  EXPECT_EQ(attempts.pause("alice", clock.now()), 1s);
  clock.advance(1s);
  EXPECT_FALSE(attempts.pause("alice", clock.now()));
  attempts.failed("alice", clock.now());
  EXPECT_FALSE(attempts.pause("alice", clock.now()));  // a new minute
}

TEST(Attempts, are_forgotten_on_success) {
  Attempts attempts(1);
  attempts.failed("alice", {});
  EXPECT_TRUE(attempts.pause("alice", {}));
  attempts.succeeded("alice");
  EXPECT_FALSE(attempts.pause("alice", {}));
}

TEST(Attempts, of_any_number_are_allowed_with_zero) {
  Attempts attempts(0);
  for (int i = 0; i < 100; ++i) attempts.failed("alice", {});
  EXPECT_FALSE(attempts.pause("alice", {}));
}

TEST(Attempts, keep_a_bounded_number_of_names) {
  Attempts attempts(1);
  for (int i = 0; i < 150'000; ++i) attempts.failed(std::to_string(i), {});
  EXPECT_LE(attempts.size(), 100'000u);
}

}  // namespace
}  // namespace workflow::controller
