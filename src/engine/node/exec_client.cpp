#include "engine/node/exec_client.h"

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "engine/node/spdy_session.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/text.h"
#include "lib/http/upgrade.h"

namespace workflow::engine {
namespace {

using namespace std::chrono_literals;

// Before v4 the last word was text, and only of a failure.
enum class LastWord { status, text };

std::optional<std::string> last_word(LastWord form, const json::object& status) {
  if (form == LastWord::status) return print_json(status);
  if (find_string(status, {"status"}) == "Success") return std::nullopt;
  return find_string(status, {"message"}).value_or("");
}

// --- WebSocket

constexpr std::string_view base64_protocol = "base64.channel.k8s.io";

class WebSocketClient : public ExecClient {
 public:
  explicit WebSocketClient(http::WebSocket& socket)
      : socket_(socket),
        base64_(socket.subprotocol() == base64_protocol),
        form_(socket.subprotocol().starts_with("v") ? LastWord::status : LastWord::text) {}

  Task<std::optional<ExecFrame>> read() override {
    auto message = co_await socket_.read();
    if (!message) co_return std::nullopt;
    if (base64_) co_return exec_frame(from_base64_frame(message->data));
    co_return exec_frame(std::move(message->data));
  }

  Task<> write(ExecChannel channel, std::string_view bytes) override {
    http::WebSocket::Message message{!base64_, base64_ ? to_base64_frame(channel, bytes) : to_client(channel, bytes)};
    co_await socket_.write(std::move(message));
  }

  Task<> finish(const json::object& status) override {
    if (const auto word = last_word(form_, status)) co_await write(ExecChannel::status, *word);
  }

  Task<> gone() override { return socket_.gone(); }

 private:
  // The channel is a digit there.
  static std::string to_base64_frame(ExecChannel channel, std::string_view bytes) {
    return std::to_string(static_cast<int>(channel)) + to_base64(bytes);
  }
  static std::string from_base64_frame(std::string_view text) {
    const auto bytes = text.empty() ? std::nullopt : from_base64(text.substr(1));
    if (!bytes || text[0] < '0' || text[0] > '9') return "";
    return static_cast<char>(text[0] - '0') + *bytes;
  }

  http::WebSocket& socket_;
  bool base64_;
  LastWord form_;
};

// --- SPDY

constexpr std::string_view spdy_protocols[] = {"v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io",
                                               "channel.k8s.io"};

// What both ends know, by the client's preference or ours: the newest. A client that names none is one of long ago.
std::string stream_protocol(const http::Request& request) {
  std::vector<std::string> offered;
  for (const auto& [name, value] : request.headers) {
    if (!equal_ignoring_case(name, "X-Stream-Protocol-Version")) continue;
    for (const auto& one : split(value, ',')) offered.emplace_back(trim(one));
  }
  if (offered.empty()) return "channel.k8s.io";
  for (const auto known : spdy_protocols) {
    if (std::ranges::find(offered, known) != offered.end()) return std::string(known);
  }
  throw Error(ErrorKind::invalid, "none of the offered X-Stream-Protocol-Version is known here; there are " +
                                      join({std::begin(spdy_protocols), std::end(spdy_protocols)}, ", "));
}

class SpdyClient : public ExecClient {
 public:
  SpdyClient(Executor executor, spdy::Session& session, LastWord form)
      : session_(session), changed_(executor), readers_(executor), form_(form) {}

  // Takes the streams that were announced. Throws when they do not come.
  Task<> begin(const ExecOptions& options, const std::string& protocol) {
    std::vector<std::string> wanted{"error"};
    if (options.in) wanted.emplace_back("stdin");
    if (options.out) wanted.emplace_back("stdout");
    if (options.err && !options.tty) wanted.emplace_back("stderr");
    if (options.tty && protocol.starts_with("v") && protocol[1] >= '3') wanted.emplace_back("resize");
    while (streams_.size() < wanted.size()) {
      auto stream = co_await session_.accept();
      if (!stream) throw Error(ErrorKind::unavailable, "the client has gone before its streams were there");
      const auto type = stream->header("streamtype");
      if (std::ranges::find(wanted, type) == wanted.end())
        throw Error(ErrorKind::invalid, "the client opened a stream that it had not announced");
      streams_[type] = std::move(stream);
    }
    if (const auto in = find("stdin")) readers_.spawn("exec stdin", read_input(in));
    if (const auto sizes = find("resize")) readers_.spawn("exec sizes", read_sizes(sizes));
  }
  Task<> stop() { return readers_.stop(); }

  Task<std::optional<ExecFrame>> read() override {
    auto over = [](SpdyClient& self) -> Task<> {
      co_await self.session_.gone();
      self.has_gone_ = true;
      self.changed_.notify_all();
    };
    if (!std::exchange(watched_, true)) readers_.spawn("exec client", over(*this));
    while (!next_ && !has_gone_) co_await changed_.wait(changed_.version());
    auto frame = std::exchange(next_, std::nullopt);
    changed_.notify_all();
    co_return frame;
  }

  Task<> write(ExecChannel channel, std::string_view bytes) override {
    if (const auto stream = find(channel == ExecChannel::out ? "stdout" : "stderr")) co_await stream->write(bytes);
  }

  Task<> finish(const json::object& status) override {
    for (const auto* name : {"stdout", "stderr"}) {
      if (const auto stream = find(name)) co_await stream->end();
    }
    const auto error = find("error");
    if (const auto word = last_word(form_, status)) co_await error->write(*word);
    co_await error->end();
  }

  Task<> gone() override { return session_.gone(); }

 private:
  std::shared_ptr<spdy::Stream> find(const std::string& type) const {
    const auto found = streams_.find(type);
    return found == streams_.end() ? nullptr : found->second;
  }

  // One frame waits at a time: who does not take input gets no more.
  Task<> hand_on(ExecFrame frame) {
    while (next_) co_await changed_.wait(changed_.version());
    next_ = std::move(frame);
    changed_.notify_all();
  }

  Task<> read_input(std::shared_ptr<spdy::Stream> stream) {
    for (;;) {
      auto bytes = co_await stream->read();
      if (bytes.empty()) break;
      co_await hand_on(ExecInput{std::move(bytes)});
    }
    co_await hand_on(ExecInputEnd{});
  }

  // JSON values, one after the other; each arrives in a frame of its own.
  Task<> read_sizes(std::shared_ptr<spdy::Stream> stream) {
    for (;;) {
      const auto bytes = co_await stream->read();
      if (bytes.empty()) co_return;
      for (const auto& line : split(bytes, '\n')) {
        auto frame = exec_frame(to_client(ExecChannel::resize, line));
        if (std::holds_alternative<ExecResize>(frame)) co_await hand_on(std::move(frame));
      }
    }
  }

  spdy::Session& session_;
  Notifier changed_;
  TaskGroup readers_;
  LastWord form_;
  std::map<std::string, std::shared_ptr<spdy::Stream>> streams_;
  std::optional<ExecFrame> next_;
  bool has_gone_ = false, watched_ = false;
};

struct SpdyRequest {
  ExecOptions options;
  std::string protocol;
  std::function<Task<>(ExecClient&)> run;
};

Task<> serve_spdy(Executor executor, SpdyRequest request, http::ByteStream& bytes) {
  constexpr auto streams_limit = 30s;
  spdy::Session session(executor, bytes);
  SpdyClient client(executor, session, request.protocol.starts_with("v4") ? LastWord::status : LastWord::text);
  TaskGroup reader(executor);
  reader.spawn("spdy", session.run());
  auto work = [&]() -> Task<> {
    auto beginning = client.begin(request.options, request.protocol);
    co_await with_deadline(streams_limit, "the client did not open its streams in time", std::move(beginning));
    co_await request.run(client);
    co_await session.say_goodbye();
  };
  co_await with_cleanup(work(), [&]() -> Task<> {
    co_await client.stop();
    co_await reader.stop();
  });
}

}  // namespace

http::Response exec_stream(const http::Request& request, Executor executor, ExecOptions options,
                           std::function<Task<>(ExecClient&)> run) {
  if (request.wants_websocket()) {
    http::Response response;
    response.status = 101;
    response.body = http::WebSocketBody{
        {"v5.channel.k8s.io", "v4.channel.k8s.io", std::string(base64_protocol), "channel.k8s.io"},
        [run = std::move(run), options](http::WebSocket& socket) -> Task<> {
          WebSocketClient client(socket);
          // Says that the streams are there, as kubelet does.
          const auto first = options.out ? ExecChannel::out : options.err ? ExecChannel::err : ExecChannel::status;
          co_await client.write(first, "");
          co_await run(client);
        }};
    return response;
  }
  if (!http::wants_upgrade(request, "SPDY/3.1"))
    throw Error(ErrorKind::invalid, "Upgrade request required: exec and attach speak WebSocket and SPDY/3.1");
  const auto protocol = stream_protocol(request);
  SpdyRequest wanted{std::move(options), protocol, std::move(run)};
  auto serve = [executor, wanted = std::move(wanted)](http::ByteStream& bytes) {
    return serve_spdy(executor, wanted, bytes);
  };
  auto response = http::upgrade_response("SPDY/3.1", std::move(serve));
  response.headers.set("X-Stream-Protocol-Version", protocol);
  return response;
}

}  // namespace workflow::engine
