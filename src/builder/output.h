// src/builder/output.h: what the pusher sees of a build, as it happens.
#pragma once
#include <boost/asio/posix/stream_descriptor.hpp>
#include <chrono>
#include <string>
#include <string_view>

#include "lib/async/task.h"
#include "lib/base/file.h"

namespace workflow::builder {

// Begins every line with "cursor to column 1, clear": on a terminal it replaces git's "remote: ".
class LinePrefixer {
 public:
  std::string feed(std::string_view bytes);
  bool at_line_start() const { return at_line_start_; }

 private:
  bool at_line_start_ = true;
};

std::string seconds_text(std::chrono::nanoseconds time);  // "0.12 s"

// How long each part of a push took.
struct Phases {
  std::chrono::nanoseconds receive{}, upload{}, build{}, release{}, total{};
};
std::string phases_text(const Phases& phases);

// Writes to the pusher while run() runs: what was said, and "..." after `heartbeat` of silence. A pusher who cannot be
// reached any more is no error: the words are dropped.
class Output {
 public:
  Output(Executor executor, Fd fd, std::chrono::milliseconds heartbeat);
  void line(std::string_view text) { raw(std::string(text) + "\n"); }
  void raw(std::string_view bytes);
  Task<> flushed();  // waits until all is written: also keeps a fast log from filling our memory
  Task<> run();

 private:
  Task<> write(std::string bytes);

  asio::posix::stream_descriptor fd_;
  std::chrono::milliseconds heartbeat_;
  LinePrefixer prefixer_;
  std::string pending_;
  bool writing_ = false, gone_ = false;
  Notifier said_, written_;
};

}  // namespace workflow::builder
