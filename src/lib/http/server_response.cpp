#include <poll.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "lib/base/clock.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/http/json_text.h"
#include "lib/http/server_connection.h"
#include "lib/http/upgrade.h"
#include "lib/http/websocket.h"

namespace workflow::http {

using namespace std::chrono_literals;

namespace {

// The Date header changes once a second; its text is made as often.
const std::string& date_now() {
  thread_local std::string text;
  thread_local std::int64_t second = 0;
  const auto now = SystemClock().now();
  const auto current = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count();
  if (current != second || text.empty()) {
    text = http_date(now);
    second = current;
  }
  return text;
}

bool has_no_body(int status) { return status < 200 || status == 204 || status == 304; }

// Cancels `gone` once the peer has closed its side. Bytes that wait unread (a pipelined request, or TLS's own goodbye)
// keep the socket readable, so then it looks again each second instead of waiting.
class PeerWatch : public std::enable_shared_from_this<PeerWatch> {
 public:
  PeerWatch(tcp::socket& socket, std::shared_ptr<asio::cancellation_signal> gone)
      : socket_(&socket), gone_(std::move(gone)), timer_(socket.get_executor()) {}
  void start() {
    socket_->async_wait(tcp::socket::wait_read, [self = shared_from_this()](const boost::system::error_code& error) {
      if (!error) self->look();
    });
  }
  void stop() {
    socket_ = nullptr;
    timer_.cancel();
  }

 private:
  void look() {
    if (socket_ == nullptr) return;
    pollfd query{.fd = socket_->native_handle(), .events = POLLRDHUP, .revents = 0};
    if (::poll(&query, 1, 0) > 0) {
      gone_->emit(asio::cancellation_type::terminal);
      return;
    }
    timer_.expires_after(1s);
    timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (!error) self->look();
    });
  }
  tcp::socket* socket_;
  std::shared_ptr<asio::cancellation_signal> gone_;
  asio::steady_timer timer_;
};

class UpgradedStream : public ByteStream {
 public:
  explicit UpgradedStream(Stream& stream) : stream_(stream) {
    stream.transport().write_timeout = std::chrono::hours(24);  // a peer may pause
  }
  Task<std::string> read() override {
    constexpr std::size_t piece = 16u << 10;
    if (stream_.unread().empty() && !co_await stream_.fill(piece)) co_return "";
    std::string bytes(stream_.unread());
    stream_.consume(bytes.size());
    co_return bytes;
  }
  Task<> write(std::string_view bytes) override { return stream_.transport().write(bytes); }
  bool has_ended() const override {
    pollfd query{.fd = stream_.transport().socket().native_handle(), .events = POLLRDHUP, .revents = 0};
    return ::poll(&query, 1, 0) > 0;
  }

 private:
  Stream& stream_;
};

}  // namespace

class StreamWriter : public BodyWriter {
 public:
  enum class Mode { chunked, counted, until_close, discard };
  StreamWriter(Transport& transport, Mode mode, std::uint64_t length)
      : transport_(transport), mode_(mode), left_(length) {}

  Task<> write(std::string_view bytes) override {
    if (bytes.empty() || mode_ == Mode::discard) co_return;
    if (mode_ == Mode::chunked) {
      std::array<char, 20> size;
      auto [end, error] = std::to_chars(size.data(), size.data() + 16, bytes.size(), 16);
      *end++ = '\r';
      *end++ = '\n';
      const auto head = static_cast<std::size_t>(end - size.data());
      co_await transport_.write(Pieces{asio::buffer(size.data(), head), asio::buffer(bytes), asio::buffer("\r\n", 2)});
      co_return;
    }
    if (mode_ == Mode::counted) {
      if (bytes.size() > left_) throw Error{ErrorKind::internal, "a response is longer than its Content-Length"};
      left_ -= bytes.size();
    }
    co_await transport_.write(bytes);
  }

  Task<> finish() {
    if (mode_ == Mode::chunked) co_await transport_.write("0\r\n\r\n");
    if (mode_ == Mode::counted && left_ > 0) {
      throw Error{ErrorKind::internal, "a response is shorter than its Content-Length"};
    }
  }

 private:
  Transport& transport_;
  Mode mode_;
  std::uint64_t left_;
};

Task<ServerConnection::After> ServerConnection::respond(const Request& request, Response response, After after) {
  if (!response.headers.find("X-Request-Id")) response.headers.add("X-Request-Id", request.id);
  if (has_token(response.headers.get("Connection"), "close")) after = After::close;
  if (std::holds_alternative<StreamBody>(response.body)) {
    if (response.status == 101) co_return co_await respond_with_upgrade(request, response);
    co_return co_await respond_with_stream(request, response, after);
  }
  if (std::holds_alternative<FileBody>(response.body)) co_return co_await respond_with_file(request, response, after);
  if (std::holds_alternative<WebSocketBody>(response.body))
    co_return co_await respond_with_websocket(request, response);
  co_return co_await respond_with_text(request, response, after);
}

void ServerConnection::add_common_headers(Response& response, After after) const {
  response.headers.add("Date", date_now());
  if (after == After::close)
    response.headers.set("Connection", "close");
  else if (minor_ == 0)
    response.headers.set("Connection", "keep-alive");
}

Task<> ServerConnection::send_head(int status, const Headers& headers, std::string_view body) {
  auto head = render_response_head(status, headers);
  if (!head) throw Error{ErrorKind::internal, "a response header holds a line break or another control character"};
  co_await stream_.transport().write(Pieces{asio::buffer(*head), asio::buffer(body)});
}

Task<ServerConnection::After> ServerConnection::respond_with_text(const Request& request, Response& response,
                                                                  After after) {
  auto& body = std::get<std::string>(response.body);
  // HEAD: a handler may announce the length of what GET would send.
  const bool announced = request.method == "HEAD" && response.headers.find("Content-Length");
  if (!has_no_body(response.status) && !announced) {
    response.headers.set("Content-Length", std::to_string(body.size()));
  }
  add_common_headers(response, after);
  const bool silent = request.method == "HEAD" || has_no_body(response.status);
  co_await send_head(response.status, response.headers, silent ? std::string_view() : body);
  co_return after;
}

Task<ServerConnection::After> ServerConnection::respond_with_file(const Request& request, Response& response,
                                                                  After after) {
  auto& file = std::get<FileBody>(response.body);
  response.headers.set("Content-Length", std::to_string(file.length));
  add_common_headers(response, after);
  co_await send_head(response.status, response.headers);
  if (request.method != "HEAD") {
    co_await stream_.transport().write_file(file.fd->get(), file.offset, file.length);
  }
  co_return after;
}

Task<ServerConnection::After> ServerConnection::respond_with_stream(const Request& request, Response& response,
                                                                    After after) {
  auto mode = StreamWriter::Mode::chunked;
  if (response.length) {
    mode = StreamWriter::Mode::counted;
    response.headers.set("Content-Length", std::to_string(*response.length));
  } else if (minor_ == 0) {
    mode = StreamWriter::Mode::until_close;
    after = After::close;
  } else {
    response.headers.set("Transfer-Encoding", "chunked");
  }
  if (request.method == "HEAD" || has_no_body(response.status)) mode = StreamWriter::Mode::discard;
  add_common_headers(response, after);
  co_await send_head(response.status, response.headers);
  if (mode == StreamWriter::Mode::discard) co_return after;

  StreamWriter writer(stream_.transport(), mode, response.length.value_or(0));
  auto gone = std::make_shared<asio::cancellation_signal>();
  auto watch = std::make_shared<PeerWatch>(stream_.transport().socket(), gone);
  const bool watched = !response.length && body_.finished;
  if (watched) watch->start();
  if (response.endless) endless_ = gone;
  std::exception_ptr error;
  try {
    co_await cancelled_by(gone, std::get<StreamBody>(response.body)(writer));
    co_await writer.finish();
  } catch (...) {
    error = std::current_exception();
  }
  watch->stop();
  endless_ = nullptr;
  if (!error) co_return after;
  // The head is out: breaking off is the only way left to tell the client.
  const auto cancellation = co_await asio::this_coro::cancellation_state;
  if (cancellation.cancelled() != asio::cancellation_type::none) std::rethrow_exception(error);
  bool broke = is_cancelled(error);
  try {
    std::rethrow_exception(error);
  } catch (const Error& failure) {
    broke = broke || failure.kind() == ErrorKind::unavailable || failure.kind() == ErrorKind::timeout;
  } catch (...) {
  }
  if (!broke) {
    log::error("a response broke off", kv("method", request.method), kv("path", request.path),
               kv("error", describe(error)));
  }
  throw Error{ErrorKind::unavailable, "the response broke off"};
}

Task<ServerConnection::After> ServerConnection::respond_with_websocket(const Request& request, Response& response) {
  const auto key = request.headers.get("Sec-WebSocket-Key");
  const bool sane_key = from_base64(key).value_or("").size() == 16;
  if (!request.wants_websocket() || !sane_key || !body_.finished) {
    co_return co_await respond(request, error_response(400, "this address speaks WebSocket only"), After::close);
  }
  if (request.headers.get("Sec-WebSocket-Version") != "13") {
    auto refusal = error_response(426, "only WebSocket version 13 is spoken here");
    refusal.headers.set("Sec-WebSocket-Version", "13");
    co_return co_await respond(request, std::move(refusal), After::close);
  }
  auto& wanted = std::get<WebSocketBody>(response.body);
  const auto protocol = choose_subprotocol(wanted.subprotocols, request.headers);
  response.headers.set("Connection", "Upgrade");
  response.headers.set("Upgrade", "websocket");
  response.headers.set("Sec-WebSocket-Accept", websocket_accept(key));
  if (!protocol.empty()) response.headers.set("Sec-WebSocket-Protocol", protocol);
  co_await send_head(101, response.headers);

  endless_ = std::make_shared<asio::cancellation_signal>();
  WebSocketStream socket(stream_, WebSocketStream::Side::server, protocol);
  std::exception_ptr error;
  try {
    co_await cancelled_by(endless_, wanted.run(socket));
  } catch (...) {
    error = std::current_exception();
  }
  endless_ = nullptr;
  co_await keep_waiting();
  const bool failed = error && !is_cancelled(error);
  if (failed) {
    log::debug("a WebSocket ended by an error", kv("path", request.path), kv("error", describe(error)));
  }
  co_await socket.finish(failed ? 1011 : error ? 1001 : 1000);
  co_return socket.peer_closed() ? After::closed : After::close;
}

Task<ServerConnection::After> ServerConnection::respond_with_upgrade(const Request& request, Response& response) {
  const auto protocol = response.headers.get("Upgrade");
  if (!wants_upgrade(request, protocol) || !body_.finished) {
    co_return co_await respond(request, error_response(400, "this address speaks " + protocol + " only"), After::close);
  }
  response.headers.set("Connection", "Upgrade");
  co_await send_head(101, response.headers);

  endless_ = std::make_shared<asio::cancellation_signal>();
  UpgradedStream stream(stream_);
  std::exception_ptr error;
  try {
    co_await cancelled_by(endless_, std::get<StreamBody>(response.body)(stream));
  } catch (...) {
    error = std::current_exception();
  }
  endless_ = nullptr;
  co_await keep_waiting();
  if (error && !is_cancelled(error)) {
    log::debug("an upgraded connection ended by an error", kv("path", request.path), kv("error", describe(error)));
  }
  co_return After::close;
}

}  // namespace workflow::http
