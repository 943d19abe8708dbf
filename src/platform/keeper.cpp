#include "platform/keeper.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "lib/async/bounded_log.h"
#include "lib/async/process.h"
#include "lib/async/supervisor.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/private_folder.h"
#include "lib/base/start_pages.h"
#include "lib/base/text.h"
#include "platform/options.h"
#include "platform/platform.h"

namespace workflow::platform {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

fs::path program() { return fs::read_symlink("/proc/self/exe"); }

fs::path log_file(const fs::path& state) { return state / "log" / "engine.log"; }

// What the engine, the keeper and its twin write: this and the one before it, so that logs never fill the disk.
constexpr std::uint64_t most_log = 16u << 20;

// Runs argv detached from us, with its output appended to the log. It outlives its starter, as a daemon must.
int start_in_background(std::vector<std::string> argv, const fs::path& state) {
  fs::create_directories(state / "log");
  ChildProcess daemon({.argv = std::move(argv),
                       .cwd = "/",
                       .out = ProcessSpec::Stream::log,
                       .err = ProcessSpec::Stream::log,
                       .log = log_file(state),
                       .new_session = true,
                       .umask = 022});
  const int pid = daemon.pid();
  daemon.detach();
  return pid;
}

Task<> wait_ended(ProcessId id, std::chrono::seconds limit, std::string what) {
  auto message = what + " did not stop within " + std::to_string(limit.count()) + " s";
  co_await with_deadline(limit, std::move(message), gone(std::move(id)));
}

// A process that we keep running. What is known of it outlives every failure to act on it.
struct Kept {
  std::optional<ProcessId> process;
  bool written = false;  // its number, to its file
  int failures = 0;      // in a row
};

// Makes sure that the file tells its number: the others find it by that.
void write_number(Kept& kept, const fs::path& file) {
  if (!kept.written) write_process_file(file, *kept.process);
  kept.written = true;
}

Task<> until_gone(Kept& kept) {
  co_await gone(*kept.process);
  while (::waitpid(kept.process->pid, nullptr, WNOHANG) > 0) {
  }
  kept.process.reset();
  kept.written = false;
}

Task<> keep_twin(fs::path state, Kept& twin) {
  if (!twin.process) {
    twin.process = identify(start_in_background(
        {program(), "keeper", "--state", state.string(), "--watch", std::to_string(getpid())}, state));
  }
  if (twin.process) {
    write_number(twin, state / "twin.pid");
    co_await until_gone(twin);
  }
  log::warn("the keeper's twin has ended; starting another");
  co_await sleep_for(200ms);
}

Task<> keep_engine(fs::path state, Kept& engine) {
  const auto began = Steady::now();
  if (!engine.process) {
    engine.process = read_process_file(engine_file(state));
    engine.written = engine.process.has_value();
    if (engine.process) log::info("engine adopted", kv("pid", engine.process->pid));
  }
  if (!engine.process) {
    engine.process = identify(start_in_background(engine_command(program(), load_options(state)), state));
  }
  if (engine.process) {
    write_number(engine, engine_file(state));
    co_await until_gone(engine);
  }
  const auto lifetime = std::chrono::duration_cast<std::chrono::milliseconds>(Steady::now() - began);
  engine.failures = lifetime > 10s ? 0 : engine.failures + 1;
  log::warn("engine has ended; starting it again", kv("lifetime_ms", lifetime.count()));
  co_await sleep_for(restart_delay(lifetime, engine.failures));
}

Task<> keep(fs::path state) {
  release_start_pages();
  Kept engine, twin;
  Supervisor supervisor(co_await asio::this_coro::executor);
  const Supervisor::Options soon{.longest_pause = 2s};
  supervisor.keep("engine", [&] { return keep_engine(state, engine); }, soon);
  supervisor.keep("twin", [&] { return keep_twin(state, twin); }, soon);
  supervisor.keep("log", [&] { return bound_log(log_file(state), most_log); }, soon);
  co_await with_cleanup(supervisor.join(), [&supervisor] { return supervisor.stop(); });
}

Task<> stop_process(fs::path file, std::chrono::seconds limit, std::string what) {
  if (const auto process = read_process_file(file)) {
    ::kill(process->pid, SIGTERM);
    co_await wait_ended(*process, limit, std::move(what));
  }
  std::error_code ignored;
  fs::remove(file, ignored);
}

// Watches the keeper, then becomes it.
Task<> watch(int keeper_pid) {
  release_start_pages();
  if (const auto keeper = identify(keeper_pid)) co_await gone(*keeper);
}

}  // namespace

std::chrono::milliseconds restart_delay(std::chrono::milliseconds lifetime, int failures) {
  if (lifetime > 10s || failures <= 1) return 0ms;
  return std::min<std::chrono::milliseconds>(100ms * (1 << std::min(failures, 7)), 10s);
}

std::optional<ProcessId> identify(int pid) {
  const auto stat = find_file("/proc/" + std::to_string(pid) + "/stat");
  if (!stat) return std::nullopt;
  // The command's name, field 2, may hold anything, spaces and parentheses included: fields count from the last ')'.
  const auto end_of_name = stat->rfind(')');
  if (end_of_name == std::string::npos || end_of_name + 2 > stat->size()) return std::nullopt;
  const auto fields = split(std::string_view(*stat).substr(end_of_name + 2), ' ');
  if (fields.size() < 20 || fields[0] == "Z" || fields[0] == "X") return std::nullopt;
  return ProcessId{pid, fields[19]};
}

std::optional<ProcessId> read_process_file(const fs::path& file) {
  const auto text = find_file(file);
  if (!text) return std::nullopt;
  const auto words = split(trim(*text), ' ');
  const auto pid = words.size() == 2 ? parse_integer(words[0]) : std::nullopt;
  if (!pid) return std::nullopt;
  const auto running = identify(static_cast<int>(*pid));
  if (!running || running->started != words[1]) return std::nullopt;
  return running;
}

void write_process_file(const fs::path& file, const ProcessId& id) {
  write_file_atomically(file, std::to_string(id.pid) + " " + id.started + "\n", 0600);
}

Task<> gone(ProcessId id) {
  Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, id.pid, 0)));
  if (!pidfd && errno != ESRCH) {  // no descriptor left: that says nothing about the process
    throw Error(ErrorKind::unavailable, "a process cannot be watched: " + std::generic_category().message(errno));
  }
  if (!pidfd || identify(id.pid) != id) co_return;
  asio::posix::stream_descriptor descriptor(co_await asio::this_coro::executor, pidfd.release());
  co_await descriptor.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
}

fs::path keeper_file(const fs::path& state) { return state / "keeper.pid"; }
fs::path engine_file(const fs::path& state) { return state / "engine.pid"; }

std::optional<ProcessId> start_keeper(const fs::path& state) {
  if (read_process_file(keeper_file(state))) return std::nullopt;
  return identify(start_in_background({program(), "keeper", "--state", state.string()}, state));
}

Task<> stop_keeper(fs::path state, std::chrono::seconds limit) {
  // The twin first, or it would take the keeper's place.
  co_await stop_process(state / "twin.pid", limit, "the keeper's twin");
  co_await stop_process(keeper_file(state), limit, "the keeper");
  // A twin that the keeper started in between has become its heir by now.
  co_await stop_process(state / "twin.pid", limit, "the keeper's twin");
  co_await stop_process(engine_file(state), limit, "the engine");
}

int keeper_main(int argc, char** argv) {
  CLI::App app{"Keeps the engine running"};
  std::string state = "/var/lib/workflow";
  int watched = 0;
  app.add_option("--state", state, "folder of the platform's state");
  app.add_option("--watch", watched, "take over when this process ends");
  CLI11_PARSE(app, argc, argv);
  log::configure(watched ? "keeper-twin" : "keeper", log::Level::info, log::Format::logfmt);
  const auto folder = fs::absolute(state);
  if (watched) {
    bool take_over = false;
    auto wait_for_it = [&](Executor) -> Task<> {
      co_await watch(watched);
      take_over = true;
    };
    const int status = run_main(wait_for_it);
    if (!take_over) return status;
    log::warn("the keeper has ended; taking its place");
  }
  // The lock, not the file of its number, makes the keeper the only one; it goes with the process however that ends.
  keep_private(folder);
  Fd lock(::open((folder / "keeper.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock || ::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    log::info("another keeper runs already");
    return 0;
  }
  write_process_file(keeper_file(folder), identify(getpid()).value());
  return run_main([folder](Executor) { return keep(folder); });
}

}  // namespace workflow::platform
