// src/lib/kube/watch.h: the events of one watch connection. Inside lib/kube; others use Client::watch or an Informer.
#pragma once
#include "lib/kube/client.h"

namespace workflow::kube {

// The server ends a watch after this; a connection that is silent for longer is dead.
inline constexpr std::chrono::seconds watch_lifetime{290};

// Cuts a stream into lines, whatever pieces it comes in.
class LineBuffer {
 public:
  void append(std::string_view bytes) { buffer_ += bytes; }
  std::optional<std::string> take_line();  // without its newline
  std::size_t size() const { return buffer_.size() - begin_; }

 private:
  std::string buffer_;
  std::size_t begin_ = 0;    // of the first line not taken
  std::size_t scanned_ = 0;  // no newline before this
};

// One line of a watch. Throws conflict "resourceVersion too old" for 410 Gone, the Status otherwise; unavailable when
// the line is not an event. nullopt: an event of a type that we do not know.
std::optional<WatchEvent> watch_event_from(std::string_view line, const Resource& r);

class WatchStream : public Watch {
 public:
  WatchStream(std::shared_ptr<http::BodyReader> body, const Resource& r) : body_(std::move(body)), resource_(r) {}
  Task<std::optional<WatchEvent>> next() override;

 private:
  std::shared_ptr<http::BodyReader> body_;
  Resource resource_;
  LineBuffer lines_;
};

}  // namespace workflow::kube
