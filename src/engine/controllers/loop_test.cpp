#include "engine/controllers/loop.h"

#include <gtest/gtest.h>

#include <boost/asio/post.hpp>
#include <ctime>
#include <filesystem>

#include "engine/controllers/clock_watch.h"
#include "engine/test_support.h"

namespace workflow::engine {
namespace {

using namespace std::chrono_literals;

// Lets the loop run until `done` says so, and a moment longer, in which nothing more may happen.
void run_until(StoreFixture& fixture, Loop& loop, std::function<bool()> done) {
  auto wait = [](std::function<bool()> over) -> Task<> {
    while (!over()) co_await sleep_for(1ms);
    co_await sleep_for(50ms);
  };
  auto both = [&]() -> Task<> {
    TaskGroup group(co_await asio::this_coro::executor);
    group.spawn("loop", loop.run());
    co_await with_cleanup(wait(std::move(done)), [&group] { return group.stop(); });
  };
  fixture.run(both());
}

TEST(Loop, looks_again_in_the_order_of_time) {
  StoreFixture fixture;
  std::vector<std::string> seen;
  std::map<std::string, Time> again{
      {"late", fixture.clock.now() + 40ms}, {"never", fixture.clock.now() + 24h}, {"soon", fixture.clock.now() + 20ms}};
  auto reconcile = [&](std::string key) -> Task<std::optional<Time>> {
    seen.push_back(key);
    fixture.clock.advance(5ms);
    const auto found = again.extract(key);
    co_return found ? std::optional(found.mapped()) : std::nullopt;
  };
  Loop loop(fixture.context.get_executor(), "test", fixture.clock, reconcile);
  for (const char* key : {"late", "never", "soon"}) loop.add(key);
  // Virtual time goes on when somebody looks: each look is 5 ms.
  auto tick = [&] {
    fixture.clock.advance(1ms);
    return seen.size() >= 5;
  };
  run_until(fixture, loop, tick);
  EXPECT_EQ(seen, (std::vector<std::string>{"late", "never", "soon", "soon", "late"}));
}

TEST(Loop, forgets_the_time_of_a_key_that_changed_before_it) {
  StoreFixture fixture;
  int looks = 0;
  auto reconcile = [&](std::string) -> Task<std::optional<Time>> {
    co_return ++looks == 1 ? std::optional(fixture.clock.now() + 20ms) : std::nullopt;
  };
  Loop loop(fixture.context.get_executor(), "test", fixture.clock, reconcile);
  loop.add("key");
  bool changed = false;
  auto change = [&] {
    if (looks == 1 && !std::exchange(changed, true)) loop.add("key");
    if (looks >= 2) fixture.clock.advance(1h);
    return looks >= 2;
  };
  run_until(fixture, loop, change);
  EXPECT_EQ(looks, 2);
}

TEST(Loop, tries_what_failed_again_and_leaves_the_others_alone) {
  StoreFixture fixture;
  std::map<std::string, int> looks;
  auto reconcile = [&](std::string key) -> Task<std::optional<Time>> {
    if (++looks[key] < 3 && key == "bad") throw Error(ErrorKind::unavailable, "not yet");
    co_return std::nullopt;
  };
  Loop loop(fixture.context.get_executor(), "test", fixture.clock, reconcile);
  loop.add("bad");
  loop.add("good");
  auto tick = [&] {
    fixture.clock.advance(10ms);
    return looks["bad"] >= 3;
  };
  run_until(fixture, loop, tick);
  EXPECT_EQ(looks, (std::map<std::string, int>{{"bad", 3}, {"good", 1}}));
}

TEST(Loop, tries_again_whatever_was_thrown) {
  StoreFixture fixture;
  int looks = 0;
  auto reconcile = [&](std::string) -> Task<std::optional<Time>> {
    fixture.clock.advance(1s);
    switch (++looks) {
      case 1: throw std::filesystem::filesystem_error("full", std::make_error_code(std::errc::no_space_on_device));
      case 2: throw 7;
      default: co_return std::nullopt;
    }
  };
  Loop loop(fixture.context.get_executor(), "test", fixture.clock, reconcile);
  loop.add("key");
  run_until(fixture, loop, [&] {
    fixture.clock.advance(1s);
    return looks >= 3;
  });
  EXPECT_EQ(looks, 3);
}

TEST(Loop, looks_at_once_when_the_clock_was_set) {
  StoreFixture fixture;
  int looks = 0;
  auto reconcile = [&](std::string) -> Task<std::optional<Time>> {
    co_return ++looks == 1 ? std::optional(fixture.clock.now() + 1h) : std::nullopt;
  };
  Loop loop(fixture.context.get_executor(), "test", fixture.clock, reconcile);
  loop.add("key");
  bool set = false;
  run_until(fixture, loop, [&] {  // an hour of the loop's own timer would be the end of the test
    if (looks == 1 && !std::exchange(set, true)) {
      fixture.clock.advance(1h);
      loop.look_at_clock();
    }
    return looks == 2;
  });
  EXPECT_EQ(looks, 2);
}

// Steps that have nothing to wait for end within their start.
TEST(Loop, lets_others_have_their_turn_while_many_keys_are_looked_at) {
  StoreFixture fixture;
  constexpr std::size_t keys = 200;
  std::size_t looks = 0, looks_before_the_other = 0;
  auto reconcile = [&](std::string) -> Task<std::optional<Time>> {
    const auto begun = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() - begun < 1ms) continue;
    if (++looks == 1) asio::post(fixture.context, [&] { looks_before_the_other = looks; });
    co_return std::nullopt;
  };
  Loop loop(fixture.context.get_executor(), "test", fixture.clock, reconcile);
  for (std::size_t i = 0; i < keys; ++i) loop.add("key " + std::to_string(i));
  run_until(fixture, loop, [&] { return looks == keys; });
  EXPECT_EQ(looks, keys);
  EXPECT_GT(looks_before_the_other, 0u);
  EXPECT_LT(looks_before_the_other, keys);
}

TEST(ClockWatch, tells_when_the_clock_is_set) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  if (::clock_settime(CLOCK_REALTIME, &now) != 0) GTEST_SKIP() << "only root may set the clock";
  StoreFixture fixture;
  int told = 0;
  auto set_and_wait = [&]() -> Task<> {
    TaskGroup group(co_await asio::this_coro::executor);
    group.spawn("clock", watch_clock([&] { ++told; }));
    auto wait = [&]() -> Task<> {
      for (int expected = 1; expected <= 2; ++expected) {  // and it goes on watching
        co_await sleep_for(1ms);
        ::clock_gettime(CLOCK_REALTIME, &now);
        ::clock_settime(CLOCK_REALTIME, &now);  // to what it is
        while (told < expected) co_await sleep_for(1ms);
      }
    };
    co_await with_cleanup(wait(), [&group] { return group.stop(); });
  };
  fixture.run(set_and_wait());
  EXPECT_GE(told, 2);
}

}  // namespace
}  // namespace workflow::engine
