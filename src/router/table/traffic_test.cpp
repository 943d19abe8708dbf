#include "router/table/traffic.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace workflow::router::table {
namespace {

struct Memory {
  std::unique_ptr<std::uint64_t[]> words = std::make_unique<std::uint64_t[]>(Traffic::size() / 8 + 1);
};

TEST(Traffic, is_counted_by_app) {
  Memory memory;
  Traffic traffic(memory.words.get());
  traffic.start(99);
  traffic.add("foo", {.status = 200, .milliseconds = 4, .received = 10, .sent = 100});
  traffic.add("foo", {.status = 503, .milliseconds = 20'000, .received = 1, .sent = 2});
  traffic.add("foo", {.status = 101, .milliseconds = 9'000, .kind = Sample::Kind::connection});
  const auto sums = traffic.find("foo");
  EXPECT_EQ(sums.by_class[0], 1u);
  EXPECT_EQ(sums.by_class[1], 1u);
  EXPECT_EQ(sums.by_class[4], 1u);
  EXPECT_EQ(sums.by_time[2], 1u) << "at most 5 ms";
  EXPECT_EQ(sums.by_time[traffic_buckets - 1], 1u);
  EXPECT_EQ(sums.milliseconds, 20'004u);
  EXPECT_EQ(sums.received, 11u);
  EXPECT_EQ(sums.sent, 102u);
  EXPECT_EQ(traffic.find("bar"), Sums());
  Traffic after_a_restart(memory.words.get());
  after_a_restart.start(123);
  EXPECT_EQ(after_a_restart.find("foo"), sums);
}

TEST(Traffic, of_an_app_that_is_gone_leaves_room_for_others) {
  Memory memory;
  Traffic traffic(memory.words.get());
  traffic.start(5);
  for (std::size_t i = 0; i < 2 * Traffic::max_apps; ++i) traffic.add("app-" + std::to_string(i), {.status = 200});
  EXPECT_GT(traffic.others().by_class[1], 0u);
  std::uint64_t sum = traffic.others().by_class[1];
  for (std::size_t i = 0; i < 2 * Traffic::max_apps; ++i) sum += traffic.find("app-" + std::to_string(i)).by_class[1];
  EXPECT_EQ(sum, 2 * Traffic::max_apps) << "nothing is lost";
  traffic.add("late", {.status = 200});
  traffic.keep_only({"late"});
  EXPECT_EQ(traffic.find("app-1"), Sums());
  traffic.add("later", {.status = 200});
  EXPECT_EQ(traffic.find("later").by_class[1], 1u);
}

TEST(Traffic, of_all_workers_adds_up) {
  Memory memory;
  Traffic(memory.words.get()).start(5);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      Traffic traffic(memory.words.get());
      for (int n = 0; n < 10'000; ++n) traffic.add("app-" + std::to_string(n % 100), {.status = 200, .sent = 3});
    });
  }
  for (auto& thread : threads) thread.join();
  for (int n = 0; n < 100; ++n) {
    EXPECT_EQ(Traffic(memory.words.get()).find("app-" + std::to_string(n)).by_class[1], 400u);
    EXPECT_EQ(Traffic(memory.words.get()).find("app-" + std::to_string(n)).sent, 1200u);
  }
}

}  // namespace
}  // namespace workflow::router::table
