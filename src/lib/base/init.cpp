#include "lib/base/init.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "lib/base/start_pages.h"

namespace workflow {
namespace {

sigset_t waiting_signals() {
  sigset_t signals;
  ::sigfillset(&signals);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP}) ::sigdelset(&signals, fault);
  return signals;
}

// Reaps all that has ended; the status of `program` when it is among them.
std::optional<int> reap(pid_t program) {
  std::optional<int> ended;
  for (;;) {
    int status = 0;
    const auto pid = ::waitpid(-1, &status, WNOHANG);
    if (pid == program) ended = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    if (pid == 0 || (pid < 0 && errno != EINTR)) return ended;
  }
}

}  // namespace

sigset_t block_signals() {
  const auto signals = waiting_signals();
  sigset_t before;
  ::sigprocmask(SIG_BLOCK, &signals, &before);
  return before;
}

int attend(pid_t program, PassSignalsTo to) {
  const auto signals = waiting_signals();
  for (;;) {
    int number = 0;
    if (::sigwait(&signals, &number) != 0) continue;
    if (number != SIGCHLD) {
      ::kill(to == PassSignalsTo::group ? -program : program, number);
    } else if (const auto status = reap(program)) {
      return *status;
    }
  }
}

int run_program(int (*program)(int argc, char** argv), int argc, char** argv) {
  if (::getpid() != 1) return program(argc, argv);
  const auto before = block_signals();
  const auto pid = ::fork();
  if (pid > 0) {
    release_start_pages();
    return attend(pid, PassSignalsTo::process);
  }
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  return program(argc, argv);  // in the child; or here, when there can be no child
}

}  // namespace workflow
