#include "engine/node/attempt.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/system/system_error.hpp>
#include <filesystem>
#include <stdexcept>

namespace workflow::engine {
namespace {

Task<> throws(std::function<void()> failure) {
  co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
  failure();
}

// What came of it: nullopt when `attempt` itself threw.
std::optional<std::optional<Error>> outcome_of(std::function<void()> failure) {
  asio::io_context loop;
  std::optional<std::optional<Error>> outcome;
  auto run = [](std::function<void()> its_failure, std::optional<std::optional<Error>>& out) -> Task<> {
    out = co_await attempt(throws(std::move(its_failure)));
  };
  asio::co_spawn(loop, run(std::move(failure), outcome), [](const std::exception_ptr&) {});
  loop.run();
  return outcome;
}

TEST(Attempt, makes_a_value_of_every_exception) {
  struct Case {
    const char* what;
    std::function<void()> failure;
    ErrorKind kind;
    const char* message;
  };
  const Case cases[] = {
      {"our own", [] { throw Error(ErrorKind::conflict, "taken"); }, ErrorKind::conflict, "taken"},
      {"the file system's",
       [] {
         throw std::filesystem::filesystem_error("cannot create", std::make_error_code(std::errc::not_a_directory));
       },
       ErrorKind::internal, "filesystem error: cannot create: Not a directory"},
      {"the library's", [] { throw std::runtime_error("no"); }, ErrorKind::internal, "no"},
      {"anything", [] { throw 7; }, ErrorKind::internal, "an unknown failure"},
      {"a cancellation that nobody asked for",
       [] { throw boost::system::system_error(asio::error::operation_aborted); }, ErrorKind::unavailable,
       "it was interrupted"}};
  for (const auto& [what, failure, kind, message] : cases) {
    const auto outcome = outcome_of(failure);
    ASSERT_TRUE(outcome && *outcome) << what;
    EXPECT_EQ((*outcome)->kind(), kind) << what;
    EXPECT_EQ((*outcome)->message(), message) << what;
  }
  const auto well = outcome_of([] {});
  ASSERT_TRUE(well);
  EXPECT_FALSE(*well);
}

TEST(Attempt, lets_its_own_cancellation_through) {
  asio::io_context loop;
  bool cancelled = false, went_on = false;
  auto run = [](bool& further) -> Task<> {
    co_await attempt(sleep_for(std::chrono::hours(1)));
    further = true;
  };
  TaskGroup group(loop.get_executor());
  auto watch = [](TaskGroup& its) -> Task<> { co_await its.stop(); };
  group.spawn("attempt", run(went_on));
  asio::co_spawn(loop, watch(group), [&cancelled](const std::exception_ptr&) { cancelled = true; });
  loop.run();
  EXPECT_TRUE(cancelled);
  EXPECT_FALSE(went_on);
}

}  // namespace
}  // namespace workflow::engine
