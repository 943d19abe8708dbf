#include "engine/node/exec.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <system_error>

#include "engine/node/exec_frames.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"

namespace workflow::engine {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using asio::posix::stream_descriptor;
constexpr auto quietly = asio::as_tuple(asio::use_awaitable);

constexpr auto grace = 2s;                // for a command whose client has gone
constexpr auto end_limit = 5s;            // to kill it and to tidy up
constexpr std::size_t piece = 64u << 10;  // what a FIFO holds

Fd open_fifo(const fs::path& file, int mode) {
  Fd fd(::open(file.c_str(), mode | O_NONBLOCK | O_CLOEXEC));
  if (!fd)
    throw Error(ErrorKind::internal, "cannot open " + file.string())
        .with_detail(std::generic_category().message(errno));
  return fd;
}

struct Outputs {
  Fd out, err;
};

// Opened by us before the runtime looks for a reader.
Outputs make_fifos(const fs::path& folder, const ExecOptions& options) {
  if (::mkdir(folder.c_str(), 0700) != 0) {
    throw Error(ErrorKind::internal, "cannot make " + folder.string())
        .with_detail(std::generic_category().message(errno));
  }
  auto make = [&folder](const char* name) {
    const auto file = folder / name;
    if (::mkfifo(file.c_str(), 0600) != 0) {
      throw Error(ErrorKind::internal, "cannot make " + file.string())
          .with_detail(std::generic_category().message(errno));
    }
    return file;
  };
  if (options.in) make("in");
  Outputs outputs;
  outputs.out = open_fifo(make("out"), O_RDONLY);
  if (!options.tty) outputs.err = open_fifo(make("err"), O_RDONLY);
  return outputs;
}

// runc makes each process the first of a session and of a group. Its children are in that group, unless they left it.
void signal_group(int pid, int signal) {
  if (pid > 1 && ::getpgid(pid) == pid) ::kill(-pid, signal);
}

// One command and its client.
class Session {
 public:
  Session(Executor executor, cri::Client& runtime, ExecClient& client, cri::ExecId exec, fs::path folder,
          ExecOptions options)
      : executor_(executor),
        runtime_(runtime),
        client_(client),
        exec_(std::move(exec)),
        folder_(std::move(folder)),
        options_(std::move(options)),
        in_(executor),
        changed_(executor),
        tasks_(executor) {}

  // Until the command has ended and all of its output is told, or the client has gone.
  Task<> run() {
    const auto spec = co_await runtime_.container_spec(exec_.container);
    auto process = exec_process(spec, options_.command, options_.tty);
    if (!process) throw Error(ErrorKind::internal, "containerd does not know how the container was made");
    auto outputs = co_await offload([folder = folder_, options = options_] { return make_fifos(folder, options); });
    cri::ExecRequest request{.exec = exec_,
                             .process = *std::move(process),
                             .in = options_.in ? folder_ / "in" : fs::path(),
                             .out = folder_ / "out",
                             .err = options_.tty ? fs::path() : folder_ / "err",
                             .tty = options_.tty};
    co_await runtime_.create_exec(std::move(request));
    pid_ = co_await runtime_.start_exec(exec_);
    tasks_.spawn("exec end", watch_end());
    hand_on(std::move(outputs.out), ExecChannel::out, options_.out);
    if (outputs.err) hand_on(std::move(outputs.err), ExecChannel::err, options_.err);
    tasks_.spawn("exec input", listen());
    tasks_.spawn("exec client", watch_client());
    while (!is_over() && !client_gone_ && !failure_) co_await changed_.wait(changed_.version());
    if (client_gone_ && !code_ && !failure_) co_await hang_up();
    if (failure_) std::rethrow_exception(failure_);
  }
  Task<> stop() {
    co_await tasks_.stop();
    close_input();
  }

  bool client_gone() const { return client_gone_; }
  int code() const { return code_.value_or(-1); }

 private:
  bool is_over() const { return code_ && open_outputs_ == 0; }
  void lose_client() {
    client_gone_ = true;
    changed_.notify_all();
  }
  void close_input() {
    boost::system::error_code ignored;
    in_.close(ignored);
  }

  Task<> watch_end() {
    try {
      code_ = co_await runtime_.wait_exec(exec_);
    } catch (const Error& error) {
      failure_ = std::make_exception_ptr(
          Error(error.kind(), "containerd went away while the command ran").with_detail(error.message()));
    }
    changed_.notify_all();
  }

  void hand_on(Fd from, ExecChannel channel, bool wanted) {
    ++open_outputs_;
    tasks_.spawn("exec output", copy(std::move(from), channel, wanted));
  }

  // To the end, also when nobody listens: a command must not hang on its output while it ends.
  Task<> copy(Fd fd, ExecChannel channel, bool wanted) {
    stream_descriptor from(executor_, fd.release());
    for (;;) {
      std::string bytes(piece, '\0');
      const auto [error, size] = co_await from.async_read_some(asio::buffer(bytes), quietly);
      if (error) break;
      if (!wanted || client_gone_) continue;
      bytes.resize(size);
      try {
        co_await client_.write(channel, bytes);
      } catch (const Error&) {
        lose_client();
      }
    }
    --open_outputs_;
    changed_.notify_all();
  }

  Task<> listen() {
    if (options_.in) co_await open_input();
    try {
      while (const auto frame = co_await client_.read()) {
        if (const auto* input = std::get_if<ExecInput>(&*frame)) co_await feed(input->bytes);
        // A terminal has no end of input: to close its other side would hang up.
        if (std::holds_alternative<ExecInputEnd>(*frame) && !options_.tty) co_await end_input();
        if (const auto* size = std::get_if<ExecResize>(&*frame); size && options_.tty) co_await resize(*size);
      }
    } catch (const Error&) {
      // It broke off.
    }
    lose_client();
  }

  // The runtime opens its end a moment after it said that the process runs; nothing tells when.
  Task<> open_input() {
    for (auto pause = 1ms; !code_; pause = std::min<std::chrono::milliseconds>(pause * 2, 100ms)) {
      Fd fd(::open((folder_ / "in").c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
      if (fd) {
        in_.assign(fd.release());
        co_return;
      }
      if (errno != ENXIO) break;
      co_await sleep_for(pause);
    }
  }

  Task<> feed(const std::string& bytes) {
    if (!in_.is_open()) co_return;
    const auto [error, size] = co_await asio::async_write(in_, asio::buffer(bytes), quietly);
    if (error) close_input();  // a command need not read all of it
  }

  Task<> end_input() {
    close_input();
    co_await quietly_ask(runtime_.close_exec_input(exec_), "its input could not be ended");
  }

  Task<> resize(ExecResize size) {
    co_await quietly_ask(runtime_.resize_exec(exec_, size.width, size.height), "its terminal could not be resized");
  }

  // The command may have ended meanwhile.
  Task<> quietly_ask(Task<> question, const char* what) {
    try {
      co_await std::move(question);
    } catch (const Error& error) {
      log::debug("exec: " + std::string(what), kv("exec", exec_.id), kv("error", error.message()));
    }
  }

  // Also while the input waits for a command that does not read, and nobody reads from the client.
  Task<> watch_client() {
    try {
      co_await client_.gone();
    } catch (const boost::system::system_error& error) {
      if (error.code() == asio::error::operation_aborted) throw;
    }
    lose_client();
  }

  // As a terminal does it.
  Task<> hang_up() {
    close_input();
    if (options_.in) co_await quietly_ask(runtime_.close_exec_input(exec_), "its input could not be ended");
    if (!code_) signal_group(pid_, SIGHUP);
    auto wait = [](Session& self) -> Task<> {
      while (!self.code_ && !self.failure_) co_await self.changed_.wait(self.changed_.version());
    };
    try {
      co_await with_deadline(grace, "", wait(*this));
    } catch (const Error&) {
      // It is killed.
    }
  }

  Executor executor_;
  cri::Client& runtime_;
  ExecClient& client_;
  cri::ExecId exec_;
  fs::path folder_;
  ExecOptions options_;
  stream_descriptor in_;
  Notifier changed_;
  TaskGroup tasks_;
  int pid_ = 0, open_outputs_ = 0;
  std::optional<int> code_;
  bool client_gone_ = false;
  std::exception_ptr failure_;
};

}  // namespace

Execs::Execs(Executor executor, const NodeConfig& config, cri::Client& runtime)
    : executor_(executor), folder_(config.state / "exec"), runtime_(runtime), endings_(executor) {}

fs::path Execs::folder_of(const cri::ExecId& exec) const { return folder_ / (exec.container + "." + exec.id); }

Task<> Execs::begin() {
  const auto names = co_await offload([folder = folder_] {
    fs::create_directories(folder);
    fs::permissions(folder, fs::perms::owner_all);
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder)) found.push_back(entry.path().filename().string());
    return found;
  });
  for (const auto& name : names) {
    const auto dot = name.find('.');
    if (dot == std::string::npos) continue;
    log::info("a command that an engine before ran is ended", kv("exec", name));
    endings_.spawn("end exec", end_whatever_comes({name.substr(0, dot), name.substr(dot + 1)}));
  }
}

Task<> Execs::serve(ExecClient& client, std::string container, ExecOptions options) {
  const cri::ExecId exec{std::move(container), random_hex(32)};
  Session session(executor_, runtime_, client, exec, folder_of(exec), options);
  auto clear_up = [this, &session, &exec]() -> Task<> {
    co_await session.stop();
    const auto trouble = co_await try_to_end(exec);
    if (trouble.empty()) co_return;
    log::warn("a command's traces could not be removed yet", kv("exec", exec.id), kv("error", trouble));
    if (!stopping_) endings_.spawn("end exec", end_whatever_comes(exec));
  };
  json::object status;
  try {
    co_await with_cleanup(session.run(), clear_up);
    status = exit_status(session.code(), options.command);
  } catch (const Error& error) {
    log::debug("exec failed", kv("exec", exec.id), kv("error", describe(std::current_exception())));
    status = failure_status(error.message());
  }
  if (!session.client_gone()) co_await client.finish(status);
}

Task<> Execs::end(cri::ExecId exec) {
  const auto folder = folder_of(exec);
  // Should the runtime wait for somebody to read, it goes on.
  std::vector<Fd> readers;
  for (const char* name : {"out", "err"}) {
    readers.emplace_back(::open((folder / name).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  }
  const auto found = co_await runtime_.find_exec(exec);
  try {
    if (found && found->running) {
      signal_group(found->pid, SIGKILL);
      co_await runtime_.kill_exec(exec);
      co_await runtime_.wait_exec(exec);
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found) throw;  // it has ended by itself, or with its container
  }
  try {
    if (found) co_await runtime_.delete_exec(exec);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found) throw;
  }
  co_await offload([folder] {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  });
}

Task<std::string> Execs::try_to_end(cri::ExecId exec) {
  try {
    co_await with_deadline(end_limit, "it does not end", end(exec));
  } catch (const Error& error) {
    co_return error.message();
  }
  co_return "";
}

Task<> Execs::end_whatever_comes(cri::ExecId exec) {
  for (auto pause = 500ms;; pause = std::min<std::chrono::milliseconds>(pause * 2, 60s)) {
    const auto trouble = co_await try_to_end(exec);
    if (trouble.empty()) co_return;
    log::debug("exec: not ended; trying again", kv("exec", exec.id), kv("error", trouble));
    co_await sleep_for(pause);
  }
}

Task<> Execs::stop() {
  stopping_ = true;
  co_await endings_.stop();
}

}  // namespace workflow::engine
