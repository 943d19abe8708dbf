#include "lib/async/task.h"

#include <gtest/gtest.h>

#include <csignal>
#include <stdexcept>
#include <thread>
#include <vector>

#include "lib/async/test_support.h"
#include "lib/base/error.h"
#include "lib/base/log.h"

namespace workflow {
namespace {

using namespace std::chrono_literals;

Task<> forever() { co_await sleep_for(1h); }

Task<> note_the_end(std::vector<std::string>& events) {
  std::exception_ptr error;
  try {
    co_await forever();
  } catch (...) {
    error = std::current_exception();
  }
  events.push_back(is_cancelled(error) ? "cancelled" : "other");
  std::rethrow_exception(error);
}

TEST(Offload, returns_the_value_on_the_callers_thread) {
  run_task([]() -> Task<> {
    const auto caller = std::this_thread::get_id();
    const auto worker = co_await offload([] { return std::this_thread::get_id(); });
    EXPECT_NE(worker, caller);
    EXPECT_EQ(std::this_thread::get_id(), caller);
    auto moved = co_await offload([] { return std::make_unique<int>(7); });
    EXPECT_EQ(*moved, 7);
    co_await offload([] {});
  });
}

TEST(Offload, carries_the_exception_over) {
  run_task([]() -> Task<> {
    bool caught = false;
    try {
      co_await offload([]() -> int { throw Error{ErrorKind::conflict, "there is one already"}; });
    } catch (const Error& error) {
      caught = error.kind() == ErrorKind::conflict;
    }
    EXPECT_TRUE(caught);
  });
}

TEST(Offload, runs_to_its_end_although_cancelled) {
  run_task([]() -> Task<> {
    auto done = std::make_shared<std::atomic<bool>>(false);
    auto work = [](std::shared_ptr<std::atomic<bool>> flag) -> Task<> {
      co_await offload([flag] {
        std::this_thread::sleep_for(50ms);  // stands for a disk
        *flag = true;
      });
      co_await sleep_for(0ns);
    };
    bool timed_out = false;
    try {
      co_await with_deadline(1ms, "too slow", work(done));
    } catch (const Error& error) {
      timed_out = error.kind() == ErrorKind::timeout;
    }
    EXPECT_TRUE(timed_out);
    EXPECT_TRUE(*done);
  });
}

Task<int> answer_after(std::chrono::nanoseconds time) {
  co_await sleep_for(time);
  co_return 42;
}

TEST(WithDeadline, gives_the_result_in_time) {
  run_task([]() -> Task<> { EXPECT_EQ(co_await with_deadline(10s, "late", answer_after(1ms)), 42); });
}

TEST(WithDeadline, throws_timeout_with_the_message_and_cancels_the_task) {
  std::vector<std::string> events;
  run_task([&]() -> Task<> {
    std::string message;
    try {
      co_await with_deadline(1ms, "the build took too long", note_the_end(events));
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::timeout);
      message = error.message();
    }
    EXPECT_EQ(message, "the build took too long");
  });
  EXPECT_EQ(events, std::vector<std::string>{"cancelled"});
}

TEST(WithDeadline, passes_on_its_own_cancellation) {
  std::vector<std::string> events;
  run_task([&]() -> Task<> {
    TaskGroup group(co_await asio::this_coro::executor);
    group.spawn("inner", with_deadline(1h, "late", note_the_end(events)));
    co_await sleep_for(1ms);
    co_await group.stop();
  });
  EXPECT_EQ(events, std::vector<std::string>{"cancelled"});
}

TEST(TaskGroup, stop_waits_for_the_end_of_all) {
  std::vector<std::string> events;
  run_task([&]() -> Task<> {
    TaskGroup group(co_await asio::this_coro::executor);
    group.spawn("one", note_the_end(events));
    group.spawn("two", note_the_end(events));
    EXPECT_EQ(group.size(), 2u);
    co_await group.stop();
    EXPECT_EQ(group.size(), 0u);
  });
  EXPECT_EQ(events.size(), 2u);
}

TEST(TaskGroup, survives_a_task_that_throws) {
  run_task([]() -> Task<> {
    TaskGroup group(co_await asio::this_coro::executor);
    auto fails = []() -> Task<> {
      co_await sleep_for(0ns);
      throw std::runtime_error("expected by the test");
    };
    group.spawn("fails", fails());
    co_await group.join();
    EXPECT_EQ(group.size(), 0u);
  });
}

Task<> slow_clean_up(std::vector<std::string>& events) {
  co_await sleep_for(5ms);
  events.push_back("cleaned");
}

TEST(WithCleanup, waits_even_after_cancellation) {
  std::vector<std::string> events;
  run_task([&]() -> Task<> {
    TaskGroup group(co_await asio::this_coro::executor);
    group.spawn("task", with_cleanup(forever(), [&events] { return slow_clean_up(events); }));
    co_await sleep_for(1ms);
    co_await group.stop();
  });
  EXPECT_EQ(events, std::vector<std::string>{"cleaned"});
}

TEST(WithCleanup, rethrows_the_tasks_error) {
  std::vector<std::string> events;
  auto fails = []() -> Task<> {
    co_await sleep_for(0ns);
    throw Error{ErrorKind::unavailable, "gone"};
  };
  EXPECT_THROW(run_task([&]() { return with_cleanup(fails(), [&events] { return slow_clean_up(events); }); }), Error);
  EXPECT_EQ(events.size(), 1u);
}

Task<> count_wakes(Notifier& notifier, int& wakes) {
  for (;;) {
    co_await notifier.wait(notifier.version());
    ++wakes;
  }
}

TEST(Notifier, wakes_all_who_wait_and_misses_nothing) {
  run_task([]() -> Task<> {
    auto executor = co_await asio::this_coro::executor;
    Notifier notifier(executor);
    TaskGroup group(executor);
    int wakes = 0;
    group.spawn("a", count_wakes(notifier, wakes));
    group.spawn("b", count_wakes(notifier, wakes));
    co_await sleep_for(1ms);
    const auto seen = notifier.version();
    notifier.notify_all();
    co_await notifier.wait(seen);  // changed since: returns at once
    co_await sleep_for(1ms);
    EXPECT_EQ(wakes, 2);
    co_await group.stop();
  });
}

Task<> produce(Channel<int>& channel, int count) {
  for (int i = 0; i < count; ++i) EXPECT_TRUE(co_await channel.push(i));
  channel.close();
}

TEST(Channel, hands_over_in_order_and_ends) {
  run_task([]() -> Task<> {
    auto executor = co_await asio::this_coro::executor;
    Channel<int> channel(executor, 3);
    TaskGroup group(executor);
    group.spawn("producer", produce(channel, 100));
    int expected = 0;
    while (auto value = co_await channel.pop()) {
      EXPECT_EQ(*value, expected++);
      EXPECT_LE(channel.size(), 3u);
    }
    EXPECT_EQ(expected, 100);
    EXPECT_FALSE(co_await channel.push(1));
    co_await group.join();
  });
}

TEST(WithRequestId, follows_the_task_over_its_waits) {
  run_task([]() -> Task<> {
    auto work = [](std::string id) -> Task<> {
      EXPECT_EQ(log::current_request(), id);
      co_await sleep_for(1ms);
      EXPECT_EQ(log::current_request(), id);
      co_await offload([] {});
      EXPECT_EQ(log::current_request(), id);
      co_await with_deadline(1s, "late", sleep_for(1ms));
      EXPECT_EQ(log::current_request(), id);
    };
    TaskGroup group(co_await asio::this_coro::executor);
    group.spawn("one", with_request_id("one", work("one")));
    group.spawn("two", with_request_id("two", work("two")));
    co_await group.join();
    EXPECT_EQ(log::current_request(), "");
  });
}

Task<> end_with(int number) {
  co_await sleep_for(1ms);
  std::raise(number);
  co_await forever();
}

TEST(RunMain, ends_cleanly_on_sigterm) {
  std::vector<std::string> events;
  EXPECT_EQ(
      run_main([&](Executor) { return with_cleanup(end_with(SIGTERM), [&events] { return slow_clean_up(events); }); }),
      0);
  EXPECT_EQ(events.size(), 1u);
}

TEST(RunMain, gives_1_for_an_error) {
  auto fails = []() -> Task<> {
    co_await sleep_for(0ns);
    throw Error{ErrorKind::invalid, "expected by the test"};
  };
  EXPECT_EQ(run_main([&](Executor) { return fails(); }), 1);
  EXPECT_EQ(run_main([](Executor) { return sleep_for(1ms); }), 0);
}

}  // namespace
}  // namespace workflow
