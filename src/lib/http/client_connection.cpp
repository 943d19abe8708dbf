#include "lib/http/client_connection.h"

#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>

#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/http/resolve.h"
#include "lib/http/socket_options.h"

namespace workflow::http {

namespace {

constexpr auto quietly = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t max_head = 64u << 10;

Task<tcp::socket> connect_to_any(std::vector<tcp::endpoint> endpoints, std::string origin) {
  boost::system::error_code last;
  for (const auto& endpoint : endpoints) {
    tcp::socket socket(co_await asio::this_coro::executor);
    const auto [error] = co_await socket.async_connect(endpoint, quietly);
    if (!error) {
      set_options(socket);
      co_return std::move(socket);
    }
    if (error == asio::error::operation_aborted) throw boost::system::system_error(error);
    last = error;
  }
  throw Error{ErrorKind::unavailable, "cannot connect to " + origin + ": " + last.message()};
}

// Asks a proxy for a tunnel to the server. Nothing is read beyond its answer: what follows is the server's.
Task<> open_tunnel(tcp::socket& socket, const Url& url, const Proxy& proxy) {
  const auto host = url.host.find(':') == std::string::npos ? url.host : "[" + url.host + "]";
  const auto target = host + ":" + std::to_string(url.port);
  Headers headers;
  headers.set("Host", target);
  if (!proxy.authorization.empty()) headers.set("Proxy-Authorization", proxy.authorization);
  const auto head = render_request_head("CONNECT", target, headers);
  if (!head) throw Error{ErrorKind::invalid, "the credentials of the proxy hold a control character"};
  co_await asio::async_write(socket, asio::buffer(*head), asio::use_awaitable);
  std::string answer;
  while (!answer.ends_with("\r\n\r\n")) {
    char byte = 0;
    const auto [error, got] = co_await socket.async_read_some(asio::buffer(&byte, 1), quietly);
    if (error == asio::error::operation_aborted) throw boost::system::system_error(error);
    if (error || answer.size() == max_head) {
      throw Error{ErrorKind::unavailable,
                  "the proxy " + proxy.url.authority() + " closed the connection without an answer"};
    }
    answer.append(&byte, got);
  }
  const auto parsed = parse_response_head(answer, "CONNECT");
  const auto* accepted = std::get_if<ResponseHead>(&parsed);
  if (accepted == nullptr || accepted->status / 100 != 2) {
    const auto status = accepted == nullptr ? "a malformed answer" : "status " + std::to_string(accepted->status);
    const auto* advice = accepted != nullptr && accepted->status == 407 ? ": it wants a user and a password" : "";
    throw Error{ErrorKind::unavailable,
                "the proxy " + proxy.url.authority() + " refused a tunnel to " + target + " with " + status + advice};
  }
}

Task<std::unique_ptr<Transport>> open_transport(Url url, std::optional<Proxy> proxy, const ClientConfig& config,
                                                std::shared_ptr<asio::ssl::context> tls) {
  const auto& first = proxy ? proxy->url : url;
  auto endpoints = co_await resolve(first.host, first.port);
  auto socket = co_await connect_to_any(std::move(endpoints), (proxy ? "the proxy " : "") + origin_of(first));
  if (!is_secure(url)) co_return plain_transport(std::move(socket));
  if (proxy) co_await open_tunnel(socket, url, *proxy);
  ClientName name{config.tls.server_name.empty() ? url.host : config.tls.server_name, config.tls.verify};
  co_return co_await tls_client_transport(std::move(socket), std::move(tls), std::move(name), never);
}

void start_clock(ClientConnection& connection, std::chrono::milliseconds timeout) {
  auto& transport = connection.stream.transport();
  if (timeout.count() == 0) {
    transport.watchdog().reading_until(never);
    transport.write_timeout = std::chrono::hours(24);
  } else {
    transport.reading_within(timeout);
    transport.write_timeout = timeout;
  }
}

bool answer_waits(tcp::socket& socket) {
  char byte = 0;
  return ::recv(socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

Task<> send_reader(ClientConnection& connection, BodyReader& body, std::chrono::milliseconds timeout) {
  auto& transport = connection.stream.transport();
  const bool counted = body.length().has_value();
  std::uint64_t left = body.length().value_or(0);
  for (;;) {
    transport.watchdog().reading_until(never);
    const std::string piece = co_await body.read();
    start_clock(connection, timeout);
    if (piece.empty()) break;
    if (counted && piece.size() > left) throw Error{ErrorKind::internal, "a request body is longer than announced"};
    left -= counted ? piece.size() : 0;
    if (counted) {
      co_await transport.write(piece);
    } else {
      char size[20];
      const int digits = std::snprintf(size, sizeof(size), "%zx\r\n", piece.size());
      co_await transport.write(
          Pieces{asio::buffer(size, static_cast<std::size_t>(digits)), asio::buffer(piece), asio::buffer("\r\n", 2)});
    }
    if (answer_waits(transport.socket())) co_return;  // refused already: the rest is not wanted
  }
  if (counted && left > 0) throw Error{ErrorKind::internal, "a request body is shorter than announced"};
  if (!counted) co_await transport.write("0\r\n\r\n");
}

Task<> send_request(ClientConnection& connection, ClientRequest& request) {
  const auto& url = request.url;
  auto head = render_request_head(request.method,
                                  connection.target_prefix + url.path + (url.query.empty() ? "" : "?" + url.query),
                                  request.headers);
  if (!head)
    throw Error{ErrorKind::invalid, "a request's method, target or header holds a control character or a blank"};
  auto& transport = connection.stream.transport();
  if (auto* text = std::get_if<std::string>(&request.body)) {
    co_await transport.write(Pieces{asio::buffer(*head), asio::buffer(*text)});
  } else {
    co_await transport.write(*head);
    co_await send_reader(connection, *std::get<std::shared_ptr<BodyReader>>(request.body), request.timeout);
  }
}

Task<ResponseHead> read_head(ClientConnection& connection, const std::string& method) {
  auto& stream = connection.stream;
  std::size_t seen = 0;
  for (;;) {
    const auto size = head_length(stream.unread(), seen);
    if (size != std::string_view::npos) {
      auto parsed = parse_response_head(stream.unread().substr(0, size), method);
      stream.consume(size);
      if (auto* bad = std::get_if<BadMessage>(&parsed)) {
        throw Error{ErrorKind::unavailable, "the server's answer is malformed: " + bad->message};
      }
      auto& head = std::get<ResponseHead>(parsed);
      if (head.status >= 200 || head.status == 101) co_return std::move(head);
      seen = 0;  // an interim response: the final one follows
      continue;
    }
    seen = stream.unread().size();
    if (seen > max_head) throw Error{ErrorKind::unavailable, "the server's answer has too large headers"};
    if (!co_await stream.fill(16u << 10)) {
      throw Error{ErrorKind::unavailable, "the server closed the connection without an answer"};
    }
    connection.answered = true;
  }
}

}  // namespace

bool ClientConnection::usable() const {
  auto& socket = const_cast<Stream&>(stream).transport().socket();
  char byte = 0;
  const auto got = ::recv(socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

std::string origin_of(const Url& url) { return url.scheme + "://" + url.authority(); }

std::string pool_key(const Url& url, const std::optional<Proxy>& proxy) {
  return origin_of(url) + (proxy ? " through " + proxy->url.authority() + " " + proxy->authorization : "");
}

bool is_secure(const Url& url) { return url.scheme == "https" || url.scheme == "wss"; }

Task<std::unique_ptr<ClientConnection>> connect(Url url, std::optional<Proxy> proxy, const ClientConfig& config,
                                                std::shared_ptr<asio::ssl::context> tls) {
  const auto limit = config.connect_timeout;
  auto message = "cannot connect to " + origin_of(url) + " within " + std::to_string(limit.count()) + " ms";
  auto transport =
      co_await with_deadline(limit, std::move(message), open_transport(url, proxy, config, std::move(tls)));
  auto connection = std::make_unique<ClientConnection>(std::move(transport));
  connection->origin = origin_of(url);
  connection->pool = pool_key(url, proxy);
  if (proxy && !is_secure(url)) connection->target_prefix = origin_of(url);
  co_return std::move(connection);
}

Task<ResponseHead> exchange(ClientConnection& connection, ClientRequest& request) {
  connection.answered = false;
  start_clock(connection, request.timeout);
  std::exception_ptr send_error;
  try {
    co_await send_request(connection, request);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::unavailable) throw;
    send_error = std::current_exception();
  }
  // A server that refuses a body closes while we send; its answer says why, if it still arrives.
  try {
    auto head = co_await read_head(connection, request.method);
    if (send_error) head.keep_alive = false;
    co_return head;
  } catch (const Error& error) {
    if (send_error && error.kind() == ErrorKind::unavailable) std::rethrow_exception(send_error);
    if (error.kind() != ErrorKind::timeout) throw;
  }
  throw Error{ErrorKind::timeout,
              "no answer from " + connection.origin + " within " + std::to_string(request.timeout.count()) + " ms"};
}

}  // namespace workflow::http
