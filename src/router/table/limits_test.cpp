#include "router/table/limits.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

namespace workflow::router::table {
namespace {

struct Memory {
  std::unique_ptr<std::uint64_t[]> words = std::make_unique<std::uint64_t[]>(RateLimits::size / 8);
};

TEST(RateLimits, let_a_burst_in_and_then_the_rate) {
  Memory memory;
  RateLimits limits(memory.words.get());
  const Rate rate{.per_second = 10, .burst = 3};
  std::uint64_t now = 1'000'000'000;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(limits.take(7, rate, now), 0u) << i;
  EXPECT_EQ(limits.take(7, rate, now), 100'000u);
  EXPECT_EQ(limits.take(8, rate, now), 0u) << "another client";
  EXPECT_EQ(limits.take(7, rate, now + 99'999), 1u);
  EXPECT_EQ(limits.take(7, rate, now + 100'000), 0u);
  EXPECT_NE(limits.take(7, rate, now + 100'000), 0u) << "a refused request costs nothing, an accepted one does";
  now += 10'000'000;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(limits.take(7, rate, now), 0u) << "after a pause, " << i;
  EXPECT_NE(limits.take(7, rate, now), 0u);
}

TEST(RateLimits, count_for_all_workers_together) {
  Memory memory;
  std::atomic<int> accepted = 0;
  const auto work = [&] {
    RateLimits limits(memory.words.get());
    for (int i = 0; i < 1000; ++i) accepted += limits.take(7, {.per_second = 1, .burst = 500}, 1'000'000'000) == 0;
  };
  std::vector<std::thread> threads;
  RateLimits(memory.words.get()).take(7, {.per_second = 1, .burst = 500}, 1'000'000'000);
  for (int i = 0; i < 4; ++i) threads.emplace_back(work);
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(accepted, 499);
}

TEST(RateLimits, many_clients_take_no_more_room) {
  Memory memory;
  RateLimits limits(memory.words.get());
  const Rate rate{.per_second = 1, .burst = 1};
  for (std::uint64_t key = 1; key <= 1'000'000; ++key) EXPECT_EQ(limits.take(key * 0x9e3779b97f4a7c15, rate, 1), 0u);
}

}  // namespace
}  // namespace workflow::router::table
