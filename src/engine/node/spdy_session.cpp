#include "engine/node/spdy_session.h"

#include "lib/base/error.h"
#include "lib/base/log.h"

namespace workflow::engine::spdy {

using namespace std::chrono_literals;

namespace {

// Sets a flag for as long as it lives, and tells when it goes.
class Marked {
 public:
  Marked(bool& flag, Notifier& changed) : flag_(flag), changed_(changed) { flag_ = true; }
  ~Marked() {
    flag_ = false;
    changed_.notify_all();
  }
  Marked(const Marked&) = delete;
  Marked& operator=(const Marked&) = delete;

 private:
  bool& flag_;
  Notifier& changed_;
};

}  // namespace

Stream::Stream(Session& session, std::uint32_t id, Headers headers)
    : session_(session), id_(id), headers_(std::move(headers)) {}

std::string Stream::header(std::string_view name) const {
  for (const auto& [field, value] : headers_) {
    if (field == name) return value;
  }
  return "";
}

Task<std::string> Stream::read() {
  constexpr std::size_t window_step = 32u << 10;
  auto& changed = session_.changed_;
  while (unread_.empty() && !ended_by_client_ && !session_.over_) co_await changed.wait(changed.version());
  auto bytes = std::exchange(unread_, "");
  if (bytes.empty()) co_return "";
  changed.notify_all();
  taken_ += bytes.size();
  if (taken_ < window_step || ended_by_client_ || session_.over_) co_return bytes;
  const auto taken = static_cast<std::uint32_t>(std::exchange(taken_, 0));
  try {
    co_await session_.send(Encoder::window_update(id_, taken) + Encoder::window_update(0, taken));
  } catch (const Error&) {
    // The client has gone; what it said before counts.
  }
  co_return bytes;
}

Task<> Stream::write(std::string_view bytes) {
  if (bytes.empty() || ended_by_us_) co_return;
  co_await session_.send(Encoder::data({id_, std::string(bytes), false}));
}

Task<> Stream::end() {
  if (std::exchange(ended_by_us_, true)) co_return;
  auto& session = session_;
  auto frame = Encoder::data({id_, "", true});
  session.forget_if_over(*this);
  co_await session.send(std::move(frame));
}

void Stream::ignore() {
  ignored_ = true;
  unread_.clear();
  session_.changed_.notify_all();
}

Session::Session(Executor executor, http::ByteStream& bytes) : bytes_(bytes), changed_(executor) {}

Task<> Session::run() {
  struct Over {
    explicit Over(Session& session) : session_(session) {}
    ~Over() {
      session_.over_ = true;
      session_.changed_.notify_all();
    }
    Session& session_;
  } over(*this);
  try {
    co_await read_frames();
  } catch (const Error& error) {
    log::debug("a SPDY connection ended by an error", kv("error", error.message()));
  }
}

Task<> Session::read_frames() {
  for (;;) {
    while (auto frame = decoder_.next()) {
      if (const auto* violation = std::get_if<Violation>(&*frame))
        throw Error(ErrorKind::invalid, "the client broke SPDY: " + violation->why);
      if (std::holds_alternative<GoAway>(*frame)) co_return;
      co_await take(*std::move(frame));
    }
    const auto bytes = co_await bytes_.read();
    if (bytes.empty()) co_return;
    decoder_.feed(bytes);
  }
}

Task<> Session::take(Frame frame) {
  if (auto* open = std::get_if<Open>(&frame)) {
    co_await take_open(std::move(*open));
  } else if (auto* data = std::get_if<Data>(&frame)) {
    co_await take_data(std::move(*data));
  } else if (const auto* reset = std::get_if<Reset>(&frame)) {
    if (const auto found = streams_.find(reset->stream); found != streams_.end())
      found->second->reset_ = found->second->ended_by_us_ = true;
    end_by_client(reset->stream);
  } else if (const auto* end = std::get_if<HeadersEnd>(&frame)) {
    end_by_client(end->stream);
  } else if (const auto* ping = std::get_if<Ping>(&frame); ping && ping->id % 2 == 1) {  // the others answer ours
    co_await send(Encoder::ping(ping->id));
  }
}

Task<> Session::take_open(Open frame) {
  if (frame.stream % 2 == 0 || frame.stream <= last_opened_)
    throw Error(ErrorKind::invalid, "the client broke SPDY: a stream's number is not its next one");
  last_opened_ = frame.stream;
  if (streams_.size() >= most_streams) {
    co_await send(Encoder::reset(frame.stream));
    co_return;
  }
  auto stream = std::make_shared<Stream>(*this, frame.stream, std::move(frame.headers));
  stream->ended_by_client_ = frame.last;
  streams_[frame.stream] = stream;
  co_await send(encoder_.reply(frame.stream));
  opened_.push_back(std::move(stream));
  changed_.notify_all();
}

Task<> Session::take_data(Data frame) {
  const auto found = streams_.find(frame.stream);
  if (found == streams_.end()) co_return;
  const auto stream = found->second;
  if (!stream->ignored_ && !stream->ended_by_client_) stream->unread_ += frame.bytes;
  changed_.notify_all();
  if (frame.last) end_by_client(frame.stream);
  if (stream->unread_.size() < most_unread) co_return;
  Marked stalled(stalled_, changed_);
  changed_.notify_all();
  while (stream->unread_.size() >= most_unread) co_await changed_.wait(changed_.version());
}

void Session::end_by_client(std::uint32_t id) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  const auto stream = found->second;
  stream->ended_by_client_ = true;
  forget_if_over(*stream);
  changed_.notify_all();
}

void Session::forget_if_over(const Stream& stream) {
  if (stream.ended_by_client_ && stream.ended_by_us_) streams_.erase(stream.id_);
}

Task<> Session::send(std::string frame) {
  while (writing_) co_await changed_.wait(changed_.version());
  if (over_) throw Error(ErrorKind::unavailable, "the client has gone");
  Marked writing(writing_, changed_);
  co_await bytes_.write(frame);
}

Task<std::shared_ptr<Stream>> Session::accept() {
  while (opened_.empty() && !over_) co_await changed_.wait(changed_.version());
  if (opened_.empty()) co_return nullptr;
  auto stream = std::move(opened_.front());
  opened_.pop_front();
  co_return stream;
}

// While nothing is read, the client's end may wait behind what it sent. So then we say something each second: the
// kernel of a client that has gone refuses it.
Task<> Session::gone() {
  while (!over_) {
    if (!stalled_) {
      co_await changed_.wait(changed_.version());
      continue;
    }
    co_await sleep_for(1s);
    if (over_ || !stalled_) continue;
    if (bytes_.has_ended()) co_return;
    try {
      co_await send(Encoder::ping(2));
    } catch (const Error&) {
      co_return;
    }
  }
}

Task<> Session::say_goodbye() { co_await send(Encoder::go_away(last_opened_)); }

}  // namespace workflow::engine::spdy
