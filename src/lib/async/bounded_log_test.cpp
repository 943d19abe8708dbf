#include "lib/async/bounded_log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/async/supervisor.h"
#include "lib/async/test_support.h"
#include "lib/base/file.h"
#include "lib/base/process.h"
#include "lib/base/text.h"

namespace workflow {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

TEST(BoundedLog, one_that_grows_while_another_process_writes_becomes_the_old_one) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "engine.log", old = folder.path() / "engine.log.1";
  run_task([&]() -> Task<> {
    Supervisor supervisor(co_await asio::this_coro::executor);
    supervisor.keep("bound", [&] { return bound_log(file, 10'000); });
    // A process that knows nothing of it, and keeps its descriptor.
    ChildProcess writer({.argv = {"sh", "-c", "i=0; while read -r line; do i=$((i+1)); echo \"line $i $line\"; done"},
                         .in = ProcessSpec::Stream::pipe,
                         .out = ProcessSpec::Stream::log,
                         .log = file.string()});
    const std::string line = std::string(99, 'x') + "\n";
    int written = 0;
    auto write_until_changed = [&]() -> Task<> {
      std::error_code absent;
      const auto before = fs::last_write_time(old, absent);
      for (std::error_code error; absent ? !fs::exists(old) : fs::last_write_time(old, error) == before;) {
        if (fs::exists(file) && fs::file_size(file) > 10'000) {
          co_await sleep_for(1ms);  // long enough: it has to be seen now
          continue;
        }
        EXPECT_EQ(::write(writer.in().get(), line.data(), line.size()), static_cast<ssize_t>(line.size()));
        ++written;
        co_await sleep_for(0ns);
      }
    };
    co_await write_until_changed();
    co_await write_until_changed();
    writer.in().reset();
    while (!writer.wait(0ms)) co_await sleep_for(1ms);
    while (fs::file_size(file) > 10'000) co_await sleep_for(1ms);
    co_await supervisor.stop();
    EXPECT_GT(written, 150);
    EXPECT_LE(fs::file_size(file), 10'000u);
    EXPECT_LE(fs::file_size(old), 100'000u);  // and what the pipe to the writer held
    EXPECT_GT(fs::file_size(old), 10'000u);
    struct stat info{};
    EXPECT_EQ(::stat(old.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777u, 0600u);
    // What is left goes on where the old one ends.
    const auto last = split(trim(read_file(old)), '\n').back();
    const auto number = parse_integer(split(last, ' ')[1]);
    const auto rest = read_file(file);
    if (number && !rest.empty()) {
      EXPECT_GE(parse_integer(split(rest, ' ')[1]).value_or(0), *number + 1);
      EXPECT_LE(parse_integer(split(rest, ' ')[1]).value_or(0), *number + 3)
          << "more than the line of the instant is lost";
    }
  });
}

TEST(BoundedLog, one_that_is_too_long_at_the_start_is_changed_at_once) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "log";
  write_file_atomically(file, std::string(5000, 'x'));
  run_task([&]() -> Task<> {
    Supervisor supervisor(co_await asio::this_coro::executor);
    supervisor.keep("bound", [&] { return bound_log(file, 1000); });
    while (fs::file_size(file) > 0) co_await sleep_for(1ms);
    co_await supervisor.stop();
    EXPECT_EQ(read_file(file.string() + ".1"), std::string(5000, 'x'));
  });
}

}  // namespace
}  // namespace workflow
