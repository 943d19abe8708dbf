#include "lib/base/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/error.h"
#include "lib/base/limits.h"

namespace workflow {

using namespace std::chrono_literals;

TEST(Process, collects_output_and_status) {
  const auto result = run_process({.argv = {"sh", "-c", "cat; echo oops >&2; exit 3"}}, 10s, "hello");
  EXPECT_EQ(result.status, 3);
  EXPECT_EQ(result.out, "hello");
  EXPECT_EQ(result.err, "oops\n");
}

TEST(Process, moves_more_than_a_pipe_holds) {
  const std::string input(5'000'000, 'x');
  EXPECT_EQ(run_process({.argv = {"cat"}}, 30s, input).out.size(), input.size());
  EXPECT_EQ(run_process({.argv = {"true"}}, 30s, input).status, 0) << "a child that ignores its input is fine";
}

TEST(Process, kills_at_the_deadline) {
  try {
    run_process({.argv = {"sleep", "60"}}, 50ms);
    FAIL() << "no exception";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::timeout);
    EXPECT_EQ(error.message(), "sleep did not end within 50 ms and was killed");
  }
}

TEST(Process, names_what_cannot_be_started) {
  const auto message = [](const ProcessSpec& spec) {
    try {
      run_process(spec, 1s);
    } catch (const Error& error) {
      return std::string(to_string(error.kind())) + ": " + error.message();
    }
    return std::string();
  };
  EXPECT_EQ(message({.argv = {"/no/such"}}), "unavailable: cannot start /no/such: No such file or directory");
  EXPECT_TRUE(
      message({.argv = {"no-such-program"}}).starts_with("unavailable: cannot start no-such-program: there is no"));
  EXPECT_EQ(message({.argv = {"true"}, .cwd = "/no/such"}),
            "unavailable: cannot start true: No such file or directory");
}

TEST(Process, has_exactly_the_given_environment_and_folder) {
  const auto result = run_process({.argv = {"/usr/bin/env"}, .env = {{{"A", "1"}, {"B", "x y"}}}}, 10s);
  EXPECT_EQ(result.out, "A=1\nB=x y\n");
  EXPECT_EQ(run_process({.argv = {"pwd"}, .cwd = "/"}, 10s).out, "/\n");
}

TEST(Process, a_signal_shows_as_a_shell_would_say_it) {
  ChildProcess child({.argv = {"sleep", "60"}});
  EXPECT_EQ(child.wait(0ms), std::nullopt);
  child.signal(SIGTERM);
  EXPECT_EQ(child.wait(10s), 128 + SIGTERM);
  EXPECT_EQ(child.wait(0ms), 128 + SIGTERM);
  child.signal(SIGTERM);
}

TEST(Process, ends_with_its_object_unless_detached) {
  int pid = 0;
  {
    const ChildProcess child({.argv = {"sleep", "60"}});
    pid = child.pid();
    EXPECT_EQ(::kill(pid, 0), 0);
  }
  EXPECT_EQ(::kill(pid, 0), -1);
}

TEST(Process, moving_keeps_the_child) {
  ChildProcess first({.argv = {"sleep", "60"}, .new_session = true});
  const int pid = first.pid();
  ChildProcess second(std::move(first));
  EXPECT_EQ(second.pid(), pid);
  second.signal(SIGKILL);
  EXPECT_EQ(second.wait(10s), 128 + SIGKILL);
}

TEST(Process, inherits_no_descriptors_and_no_signal_settings) {
  const Fd socket(::socket(AF_UNIX, SOCK_STREAM, 0));  // as Asio makes them: without close-on-exec
  ::signal(SIGPIPE, SIG_IGN);
  const auto result =
      run_process({.argv = {"sh", "-c", "ls /proc/self/fd | wc -l; grep SigIgn /proc/self/status"}}, 10s);
  ::signal(SIGPIPE, SIG_DFL);
  EXPECT_EQ(result.out, "4\nSigIgn:\t0000000000000000\n");  // 0, 1, 2 and the folder itself
}

TEST(Process, drops_to_another_user) {
  if (::getuid() != 0) GTEST_SKIP() << "needs root";
  EXPECT_EQ(run_process({.argv = {"sh", "-c", "id -u; id -G"}, .uid = 65534, .gid = 65534}, 10s).out, "65534\n65534\n");
}

TEST(Process, a_grandchild_that_keeps_the_pipe_does_not_hold_us) {
  const auto result = run_process({.argv = {"sh", "-c", "sleep 5 & echo done"}}, 4s);
  EXPECT_EQ(result.out, "done\n");
}

TEST(Process, what_is_kept_is_inherited_and_a_lock_with_it) {
  const TemporaryFolder folder;
  const auto lock = (folder.path() / "lock").string();
  Fd held(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(::flock(held.get(), LOCK_EX), 0);
  ChildProcess child({.argv = {"sleep", "60"}, .kept = {held.get()}});
  held.reset();
  const Fd other(::open(lock.c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_NE(::flock(other.get(), LOCK_EX | LOCK_NB), 0) << "the child holds it";
  child.signal(SIGKILL);
  child.wait(10s);
  EXPECT_EQ(::flock(other.get(), LOCK_EX | LOCK_NB), 0);
}

TEST(Process, a_daemons_words_are_appended_to_a_file_of_its_own) {
  const TemporaryFolder folder;
  const auto log = (folder.path() / "log").string();
  for (int round = 0; round < 2; ++round) {
    ChildProcess child({.argv = {"sh", "-c", "echo out; echo err >&2; umask"},
                        .out = ProcessSpec::Stream::log,
                        .err = ProcessSpec::Stream::log,
                        .log = log,
                        .umask = 027});
    EXPECT_EQ(child.wait(10s), 0);
  }
  EXPECT_EQ(read_file(log), "out\nerr\n0027\nout\nerr\n0027\n");
  struct stat info{};
  ASSERT_EQ(::stat(log.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777u, 0600u);
}

TEST(Process, a_raised_limit_of_open_files_stays_ours) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit low{std::min<rlim_t>(before.rlim_max, 256), before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  raise_open_files();
  rlimit raised{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &raised), 0);
  EXPECT_EQ(raised.rlim_cur, std::min<rlim_t>(before.rlim_max, 65536));
  EXPECT_EQ(run_process({.argv = {"sh", "-c", "ulimit -n"}}, 10s).out, "256\n");
}

}  // namespace workflow
