#include "lib/async/supervisor.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <new>
#include <vector>

#include "lib/async/test_support.h"
#include "lib/base/error.h"

namespace workflow {
namespace {

using namespace std::chrono_literals;

Supervisor::Options quick(std::vector<std::string>* told = nullptr) {
  Supervisor::Options options{.first_pause = 1ms, .longest_pause = 1ms, .settled_after = 1ms};
  if (told) options.report = [told](const std::string& problem) { told->push_back(problem); };
  return options;
}

// Throws whatever can be thrown, a kind per run; then tells that it got so far, and waits for its end.
Task<> fail_in_every_way(int run, Notifier& arrived) {
  co_await sleep_for(0ns);
  switch (run) {
    case 0: throw Error{ErrorKind::unavailable, "gone"};
    case 1: throw std::filesystem::filesystem_error("cannot copy", std::make_error_code(std::errc::no_space_on_device));
    case 2: throw std::bad_alloc();
    case 3: throw 42;
    case 4: throw boost::system::system_error(asio::error::operation_aborted);  // not our own cancellation
    case 5: throw Error{ErrorKind::internal, "text that is not UTF-8: \xff"};
    default: break;
  }
  arrived.notify_all();
  co_await sleep_for(1h);
}

TEST(Supervisor, survives_whatever_is_thrown_and_tells_each_problem_once) {
  std::vector<std::string> told;
  run_task([&told]() -> Task<> {
    auto executor = co_await asio::this_coro::executor;
    Supervisor supervisor(executor);
    Notifier arrived(executor);
    const auto before = arrived.version();
    int runs = 0;
    auto options = quick(&told);
    options.settled_after = 1h;
    supervisor.keep("work", [&] { return fail_in_every_way(runs++ / 2, arrived); }, options);  // each kind twice
    co_await arrived.wait(before);
    EXPECT_EQ(runs, 13);
    EXPECT_EQ(told.size(), 6u);
    EXPECT_EQ(told.front(), "gone");
    EXPECT_NE(told[1].find("No space left on device"), std::string::npos);
    EXPECT_EQ(told.back(), "text that is not UTF-8: \xEF\xBF\xBD");
    EXPECT_NE(supervisor.metrics().find("workflow_background_failures_total{task=\"work\"} 12\n"), std::string::npos);
    EXPECT_NE(supervisor.metrics().find("workflow_background_failing{task=\"work\"} 1\n"), std::string::npos);
    co_await supervisor.stop();
    EXPECT_NE(supervisor.metrics().find("workflow_background_failures_total{task=\"\"} 12\n"), std::string::npos);
  });
}

TEST(Supervisor, readiness_tells_what_keeps_failing_and_that_it_is_over) {
  run_task([]() -> Task<> {
    auto executor = co_await asio::this_coro::executor;
    Supervisor supervisor(executor);
    Notifier changed(executor);
    bool broken = true;
    int runs = 0;
    auto body = [&]() -> Task<> {
      ++runs;
      changed.notify_all();
      if (broken) throw Error{ErrorKind::unavailable, "the disk is full"};
      co_await sleep_for(1h);
    };
    std::vector<std::string> told;
    auto options = quick(&told);
    options.report = [&told, &changed](const std::string& problem) {
      told.push_back(problem);
      changed.notify_all();
    };
    supervisor.keep("write", body, options);
    auto unimportant = options;
    unimportant.role = Supervisor::Role::housekeeping;
    unimportant.report = nullptr;
    supervisor.keep("tidy up", [&]() -> Task<> { return body(); }, unimportant);
    EXPECT_EQ(supervisor.problem(), std::nullopt) << "one failure is no state";
    while (runs < 20) co_await changed.wait(changed.version());
    EXPECT_EQ(supervisor.problem(), "write: the disk is full");
    broken = false;
    while (told.size() < 2) co_await changed.wait(changed.version());
    EXPECT_EQ(told, (std::vector<std::string>{"the disk is full", ""}));
    EXPECT_EQ(supervisor.problem(), std::nullopt);
    co_await supervisor.stop();
  });
}

TEST(Supervisor, housekeeping_that_fails_leaves_the_process_ready) {
  run_task([]() -> Task<> {
    auto executor = co_await asio::this_coro::executor;
    Supervisor supervisor(executor);
    Notifier changed(executor);
    int runs = 0;
    auto options = quick();
    options.role = Supervisor::Role::housekeeping;
    auto body = [&]() -> Task<> {
      ++runs;
      changed.notify_all();
      throw Error{ErrorKind::unavailable, "expected by the test"};
      co_return;
    };
    supervisor.keep("tidy up", body, options);
    while (runs < 10) co_await changed.wait(changed.version());
    EXPECT_EQ(supervisor.problem(), std::nullopt);
    co_await supervisor.stop();
  });
}

TEST(Supervisor, a_failed_step_keeps_the_callers_record_and_the_last_step_ends_it) {
  run_task([]() -> Task<> {
    auto executor = co_await asio::this_coro::executor;
    Supervisor supervisor(executor);
    TaskGroup group(executor);
    std::vector<int> record;
    auto step = [&record]() -> Task<Supervisor::Next> {
      record.push_back(static_cast<int>(record.size()));
      if (record.size() % 2 == 0) throw std::runtime_error("expected by the test");
      co_return record.size() == 7 ? Supervisor::Next::done : Supervisor::Next::again;
    };
    group.spawn("pod", supervisor.until_done("pod", step, quick()));
    co_await group.join();
    EXPECT_EQ(record, (std::vector<int>{0, 1, 2, 3, 4, 5, 6}));
    EXPECT_EQ(supervisor.problem(), std::nullopt);
  });
}

TEST(Supervisor, a_body_that_never_waits_starves_nobody_and_can_be_stopped) {
  run_task([]() -> Task<> {
    Supervisor supervisor(co_await asio::this_coro::executor);
    int runs = 0;
    auto body = [&runs]() -> Task<> {
      ++runs;
      co_return;
    };
    supervisor.keep("busy", body, quick());
    while (runs < 100) co_await sleep_for(0ns);
    co_await supervisor.stop();
    const int at_the_end = runs;
    co_await sleep_for(1ms);
    EXPECT_EQ(runs, at_the_end);
  });
}

TEST(Supervisor, stopping_ends_a_pause_at_once) {
  run_task([]() -> Task<> {
    Supervisor supervisor(co_await asio::this_coro::executor);
    Supervisor::Options patient{.first_pause = 1h, .longest_pause = 1h};
    supervisor.keep(
        "fails",
        []() -> Task<> {
          throw std::runtime_error("expected by the test");
          co_return;
        },
        patient);
    co_await sleep_for(0ns);
    co_await supervisor.stop();
  });
}

TEST(Supervisor, pauses_double_up_to_the_longest) {
  const Supervisor::Options options{.first_pause = 100ms, .longest_pause = 3s};
  struct Case {
    int failures;
    std::chrono::milliseconds pause;
  };
  const Case cases[] = {{1, 100ms}, {2, 200ms}, {3, 400ms}, {5, 1600ms}, {6, 3s}, {1'000'000, 3s}};
  for (const auto& [failures, pause] : cases) EXPECT_EQ(pause_after(failures, options), pause) << failures;
}

}  // namespace
}  // namespace workflow
