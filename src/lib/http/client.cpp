#include <algorithm>
#include <deque>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/http/client_connection.h"
#include "lib/http/tls.h"
#include "lib/http/websocket.h"

namespace workflow::http {

using namespace std::chrono_literals;

struct Client::State : std::enable_shared_from_this<Client::State> {
  State(Executor e, ClientConfig c) : executor(std::move(e)), config(std::move(c)), sweeper(executor) {}

  std::shared_ptr<asio::ssl::context> tls_for(const Url& url) {
    if (!is_secure(url)) return nullptr;
    if (!tls) tls = client_context(config.tls);
    return tls;
  }

  std::unique_ptr<ClientConnection> take_idle(const std::string& origin) {
    auto& pool = idle[origin];
    while (!pool.empty()) {
      auto connection = std::move(pool.back());  // the one used last is the least likely to be closed
      pool.pop_back();
      if (!connection->usable()) continue;
      connection->reused = true;
      return connection;
    }
    return nullptr;
  }

  void give_back(std::unique_ptr<ClientConnection> connection) {
    connection->stream.transport().watchdog().reading_until(never);
    connection->idle_since = std::chrono::steady_clock::now();
    auto& pool = idle[connection->pool];
    pool.push_back(std::move(connection));
    if (pool.size() > config.max_idle_per_host) pool.pop_front();
    if (!std::exchange(sweeping, true)) sweep_later();
  }

  void sweep_later() {
    sweeper.expires_after(config.idle_timeout);
    sweeper.async_wait([weak = weak_from_this()](const boost::system::error_code& stopped) {
      if (auto self = weak.lock(); self && !stopped) self->sweep();
    });
  }

  void sweep() {
    const auto oldest = std::chrono::steady_clock::now() - config.idle_timeout;
    for (auto& [origin, pool] : idle) {
      std::erase_if(pool, [oldest](const auto& connection) { return connection->idle_since <= oldest; });
    }
    std::erase_if(idle, [](const auto& entry) { return entry.second.empty(); });
    sweeping = !idle.empty();
    if (sweeping) sweep_later();
  }

  Executor executor;
  ClientConfig config;
  std::shared_ptr<asio::ssl::context> tls;
  std::map<std::string, std::deque<std::unique_ptr<ClientConnection>>> idle;
  asio::steady_timer sweeper;
  bool sweeping = false;
};

namespace {

// The response's body. Read to its end, it gives the connection back; dropped earlier, it closes it.
class ResponseBody : public BodyReader {
 public:
  using GiveBack = std::function<void(std::unique_ptr<ClientConnection>)>;
  ResponseBody(std::unique_ptr<ClientConnection> connection, const ResponseHead& head, GiveBack give_back)
      : connection_(std::move(connection)),
        progress_(BodyProgress::of(head.framing)),
        keep_(head.keep_alive),
        give_back_(std::move(give_back)) {
    if (head.framing.kind == Framing::Kind::length) length_ = head.framing.length;
    if (head.framing.kind == Framing::Kind::none) length_ = 0;
    settle();
  }

  Task<std::string> read() override {
    if (!connection_) co_return "";
    auto piece = co_await connection_->stream.read_body(progress_);
    settle();
    co_return piece;
  }
  std::optional<std::uint64_t> length() const override { return length_; }

 private:
  void settle() {
    if (!progress_.finished || !connection_) return;
    if (keep_ && connection_->stream.unread().empty()) give_back_(std::move(connection_));
    connection_.reset();
  }
  std::unique_ptr<ClientConnection> connection_;
  BodyProgress progress_;
  bool keep_;
  GiveBack give_back_;
  std::optional<std::uint64_t> length_;
};

void complete_headers(ClientRequest& request, const std::string& user_agent) {
  auto& headers = request.headers;
  if (!headers.find("Host")) headers.set("Host", request.url.authority());
  if (!headers.find("User-Agent")) headers.set("User-Agent", user_agent);
  const auto& id = log::current_request();
  if (!id.empty() && !headers.find("X-Request-Id")) headers.set("X-Request-Id", id);
  if (request.proxy && !request.proxy->authorization.empty() && !is_secure(request.url)) {
    headers.set("Proxy-Authorization", request.proxy->authorization);
  }
  headers.remove("Transfer-Encoding");
  if (const auto* text = std::get_if<std::string>(&request.body)) {
    const bool expects_body = request.method == "POST" || request.method == "PUT" || request.method == "PATCH";
    if (!text->empty() || expects_body) headers.set("Content-Length", std::to_string(text->size()));
  } else if (auto length = std::get<std::shared_ptr<BodyReader>>(request.body)->length()) {
    headers.set("Content-Length", std::to_string(*length));
  } else {
    headers.set("Transfer-Encoding", "chunked");
  }
}

// A request that can be sent a second time when the server closed the connection just as we chose it.
bool is_replayable(const ClientRequest& request) {
  const auto* text = std::get_if<std::string>(&request.body);
  if (text == nullptr) return false;
  static constexpr std::string_view idempotent[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"};
  return text->empty() || std::ranges::find(idempotent, request.method) != std::end(idempotent);
}

Task<std::string> read_all(std::shared_ptr<BodyReader> body, std::size_t limit) {
  auto refuse = [limit] {
    throw Error{ErrorKind::too_large, "the response is larger than " + std::to_string(limit) + " bytes"};
  };
  if (body->length() && *body->length() > limit) refuse();
  std::string all;
  for (;;) {
    const std::string piece = co_await body->read();
    if (piece.empty()) co_return all;
    if (all.size() + piece.size() > limit) refuse();
    all += piece;
  }
}

class ClientWebSocket : public WebSocket {
 public:
  ClientWebSocket(std::unique_ptr<ClientConnection> connection, std::string subprotocol)
      : connection_(std::move(connection)),
        socket_(connection_->stream, WebSocketStream::Side::client, std::move(subprotocol)) {}
  Task<std::optional<Message>> read() override { return socket_.read(); }
  Task<> write(Message message) override { return socket_.write(std::move(message)); }
  Task<> close(std::uint16_t code, std::string reason) override { return socket_.close(code, std::move(reason)); }
  Task<> gone() override { return socket_.gone(); }
  const std::string& subprotocol() const override { return socket_.subprotocol(); }

 private:
  std::unique_ptr<ClientConnection> connection_;
  WebSocketStream socket_;
};

}  // namespace

Client::Client(Executor executor, ClientConfig config)
    : state_(std::make_shared<State>(std::move(executor), std::move(config))) {}

Client::~Client() = default;

Task<ClientResponse> Client::send(ClientRequest request) {
  auto state = state_;
  complete_headers(request, state->config.user_agent);
  for (;;) {
    auto connection = state->take_idle(pool_key(request.url, request.proxy));
    if (!connection) {
      connection = co_await connect(request.url, request.proxy, state->config, state->tls_for(request.url));
    }
    try {
      auto head = co_await exchange(*connection, request);
      connection->stream.transport().watchdog().reading_until(never);
      ClientResponse response{.status = head.status, .headers = std::move(head.headers)};
      auto give_back = [weak = std::weak_ptr(state)](std::unique_ptr<ClientConnection> idle) {
        if (auto pool = weak.lock()) pool->give_back(std::move(idle));
      };
      response.body = std::make_shared<ResponseBody>(std::move(connection), head, std::move(give_back));
      co_return response;
    } catch (const Error& error) {
      const bool stale = connection && connection->reused && !connection->answered;
      if (!stale || error.kind() != ErrorKind::unavailable || !is_replayable(request)) throw;
    }
  }
}

Task<std::string> ClientResponse::text(std::size_t limit, std::chrono::milliseconds timeout) {
  co_return co_await with_deadline(timeout, "the response did not arrive completely in time", read_all(body, limit));
}

Task<std::unique_ptr<WebSocket>> Client::websocket(Url url, Headers headers, std::vector<std::string> subprotocols,
                                                   std::chrono::milliseconds timeout) {
  auto state = state_;
  const std::string key = to_base64(random_bytes(16));
  ClientRequest request{.url = std::move(url), .headers = std::move(headers), .timeout = timeout};
  complete_headers(request, state->config.user_agent);
  request.headers.set("Connection", "Upgrade");
  request.headers.set("Upgrade", "websocket");
  request.headers.set("Sec-WebSocket-Key", key);
  request.headers.set("Sec-WebSocket-Version", "13");
  std::string offer;
  for (const auto& protocol : subprotocols) offer += (offer.empty() ? "" : ", ") + protocol;
  if (!offer.empty()) request.headers.set("Sec-WebSocket-Protocol", offer);

  auto connection = co_await connect(request.url, request.proxy, state->config, state->tls_for(request.url));
  const auto head = co_await exchange(*connection, request);
  if (head.status != 101) {
    const auto kind = head.status == 401   ? ErrorKind::unauthenticated
                      : head.status == 403 ? ErrorKind::forbidden
                      : head.status == 404 ? ErrorKind::not_found
                                           : ErrorKind::unavailable;
    throw Error{kind, "the server refused the WebSocket with status " + std::to_string(head.status)};
  }
  const auto protocol = head.headers.get("Sec-WebSocket-Protocol");
  const bool offered = protocol.empty() || std::ranges::find(subprotocols, protocol) != subprotocols.end();
  if (head.headers.get("Sec-WebSocket-Accept") != websocket_accept(key) || !offered) {
    throw Error{ErrorKind::unavailable, "the server's WebSocket handshake is malformed"};
  }
  co_return std::make_unique<ClientWebSocket>(std::move(connection), protocol);
}

}  // namespace workflow::http
