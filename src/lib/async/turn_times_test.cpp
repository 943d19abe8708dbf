#include "lib/async/turn_times.h"

#include <gtest/gtest.h>

#include <boost/asio/post.hpp>
#include <functional>

namespace workflow {

using namespace std::chrono_literals;

TEST(TurnTimes, count_what_is_longer_than_each_bound) {
  TurnTimes times;
  for (const auto turn : {1ms, 10ms, 11ms, 60ms, 2000ms}) times.add(turn);
  EXPECT_EQ(times.longer_than(0), 3u);
  EXPECT_EQ(times.longer_than(1), 2u);
  EXPECT_EQ(times.longer_than(2), 2u);
  EXPECT_EQ(times.longer_than(3), 1u);
}

TEST(TurnTimes, the_longest_is_that_since_it_was_asked_for) {
  TurnTimes times;
  times.add(60ms);
  times.add(20ms);
  EXPECT_EQ(times.take_longest(), 60ms);
  times.add(5ms);
  EXPECT_EQ(times.take_longest(), 5ms);
  EXPECT_EQ(times.take_longest(), 0ms);
}

TEST(TurnTimes, a_measured_loop_does_all_its_work_and_is_known_while_it_runs) {
  asio::io_context context;
  TurnTimes times;
  int turns = 0;
  const TurnTimes* seen = nullptr;
  std::function<void()> again = [&] {
    seen = turn_times();
    if (++turns < 3) asio::post(context, again);
  };
  asio::post(context, again);
  EXPECT_EQ(turn_times(), nullptr);
  run_measured(context, times);
  EXPECT_EQ(turns, 3);
  EXPECT_EQ(seen, &times);
  EXPECT_EQ(turn_times(), nullptr);
  EXPECT_GT(times.take_longest(), 0ns);
}

}  // namespace workflow
