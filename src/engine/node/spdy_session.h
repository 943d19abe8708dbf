// src/engine/node/spdy_session.h: the streams that a client opens on one SPDY connection.
//   Rules  a stream holds at most `most_unread` bytes that nobody has taken: then nothing more is read from the
//          connection, and TCP slows the client. Clients of Go's library know no other flow control; those that do get
//          a window for what was taken.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "engine/node/spdy_frames.h"
#include "lib/async/task.h"
#include "lib/http/upgrade.h"

namespace workflow::engine::spdy {

class Session;

class Stream {
 public:
  Stream(Session& session, std::uint32_t id, Headers headers);
  std::string header(std::string_view name) const;  // "" when there is none
  Task<std::string> read();                         // "" once the client has ended it, or has gone
  Task<> write(std::string_view bytes);             // throws unavailable once the client has gone
  Task<> end();                                     // we say nothing more
  void ignore();                                    // what still comes is dropped
  std::uint32_t id() const { return id_; }
  bool is_reset() const { return reset_; }  // the client wants nothing more of it

 private:
  friend class Session;
  Session& session_;
  std::uint32_t id_;
  Headers headers_;
  std::string unread_;
  std::size_t taken_ = 0;  // since the window was last opened
  bool ended_by_client_ = false, ended_by_us_ = false, ignored_ = false, reset_ = false;
};

class Session {
 public:
  static constexpr std::size_t most_unread = 128u << 10, most_streams = 256;

  Session(Executor executor, http::ByteStream& bytes);
  Task<> run();                            // until the client ends the connection or breaks the rules; throws nothing
  Task<std::shared_ptr<Stream>> accept();  // the next that the client opened; nullptr once it has gone
  Task<> gone();                           // resolves soon after the client has gone, also while nobody reads
  Task<> say_goodbye();                    // no stream will be served any more

 private:
  friend class Stream;
  Task<> read_frames();
  Task<> take(Frame frame);
  Task<> take_open(Open frame);
  Task<> take_data(Data frame);
  void end_by_client(std::uint32_t stream);
  void forget_if_over(const Stream& stream);
  Task<> send(std::string frame);

  http::ByteStream& bytes_;
  Decoder decoder_;
  Encoder encoder_;
  Notifier changed_;
  std::map<std::uint32_t, std::shared_ptr<Stream>> streams_;  // until both sides have ended them
  std::deque<std::shared_ptr<Stream>> opened_;                // not accepted yet
  std::uint32_t last_opened_ = 0;
  bool over_ = false, stalled_ = false, writing_ = false;
};

}  // namespace workflow::engine::spdy
