#include "lib/base/process.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "lib/base/error.h"
#include "lib/base/limits.h"
#include "lib/base/text.h"

namespace workflow {

namespace {
using Stream = ProcessSpec::Stream;
constexpr std::size_t output_limit = 16u << 20;

std::string reason(int code) { return std::generic_category().message(code); }

struct Pipe {
  Fd ours, theirs;
};

// Both ends above 2, so that the child can put its end at 0, 1 or 2 without overwriting another.
Fd above_standard(int fd) {
  if (fd > 2) return Fd(fd);
  const Fd low(fd);
  return Fd(::fcntl(low.get(), F_DUPFD_CLOEXEC, 3));
}

enum class Child { reads, writes };

Pipe make_pipe(Child child) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw Error(ErrorKind::unavailable, "cannot make a pipe: " + reason(errno));
  auto read_end = above_standard(ends[0]);
  auto write_end = above_standard(ends[1]);
  if (child == Child::reads) return {std::move(write_end), std::move(read_end)};
  return {std::move(read_end), std::move(write_end)};
}

// The streams of one child, from the parent's side.
struct Streams {
  std::array<Pipe, 3> pipes;
  std::array<int, 3> child_fds{-1, -1, -1};  // what becomes 0, 1, 2; -1: inherited
  Fd null, log;
};

Streams open_streams(const ProcessSpec& spec) {
  Streams s;
  const std::array<Stream, 3> wanted{spec.in, spec.out, spec.err};
  for (std::size_t i = 0; i < 3; ++i) {
    if (wanted[i] == Stream::null) {
      if (!s.null) s.null = above_standard(::open("/dev/null", O_RDWR | O_CLOEXEC));
      if (!s.null) throw Error(ErrorKind::unavailable, "cannot open /dev/null: " + reason(errno));
      s.child_fds[i] = s.null.get();
    } else if (wanted[i] == Stream::log) {
      if (!s.log) s.log = above_standard(::open(spec.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
      if (!s.log) throw Error(ErrorKind::unavailable, "cannot write " + spec.log + ": " + reason(errno));
      s.child_fds[i] = s.log.get();
    } else if (wanted[i] == Stream::pipe) {
      s.pipes[i] = make_pipe(i == 0 ? Child::reads : Child::writes);
      s.child_fds[i] = s.pipes[i].theirs.get();
    }
  }
  return s;
}

// PATH is searched before the fork: between fork and exec only async-signal-safe calls are allowed.
std::string find_program(const std::string& name, const std::optional<std::map<std::string, std::string>>& env) {
  if (name.find('/') != std::string::npos) return name;
  std::string path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  if (env && env->contains("PATH")) {
    path = env->at("PATH");
  } else if (const char* ours = ::getenv("PATH"); ours != nullptr) {  // what execvp would search
    path = ours;
  }
  for (const auto& folder : split(path, ':')) {
    auto candidate = (folder.empty() ? std::string(".") : folder) + "/" + name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  throw Error(ErrorKind::unavailable, "cannot start " + name + ": there is no such program in " + path);
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (auto& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

struct ChildPlan {
  const ProcessSpec& spec;
  const char* program;
  char** argv;
  char** envp;
  std::array<int, 3> fds;
  int report;  // write end: errno goes here when something fails
  pid_t parent;
  std::optional<rlimit> open_files;
};

[[noreturn]] void give_up(const ChildPlan& plan) {
  const int code = errno;
  [[maybe_unused]] const auto written = ::write(plan.report, &code, sizeof code);
  ::_exit(127);
}

// Runs in the child, between fork and exec.
[[noreturn]] void become(const ChildPlan& plan) {
  for (int i = 0; i < 3; ++i) {
    if (plan.fds[static_cast<std::size_t>(i)] >= 0 && ::dup2(plan.fds[static_cast<std::size_t>(i)], i) < 0)
      give_up(plan);
  }
  // Sockets of Asio are not close-on-exec, and no child of ours wants them.
  ::syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
  for (const int fd : plan.spec.kept) {
    if (::fcntl(fd, F_SETFD, 0) != 0) give_up(plan);
  }
  if (plan.spec.umask) ::umask(static_cast<mode_t>(*plan.spec.umask));
  if (plan.open_files) ::setrlimit(RLIMIT_NOFILE, &*plan.open_files);
  struct sigaction default_action{};
  default_action.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) ::sigaction(number, &default_action, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (plan.spec.new_session && ::setsid() < 0) give_up(plan);
  if (plan.spec.gid) {
    const auto gid = static_cast<gid_t>(*plan.spec.gid);
    if (::setgroups(0, nullptr) != 0 || ::setresgid(gid, gid, gid) != 0) give_up(plan);
  }
  if (plan.spec.uid) {
    const auto uid = static_cast<uid_t>(*plan.spec.uid);
    if (!plan.spec.gid && ::setgroups(0, nullptr) != 0) give_up(plan);
    if (::setresuid(uid, uid, uid) != 0) give_up(plan);
  }
  // After the change of user, which would clear it (prctl(2)).
  if (plan.spec.die_with_parent) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != plan.parent) ::_exit(127);
  }
  if (!plan.spec.cwd.empty() && ::chdir(plan.spec.cwd.c_str()) != 0) give_up(plan);
  ::execve(plan.program, plan.argv, plan.envp);
  give_up(plan);
}

int shell_status(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

// Writes without SIGPIPE, whatever the process has decided about that signal. -1 and EPIPE when the reader is gone.
ssize_t write_quietly(int fd, std::string_view bytes) {
  sigset_t pipe_signal;
  sigset_t before;
  ::sigemptyset(&pipe_signal);
  ::sigaddset(&pipe_signal, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
  const auto written = ::write(fd, bytes.data(), bytes.size());
  const int code = errno;
  if (written < 0 && code == EPIPE && ::sigismember(&before, SIGPIPE) == 0) {
    const timespec at_once{0, 0};
    ::sigtimedwait(&pipe_signal, nullptr, &at_once);
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = code;
  return written;
}

void make_nonblocking(const Fd& fd) {
  if (fd) ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
}

// Reads what is there now; closes at the end of the stream. Keeps the first 16 MiB and discards the rest.
void drain(Fd& fd, std::string& into) {
  std::array<char, 65536> buffer;
  while (fd) {
    const auto got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got > 0) {
      into.append(buffer.data(), std::min(static_cast<std::size_t>(got), output_limit - into.size()));
    } else if (got == 0) {
      fd.reset();
    } else if (errno != EINTR) {
      if (errno != EAGAIN) fd.reset();
      return;
    }
  }
}

void feed(Fd& fd, std::string_view& input) {
  while (fd && !input.empty()) {
    const auto written = write_quietly(fd.get(), input);
    if (written > 0) {
      input.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno != EINTR) {
      if (errno != EAGAIN) fd.reset();  // the child does not want its input
      return;
    }
  }
  fd.reset();
}
}  // namespace

ChildProcess::ChildProcess(const ProcessSpec& spec) : group_(spec.new_session) {
  WF_CHECK(!spec.argv.empty());
  const std::string program = find_program(spec.argv[0], spec.env);
  auto arguments = spec.argv;
  std::vector<std::string> variables;
  if (spec.env) {
    for (const auto& [name, value] : *spec.env) variables.push_back(name + "=" + value);
  }
  auto argv = pointers(arguments);
  auto envp = pointers(variables);
  auto streams = open_streams(spec);
  auto report = make_pipe(Child::writes);
  const ChildPlan plan{spec,
                       program.c_str(),
                       argv.data(),
                       spec.env ? envp.data() : environ,
                       streams.child_fds,
                       report.theirs.get(),
                       ::getpid(),
                       given_open_files()};
  pid_ = ::fork();
  if (pid_ < 0) throw Error(ErrorKind::unavailable, "cannot start " + spec.argv[0] + ": " + reason(errno));
  if (pid_ == 0) become(plan);

  report.theirs.reset();
  int code = 0;
  ssize_t got = 0;
  do {
    got = ::read(report.ours.get(), &code, sizeof code);
  } while (got < 0 && errno == EINTR);
  if (got == static_cast<ssize_t>(sizeof code)) {
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
    throw Error(ErrorKind::unavailable, "cannot start " + spec.argv[0] + ": " + reason(code));
  }
  pidfd_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  in_ = std::move(streams.pipes[0].ours);
  out_ = std::move(streams.pipes[1].ours);
  err_ = std::move(streams.pipes[2].ours);
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      group_(other.group_),
      status_(other.status_),
      pidfd_(std::move(other.pidfd_)),
      in_(std::move(other.in_)),
      out_(std::move(other.out_)),
      err_(std::move(other.err_)) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  if (this != &other) {
    std::swap(pid_, other.pid_);
    std::swap(group_, other.group_);
    std::swap(status_, other.status_);
    std::swap(pidfd_, other.pidfd_);
    std::swap(in_, other.in_);
    std::swap(out_, other.out_);
    std::swap(err_, other.err_);
  }
  return *this;
}

ChildProcess::~ChildProcess() {
  if (pid_ < 0 || status_) return;
  if (wait(std::chrono::milliseconds(0))) return;
  signal(SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void ChildProcess::signal(int number) {
  if (pid_ < 0 || status_) return;
  ::kill(group_ ? -pid_ : pid_, number);
}

std::optional<int> ChildProcess::wait(std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!status_ && pid_ >= 0) {
    int status = 0;
    const auto got = ::waitpid(pid_, &status, WNOHANG);
    if (got == pid_) {
      status_ = shell_status(status);
    } else if (got < 0 && errno != EINTR) {
      status_ = 127;  // somebody else reaped it
    } else {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
      if (left.count() <= 0) return std::nullopt;
      pollfd waiting{pidfd_.get(), POLLIN, 0};
      ::poll(&waiting, 1, static_cast<int>(std::min<std::int64_t>(left.count(), 1'000'000)));
    }
  }
  return status_;
}

void ChildProcess::detach() { pid_ = -1; }

ProcessResult run_process(ProcessSpec spec, std::chrono::milliseconds limit, std::string input) {
  if (!input.empty()) spec.in = Stream::pipe;
  if (spec.out == Stream::inherit) spec.out = Stream::pipe;
  if (spec.err == Stream::inherit) spec.err = Stream::pipe;
  const auto deadline = std::chrono::steady_clock::now() + limit;
  ChildProcess child(spec);
  make_nonblocking(child.in());
  make_nonblocking(child.out());
  make_nonblocking(child.err());
  ProcessResult result;
  std::string_view rest = input;
  for (;;) {
    if (rest.empty()) child.in().reset();
    std::array<pollfd, 4> waiting{{{child.in().get(), POLLOUT, 0},
                                   {child.out().get(), POLLIN, 0},
                                   {child.err().get(), POLLIN, 0},
                                   {child.pidfd().get(), POLLIN, 0}}};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) {
      child.signal(SIGKILL);
      throw Error(ErrorKind::timeout,
                  spec.argv[0] + " did not end within " + std::to_string(limit.count()) + " ms and was killed");
    }
    ::poll(waiting.data(), waiting.size(), static_cast<int>(std::min<std::int64_t>(left.count(), 1'000'000)));
    feed(child.in(), rest);
    // What the child wrote is in the pipes when it has exited; a grandchild that keeps them open is not waited for.
    const auto status = child.wait(std::chrono::milliseconds(0));
    drain(child.out(), result.out);
    drain(child.err(), result.err);
    if (status) {
      result.status = *status;
      return result;
    }
  }
}

}  // namespace workflow
