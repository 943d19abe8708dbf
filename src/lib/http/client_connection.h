// src/lib/http/client_connection.h: one connection of a client: connecting, and one exchange after the other.
//   Inside lib/http only.
#pragma once
#include <memory>
#include <string>

#include "lib/http/http.h"
#include "lib/http/stream.h"

namespace workflow::http {

struct ClientConnection {
  explicit ClientConnection(std::unique_ptr<Transport> transport) : stream(std::move(transport)) {}
  Stream stream;
  std::string origin;         // as messages name it
  std::string pool;           // the pool's key: the server, and the proxy before it
  std::string target_prefix;  // before the path: a proxy wants the absolute form (RFC 9112, section 3.2.2)
  SteadyTime idle_since{};
  bool reused = false;
  bool answered = false;  // a byte of the response under way has arrived
  bool usable() const;    // still open, and silent, as far as the kernel knows
};

std::string origin_of(const Url& url);
std::string pool_key(const Url& url, const std::optional<Proxy>& proxy);
bool is_secure(const Url& url);

// Resolves, connects, and shakes hands. Throws unavailable or timeout, naming the origin.
Task<std::unique_ptr<ClientConnection>> connect(Url url, std::optional<Proxy> proxy, const ClientConfig& config,
                                                std::shared_ptr<asio::ssl::context> tls);
// Sends the request and reads the head of its final response.
Task<ResponseHead> exchange(ClientConnection& connection, ClientRequest& request);

}  // namespace workflow::http
