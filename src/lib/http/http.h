// src/lib/http/http.h: HTTP/1.1 server and client, TLS and WebSocket. The only header a handler includes.
//   Owns    sockets and parsing; nothing of Boost.Beast shows here, so that a handler compiles in a second.
//   Throws  Error: unavailable (cannot connect, broken connection), timeout, invalid, too_large.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "lib/async/task.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace workflow::http {

// Header fields in order; names compare without case (RFC 9110, section 5.1).
class Headers {
 public:
  Headers() = default;
  Headers(std::initializer_list<std::pair<std::string, std::string>> fields) : fields_(fields) {}
  std::optional<std::string> find(std::string_view name) const;  // the first one
  std::string get(std::string_view name) const { return find(name).value_or(""); }
  void set(std::string_view name, std::string value);  // replaces all of that name
  void add(std::string name, std::string value) { fields_.emplace_back(std::move(name), std::move(value)); }
  void remove(std::string_view name);
  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }
  std::size_t size() const { return fields_.size(); }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

// A query string: decoded, in order, repeats kept ("+" is a space).
class Query {
 public:
  static std::optional<Query> parse(std::string_view raw);  // nullopt on a broken escape
  std::optional<std::string> find(std::string_view name) const;
  std::vector<std::string> all(std::string_view name) const;
  bool has(std::string_view name) const { return find(name).has_value(); }
  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

// A body that arrives in pieces. read() returns "" at its end, and throws when the peer breaks off before it.
class BodyReader {
 public:
  virtual ~BodyReader() = default;
  virtual Task<std::string> read() = 0;                               // at most 64 KiB
  virtual std::optional<std::uint64_t> length() const { return {}; }  // Content-Length
};
class BodyWriter {
 public:
  virtual ~BodyWriter() = default;
  virtual Task<> write(std::string_view bytes) = 0;  // sent before it returns; throws unavailable when the peer is gone
};

// Frames of RFC 6455 after the handshake, server or client side. Answers pings by itself. One reader may run at a time;
// writers take turns. A peer may pause for as long as it likes: a write waits until it reads on.
class WebSocket {
 public:
  struct Message {
    bool binary = false;
    std::string data;
  };
  virtual ~WebSocket() = default;
  virtual Task<std::optional<Message>> read() = 0;  // nullopt once the peer closed
  virtual Task<> write(Message message) = 0;
  virtual Task<> close(std::uint16_t code, std::string reason) = 0;
  // Resolves soon after the peer's connection has ended, also while nobody reads: for a reader that waits for a slow
  // taker of what it has read.
  virtual Task<> gone() = 0;
  virtual const std::string& subprotocol() const = 0;
};

struct Request {
  std::string method;
  std::string target;  // as sent: path and query
  std::string path;    // percent-decoded, without query; "." and ".." segments never reach a handler (400)
  std::string raw_path;
  std::string raw_query;
  Query query;
  Headers headers;
  std::map<std::string, std::string> params;  // captured by Router
  std::string peer;                           // remote IP address
  bool tls = false;
  std::optional<std::string> client_cert_cn;  // verified against ServerConfig's client CA
  std::vector<std::string> client_cert_orgs;
  std::string id;  // X-Request-Id of the request if it is sane, else a new one
  std::shared_ptr<BodyReader> body;

  // The whole body. Throws too_large (limit defaults to 10 MiB).
  Task<std::string> text(std::size_t limit = 10u << 20);
  bool wants_websocket() const;
};

// Without a Response::length, it is cancelled when the client goes away.
using StreamBody = std::function<Task<>(BodyWriter&)>;
struct FileBody {  // sent straight from the file
  std::shared_ptr<Fd> fd;
  std::uint64_t offset = 0, length = 0;
};
struct WebSocketBody {
  std::vector<std::string> subprotocols;  // ours, by preference; the first that the client also offers is chosen
  std::function<Task<>(WebSocket&)> run;
};

struct Response {
  int status = 200;
  Headers headers;
  std::variant<std::string, StreamBody, FileBody, WebSocketBody> body;
  std::optional<std::uint64_t> length;  // of a StreamBody: sent as Content-Length, else chunked
  bool endless = false;                 // of a StreamBody such as a watch: cancelled at once when the server drains

  static Response text(int status, std::string body, std::string content_type = "text/plain; charset=utf-8");
  static Response json(int status, std::string body);
  static Response empty(int status);  // no body
};

using Handler = std::function<Task<Response>(Request&)>;

class RequestMetrics;  // lib/http/metrics.h

// Finds a handler by method and path. Patterns: "/v2/apps/{app}/config/", "{name}" takes one segment (never empty),
// "{name...}" the rest, slashes included. More literal patterns win. HEAD falls back to GET.
class Router {
 public:
  Router();
  ~Router();
  Router(Router&&) noexcept;
  Router& operator=(Router&&) noexcept;
  void add(std::string method, std::string pattern, Handler handler);
  // What a request meets: the handler (params filled in), or the methods that the path knows (405), or neither (404).
  struct Match {
    const Handler* handler = nullptr;
    std::vector<std::string> allowed;
    std::string pattern;  // for metrics: never the path itself
    std::map<std::string, std::string> params;
  };
  Match match(std::string_view method, std::string_view raw_path) const;
  RequestMetrics& metrics() const { return *metrics_; }  // counted by handler_of, printed by add_health

 private:
  struct Node;
  std::unique_ptr<Node> root_;
  std::unique_ptr<RequestMetrics> metrics_;
};

struct TlsFiles {
  std::string certificate_pem, key_pem;      // the text itself
  std::optional<std::string> client_ca_pem;  // ask for client certificates and verify them; none is still accepted
};

struct ServerConfig {
  std::string address = "0.0.0.0";
  std::uint16_t port = 0;  // 0: any; see Server::port
  std::optional<TlsFiles> tls;
  std::size_t max_header_bytes = 32 << 10;
  std::chrono::milliseconds header_timeout{30'000}, idle_timeout{75'000};
  std::chrono::milliseconds body_timeout{60'000};   // longest silence inside a request body
  std::chrono::milliseconds write_timeout{60'000};  // longest stall of a reader of ours
  std::chrono::milliseconds drain_timeout{10'000};  // after cancellation: how long requests under way may go on
  std::size_t max_connections = 10'000;
  bool shared_port = false;  // SO_REUSEPORT: several servers, one per shard, take connections of the same port in turn
};

// Listens from construction on (throws unavailable naming the port when it is taken); answers while serve() runs.
// An Error that leaves a handler becomes `on_error`'s response; the default is JSON {"detail": message} with the kind's
// status. Anything else becomes 500 with the request id only, and is logged in full.
class Server {
 public:
  Server(Executor executor, ServerConfig config, Handler handler);
  ~Server();
  std::uint16_t port() const;
  void on_error(std::function<Response(const Request&, const Error&)> render);
  Task<> serve();  // until cancelled; then drains
 private:
  struct State;
  std::shared_ptr<State> state_;
};
// A handler that dispatches to `router`; 404 and 405 as Error not_found / Response 405 with Allow.
Handler handler_of(std::shared_ptr<const Router> router);
int status_of(ErrorKind kind);

struct Url {
  std::string scheme, host, path = "/", query;  // path and query as written
  std::uint16_t port = 0;
  static std::optional<Url> parse(std::string_view text);
  std::string authority() const;  // host[:port], port only when not the scheme's own
  std::string text() const;
  bool operator==(const Url&) const = default;
};

struct ClientTls {
  std::optional<std::string> ca_pem;     // default: the system's roots
  std::string certificate_pem, key_pem;  // client certificate; "" none
  bool verify = true;
  std::string server_name;  // expected name if not the URL's host
};
struct ClientConfig {
  ClientTls tls;
  std::chrono::milliseconds connect_timeout{5'000};
  std::size_t max_idle_per_host = 16;
  std::chrono::milliseconds idle_timeout{30'000};
  std::string user_agent = "workflow";
};
// An HTTP proxy: it passes plain requests on, and opens tunnels (RFC 9110, section 9.3.6) to secure servers.
struct Proxy {
  Url url;                    // http
  std::string authorization;  // value of Proxy-Authorization; "" none
  bool operator==(const Proxy&) const = default;
};
struct ClientRequest {
  std::string method = "GET";
  Url url;
  Headers headers;
  std::variant<std::string, std::shared_ptr<BodyReader>> body;  // a reader with length() is sent with it, else chunked
  std::chrono::milliseconds timeout{30'000};                    // until the response's headers are there; 0 = none
  std::optional<Proxy> proxy;                                   // the way there, if not directly
};
struct ClientResponse {
  int status = 0;
  Headers headers;
  std::shared_ptr<BodyReader> body;  // reading to the end returns the connection to the pool
  Task<std::string> text(std::size_t limit = 64u << 20, std::chrono::milliseconds timeout = std::chrono::seconds(60));
};

// Pools connections per origin. A request without body that meets a stale pooled connection is sent again on a new one.
class Client {
 public:
  Client(Executor executor, ClientConfig config = {});
  ~Client();
  Task<ClientResponse> send(ClientRequest request);
  Task<std::unique_ptr<WebSocket>> websocket(Url url, Headers headers, std::vector<std::string> subprotocols,
                                             std::chrono::milliseconds timeout);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace workflow::http
