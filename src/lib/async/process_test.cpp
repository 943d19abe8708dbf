#include "lib/async/process.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include "lib/async/test_support.h"
#include "lib/base/error.h"

namespace workflow {
namespace {

using namespace std::chrono_literals;

TEST(Run, feeds_and_collects) {
  run_task([]() -> Task<> {
    ProcessSpec spec{.argv = {"sh", "-c", "cat; echo oops >&2; exit 3"}};
    const std::string input(300'000, 'x');
    auto result = co_await run(spec, 10s, input);
    EXPECT_EQ(result.status, 3);
    EXPECT_EQ(result.out, input);
    EXPECT_EQ(result.err, "oops\n");
  });
}

TEST(Run, kills_what_takes_too_long) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THROW(run_task([]() -> Task<> { co_await run({.argv = {"sleep", "60"}}, 20ms); }), Error);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s);
}

TEST(StopProcess, escalates_to_sigkill) {
  run_task([]() -> Task<> {
    ProcessSpec spec{.argv = {"sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"}};
    spec.out = ProcessSpec::Stream::pipe;
    spec.new_session = true;
    ChildProcess child(spec);
    char byte = 0;
    EXPECT_EQ(::read(child.out().get(), &byte, 1), 1);
    EXPECT_EQ(co_await stop_process(child, 20ms), 128 + 9);
  });
}

TEST(Exited, gives_the_status_as_a_shell_would) {
  run_task([]() -> Task<> {
    ChildProcess child({.argv = {"sh", "-c", "exit 7"}});
    EXPECT_EQ(co_await exited(child), 7);
  });
}

}  // namespace
}  // namespace workflow
