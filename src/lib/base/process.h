// src/lib/base/process.h: subprocesses by argument vector, never through a shell.
#pragma once
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/file.h"

namespace workflow {

struct ProcessSpec {
  std::vector<std::string> argv;                          // argv[0] is looked up in PATH
  std::optional<std::map<std::string, std::string>> env;  // nullopt: ours; else exactly this
  std::string cwd;                                        // "": ours
  enum class Stream { inherit, null, pipe, log };
  Stream in = Stream::null, out = Stream::inherit, err = Stream::inherit;
  std::string log;               // where Stream::log is appended; made with mode 0600
  bool new_session = false;      // setsid: its own process group, safe to signal as a group
  bool die_with_parent = false;  // PR_SET_PDEATHSIG SIGKILL
  std::optional<int> uid, gid;   // drop to this user (supplementary groups cleared)
  std::vector<int> kept;         // descriptors that the program inherits, under their own numbers
  std::optional<int> umask;      // nullopt: ours
};

// A running child. The destructor kills (SIGKILL) and reaps it if it still runs and was not detached.
class ChildProcess {
 public:
  explicit ChildProcess(const ProcessSpec& spec);  // throws unavailable when it cannot be started, naming argv[0]
  ChildProcess(ChildProcess&&) noexcept;
  ChildProcess& operator=(ChildProcess&&) noexcept;
  ~ChildProcess();

  int pid() const { return pid_; }
  const Fd& pidfd() const { return pidfd_; }  // readable when the child has exited
  Fd& in() { return in_; }                    // our ends of the pipes
  Fd& out() { return out_; }
  Fd& err() { return err_; }
  void signal(int number);  // to the child (its group, with new_session); no-op when it exited
  // The exit status as a shell would say it (128 + signal); nullopt when still running after `limit`.
  std::optional<int> wait(std::chrono::milliseconds limit);
  void detach();

 private:
  int pid_ = -1;
  bool group_ = false;
  std::optional<int> status_;
  Fd pidfd_, in_, out_, err_;
};

struct ProcessResult {
  int status = 0;  // as a shell would say it
  std::string out;
  std::string err;
};
// Runs to the end, feeding `input` and collecting output (each stream cut at 16 MiB). Throws `timeout` after killing
// it.
ProcessResult run_process(ProcessSpec spec, std::chrono::milliseconds limit, std::string input = "");

}  // namespace workflow
