#include "builder/output.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/write.hpp>
#include <cstdio>
#include <utility>

#include "lib/base/error.h"

namespace workflow::builder {

std::string LinePrefixer::feed(std::string_view bytes) {
  constexpr std::string_view prefix = "\x1b[1G\x1b[K";
  std::string out;
  for (const char c : bytes) {
    if (std::exchange(at_line_start_, c == '\n')) out += prefix;
    out += c;
  }
  return out;
}

std::string seconds_text(std::chrono::nanoseconds time) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f s", std::chrono::duration<double>(time).count());
  return text;
}

std::string phases_text(const Phases& phases) {
  return "Time: receive " + seconds_text(phases.receive) + ", upload " + seconds_text(phases.upload) + ", build " +
         seconds_text(phases.build) + ", release " + seconds_text(phases.release) + ", total " +
         seconds_text(phases.total);
}

Output::Output(Executor executor, Fd fd, std::chrono::milliseconds heartbeat)
    : fd_(executor, fd.release()), heartbeat_(heartbeat), said_(executor), written_(executor) {}

void Output::raw(std::string_view bytes) {
  if (gone_) return;
  pending_ += prefixer_.feed(bytes);
  said_.notify_all();
}

Task<> Output::flushed() {
  while (!gone_ && (writing_ || !pending_.empty())) co_await written_.wait(written_.version());
}

Task<> Output::write(std::string bytes) {
  const auto [error, size] = co_await asio::async_write(fd_, asio::buffer(bytes), asio::as_tuple(asio::use_awaitable));
  if (!error || error == asio::error::operation_aborted) co_return;
  gone_ = true;
  pending_.clear();
}

Task<> Output::run() {
  for (;;) {
    if (pending_.empty()) {
      bool silence = false;
      try {
        co_await with_deadline(heartbeat_, "silence", said_.wait(said_.version()));
      } catch (const Error&) {
        silence = true;
      }
      if (silence) raw(prefixer_.at_line_start() ? "...\n" : "\n...\n");
    }
    writing_ = true;
    co_await write(std::exchange(pending_, ""));
    writing_ = false;
    written_.notify_all();
  }
}

}  // namespace workflow::builder
