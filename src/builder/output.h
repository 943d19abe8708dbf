// src/builder/output.h: what the pusher sees of a build, as it happens.
#pragma once
#include <boost/asio/posix/stream_descriptor.hpp>
#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "builder/packets.h"
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

// Takes words on their way to the pusher; false once nobody is there any more.
using Sink = std::function<Task<bool>(std::string bytes)>;
Sink sink_to(Executor executor, Fd fd);

// The way from git to the pusher's git: packets of the one, and between two of them words of ours.
class PacketRelay {
 public:
  PacketRelay(Executor executor, Fd to) : to_(executor, to.release()), turns_(executor) {}
  // Both return false once the pusher cannot be reached any more.
  Task<bool> relay(std::string_view bytes);  // git's own; they stay where they are until it returns
  Task<bool> put(std::string packets);       // ours, as soon as git's is complete

 private:
  Task<bool> write(std::string_view bytes);

  asio::posix::stream_descriptor to_;
  PacketReader packets_;
  Notifier turns_;
  bool writing_ = false, gone_ = false;
};

// Hands words to the sink while run() runs: what was said, and "..." after `heartbeat` of silence. A pusher who cannot
// be reached any more is no error: the words are dropped.
class Output {
 public:
  Output(Executor executor, Sink sink, std::chrono::milliseconds heartbeat);
  void line(std::string_view text) { raw(std::string(text) + "\n"); }
  void raw(std::string_view bytes);
  Task<> flushed();  // waits until all is written: also keeps a fast log from filling our memory
  Task<> run();

 private:
  Sink sink_;
  std::chrono::milliseconds heartbeat_;
  LinePrefixer prefixer_;
  std::string pending_;
  bool writing_ = false, gone_ = false;
  Notifier said_, written_;
};

}  // namespace workflow::builder
