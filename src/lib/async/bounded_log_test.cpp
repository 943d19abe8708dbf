#include "lib/async/bounded_log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/async/supervisor.h"
#include "lib/async/test_support.h"
#include "lib/base/file.h"
#include "lib/base/text.h"

namespace workflow {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

TEST(BoundedLog, one_that_grows_becomes_the_old_one_under_the_descriptor_of_who_writes) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "engine.log", old = folder.path() / "engine.log.1";
  // One who knows nothing of it, and keeps the descriptor.
  const Fd writer(::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  ASSERT_TRUE(writer);
  run_task([&]() -> Task<> {
    Supervisor supervisor(co_await asio::this_coro::executor);
    supervisor.keep("bound", [&] { return bound_log(file, 10'000); });
    int written = 0;
    // Nothing is written between the look that finds too much and the end of the change, so that no line may be lost.
    auto write_until_changed = [&]() -> Task<> {
      while (fs::file_size(file) <= 10'000) {
        const auto line = "line " + std::to_string(++written) + " " + std::string(99, 'x') + "\n";
        EXPECT_EQ(::write(writer.get(), line.data(), line.size()), static_cast<ssize_t>(line.size()));
        co_await sleep_for(0ns);
      }
      while (fs::file_size(file) > 10'000) co_await sleep_for(1ms);
    };
    co_await write_until_changed();
    const auto lines_before = written;
    EXPECT_EQ(split(trim(read_file(old)), '\n').front().substr(0, 7), "line 1 ");
    co_await write_until_changed();
    co_await supervisor.stop();
    EXPECT_EQ(fs::file_size(file), 0u);
    const auto text = read_file(old);
    const auto kept = split(trim(text), '\n');
    EXPECT_EQ(kept.size(), static_cast<std::size_t>(written - lines_before));
    EXPECT_TRUE(kept.front().starts_with("line " + std::to_string(lines_before + 1) + " "));
    EXPECT_TRUE(kept.back().starts_with("line " + std::to_string(written) + " "));
    struct stat info{};
    EXPECT_EQ(::stat(old.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777u, 0600u);
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
