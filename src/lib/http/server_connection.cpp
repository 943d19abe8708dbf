#include "lib/http/server_connection.h"

#include <algorithm>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/http/json_text.h"
#include "lib/http/target.h"

namespace workflow::http {

using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t discard_limit = 256u << 10;
constexpr auto linger_time = 2s;

class EmptyBody : public BodyReader {
 public:
  Task<std::string> read() override { co_return ""; }
  std::optional<std::uint64_t> length() const override { return 0; }
};

std::shared_ptr<BodyReader> empty_body() {
  static const auto empty = std::make_shared<EmptyBody>();
  return empty;
}

// What a client may choose as a request's id: it goes into our logs and headers.
bool is_sane_id(std::string_view id) {
  return !id.empty() && id.size() <= 64 &&
         std::ranges::all_of(id, [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c == '.'; });
}

void log_failure(const Request& request, const std::exception_ptr& error) {
  log::error("request failed", kv("method", request.method), kv("path", request.path), kv("error", describe(error)));
}

}  // namespace

class RequestBody : public BodyReader {
 public:
  explicit RequestBody(std::shared_ptr<ServerConnection> connection)
      : connection_(std::move(connection)), serial_(connection_->serial_), length_(length_of(connection_->body_)) {}

  Task<std::string> read() override {
    if (connection_->serial_ != serial_) throw Error{ErrorKind::internal, "the request of this body is over"};
    if (connection_->wants_continue_) {
      connection_->wants_continue_ = false;
      co_await connection_->stream_.transport().write("HTTP/1.1 100 Continue\r\n\r\n");
    }
    connection_->stream_.transport().reading_within(connection_->context_->config.body_timeout);
    try {
      co_return co_await connection_->stream_.read_body(connection_->body_);
    } catch (const Error&) {
      connection_->body_failed_ = true;
      throw;
    }
  }
  std::optional<std::uint64_t> length() const override { return length_; }

 private:
  static std::optional<std::uint64_t> length_of(const BodyProgress& body) {
    if (body.framing.kind == Framing::Kind::chunked) return std::nullopt;
    return body.framing.length;
  }
  std::shared_ptr<ServerConnection> connection_;
  std::uint64_t serial_;
  std::optional<std::uint64_t> length_;
};

ServerConnection::ServerConnection(std::shared_ptr<const ServerContext> context, std::unique_ptr<Transport> transport,
                                   std::string peer, std::shared_ptr<std::string> id)
    : context_(std::move(context)), stream_(std::move(transport)), peer_(std::move(peer)), id_(std::move(id)) {
  stream_.transport().write_timeout = context_->config.write_timeout;
  tls_ = context_->config.tls.has_value();
  if (tls_) identity_ = stream_.transport().identity();
}

void ServerConnection::begin_drain() {
  if (idle_) stream_.transport().abandon();
  if (endless_) endless_->emit(asio::cancellation_type::terminal);
}

Task<> ServerConnection::run() {
  try {
    auto after = After::keep;
    while (after == After::keep && !context_->draining) after = co_await serve_one();
    if (after != After::closed) co_await linger();
  } catch (const Error& error) {
    const auto why = describe(std::current_exception());
    if (error.kind() == ErrorKind::internal)
      log::error("a response was given up", kv("peer", peer_), kv("error", why));
    else
      log::debug("connection broke", kv("peer", peer_), kv("error", why));
  }
}

Task<ServerConnection::After> ServerConnection::serve_one() {
  id_->clear();
  idle_ = true;
  auto after = After::keep;
  const std::size_t size = co_await read_head(after);
  idle_ = false;
  if (size == 0) co_return after;
  auto parsed = parse_request_head(stream_.unread().substr(0, size));
  stream_.consume(size);
  if (auto* bad = std::get_if<BadMessage>(&parsed)) {
    co_await refuse(bad->status, std::move(bad->message));
    co_return After::close;
  }
  auto& head = std::get<RequestHead>(parsed);
  const bool keep_alive = head.keep_alive;
  minor_ = head.minor;
  wants_continue_ = head.expects_continue;
  body_ = BodyProgress::of(head.framing);
  body_failed_ = false;
  ++serial_;
  auto request = request_of(std::move(head));
  if (!request) {
    co_await refuse(400, "the request target is malformed");
    co_return After::close;
  }
  *id_ = request->id;

  const auto begin = std::chrono::steady_clock::now();
  auto response = co_await answer(*request);
  const int status = response.status;
  stream_.transport().watchdog().reading_until(never);

  // A client that was not told to go on may send its body or not: only a new connection is unambiguous.
  const bool rest_is_short =
      body_.finished || (body_.framing.kind == Framing::Kind::length && body_.left <= discard_limit);
  const bool keep = keep_alive && !wants_continue_ && !body_failed_ && rest_is_short && !context_->draining;
  after = co_await respond(*request, std::move(response), keep ? After::keep : After::close);
  if (log::enabled(log::Level::debug)) {
    const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
    log::debug("request", kv("method", request->method), kv("path", request->path), kv("status", status),
               kv("peer", peer_), kv("micros", micros.count()));
  }
  ++serial_;
  if (after == After::keep && !co_await discard_rest_of_body()) after = After::close;
  co_return after;
}

Task<std::size_t> ServerConnection::read_head(After& after) {
  auto& transport = stream_.transport();
  const auto& config = context_->config;
  std::size_t seen = 0;
  bool late = false;
  if (stream_.unread().empty())
    transport.reading_within(config.idle_timeout);
  else
    transport.reading_within(config.header_timeout);
  for (;;) {
    // An empty line before a request is left over from a sloppy client (RFC 9112, section 2.2).
    while (seen == 0 && stream_.unread().starts_with("\r\n")) stream_.consume(2);
    const auto size = head_length(stream_.unread(), seen);
    if (size != std::string_view::npos && size <= config.max_header_bytes) co_return size;
    if (stream_.unread().size() >= config.max_header_bytes) {
      co_await refuse(431,
                      "the request's headers are larger than " + std::to_string(config.max_header_bytes) + " bytes");
      after = After::close;
      co_return 0;
    }
    const bool was_empty = stream_.unread().empty();
    seen = stream_.unread().size();
    try {
      if (!co_await stream_.fill()) {
        after = After::close;
        co_return 0;
      }
    } catch (const Error& error) {
      late = error.kind() == ErrorKind::timeout && !was_empty;
      if (!late) throw;
    }
    if (late) break;
    idle_ = false;
    if (was_empty) transport.reading_within(config.header_timeout);
  }
  co_await refuse(408, "the request's headers did not arrive in time");
  after = After::close;
  co_return 0;
}

Task<> ServerConnection::refuse(int status, std::string message) {
  Request request;
  request.id = random_hex(12);
  body_ = {};
  wants_continue_ = false;
  co_await respond(request, error_response(status, message), After::close);
}

std::optional<Request> ServerConnection::request_of(RequestHead head) {
  auto target = parse_target(head.target);
  if (!target) return std::nullopt;
  Request request;
  request.method = std::move(head.method);
  request.target = std::move(head.target);
  request.path = std::move(target->path);
  request.raw_path = std::move(target->raw_path);
  request.raw_query = std::move(target->raw_query);
  request.query = std::move(target->query);
  request.headers = std::move(head.headers);
  request.peer = peer_;
  request.tls = tls_;
  request.client_cert_cn = identity_.common_name;
  request.client_cert_orgs = identity_.organizations;
  request.id = request.headers.get("X-Request-Id");
  if (!is_sane_id(request.id)) request.id = random_hex(12);
  request.body = body_.finished ? empty_body() : std::make_shared<RequestBody>(shared_from_this());
  return request;
}

Task<Response> ServerConnection::answer(Request& request) {
  std::exception_ptr failure;
  try {
    co_return co_await context_->handler(request);
  } catch (const Error& error) {
    // A client that breaks off is no failure of ours.
    if (status_of(error.kind()) >= 500 && !body_failed_) log_failure(request, std::current_exception());
    co_return context_->render_error(request, error);
  } catch (...) {
    failure = std::current_exception();
  }
  const auto cancellation = co_await asio::this_coro::cancellation_state;
  if (cancellation.cancelled() != asio::cancellation_type::none) std::rethrow_exception(failure);
  log_failure(request, failure);
  const Error hidden{ErrorKind::internal, "internal error; the log has more under request id " + request.id};
  co_return context_->render_error(request, hidden);
}

// What the handler left of a short body. False: it is broken, or not short.
Task<bool> ServerConnection::discard_rest_of_body() {
  stream_.transport().reading_within(context_->config.body_timeout);
  std::uint64_t discarded = 0;
  while (!body_.finished && discarded <= discard_limit) discarded += (co_await stream_.read_body(body_)).size();
  co_return body_.finished;
}

// Closing while bytes of the peer are unread would reset the connection and could destroy our last response on its way.
Task<> ServerConnection::linger() {
  auto& transport = stream_.transport();
  co_await transport.end_writing();
  transport.reading_within(linger_time);
  std::string ignored(16u << 10, '\0');
  while (co_await transport.read_some(asio::buffer(ignored)) > 0) {
  }
}

}  // namespace workflow::http
