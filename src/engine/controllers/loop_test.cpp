#include "engine/controllers/loop.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace workflow::engine
