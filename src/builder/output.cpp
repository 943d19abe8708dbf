#include "builder/output.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/write.hpp>
#include <cstdio>
#include <memory>
#include <utility>

#include "lib/base/error.h"

namespace workflow::builder {
namespace {

Task<bool> write_to(asio::posix::stream_descriptor& to, std::string_view bytes) {
  const auto [error, size] = co_await asio::async_write(to, asio::buffer(bytes), asio::as_tuple(asio::use_awaitable));
  if (error == asio::error::operation_aborted) throw boost::system::system_error(error);
  co_return !error;
}

}  // namespace

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

Sink sink_to(Executor executor, Fd fd) {
  auto to = std::make_shared<asio::posix::stream_descriptor>(executor, fd.release());
  return [to](std::string bytes) -> Task<bool> { co_return co_await write_to(*to, bytes); };
}

Task<bool> PacketRelay::write(std::string_view bytes) {
  writing_ = true;
  gone_ = !co_await write_to(to_, bytes);
  writing_ = false;
  turns_.notify_all();
  co_return !gone_;
}

Task<bool> PacketRelay::relay(std::string_view bytes) {
  while (writing_) co_await turns_.wait(turns_.version());
  if (gone_) co_return false;
  packets_.skip(bytes);
  co_return co_await write(bytes);
}

Task<bool> PacketRelay::put(std::string packets) {
  while (!gone_ && (writing_ || !packets_.at_boundary())) co_await turns_.wait(turns_.version());
  if (gone_) co_return false;
  co_return co_await write(packets);
}

Output::Output(Executor executor, Sink sink, std::chrono::milliseconds heartbeat)
    : sink_(std::move(sink)), heartbeat_(heartbeat), said_(executor), written_(executor) {}

void Output::raw(std::string_view bytes) {
  if (gone_) return;
  pending_ += prefixer_.feed(bytes);
  said_.notify_all();
}

Task<> Output::flushed() {
  while (!gone_ && (writing_ || !pending_.empty())) co_await written_.wait(written_.version());
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
    gone_ = !co_await sink_(std::exchange(pending_, "")) || gone_;
    if (gone_) pending_.clear();
    writing_ = false;
    written_.notify_all();
  }
}

}  // namespace workflow::builder
