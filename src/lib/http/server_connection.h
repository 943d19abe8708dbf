// src/lib/http/server_connection.h: one connection of a server, request after request. Inside lib/http only.
#pragma once
#include <memory>
#include <string>

#include "lib/http/http.h"
#include "lib/http/stream.h"

namespace workflow::http {

// What all connections of a server share.
struct ServerContext {
  ServerConfig config;
  Handler handler;
  std::function<Response(const Request&, const Error&)> render_error;
  bool draining = false;
};

class ServerConnection : public std::enable_shared_from_this<ServerConnection> {
 public:
  // `id` is what log lines of this connection carry (see RequestExecutor): it changes with each request.
  ServerConnection(std::shared_ptr<const ServerContext> context, std::unique_ptr<Transport> transport, std::string peer,
                   std::shared_ptr<std::string> id);
  Task<> run();        // until the connection ends; throws only when cancelled
  void begin_drain();  // ends at once when idle or endless, else after the request under way

 private:
  friend class RequestBody;
  friend class StreamWriter;
  enum class After { keep, close, closed };  // closed: the peer knows that this is the end

  // reading (server_connection.cpp)
  Task<After> serve_one();
  Task<std::size_t> read_head(After& after);  // 0: no request; `after` says nothing more
  Task<> refuse(int status, std::string message);
  std::optional<Request> request_of(RequestHead head);
  Task<Response> answer(Request& request);
  Task<bool> discard_rest_of_body();
  Task<> linger();

  // writing (server_response.cpp)
  Task<After> respond(const Request& request, Response response, After after);
  Task<After> respond_with_text(const Request& request, Response& response, After after);
  Task<After> respond_with_stream(const Request& request, Response& response, After after);
  Task<After> respond_with_file(const Request& request, Response& response, After after);
  Task<After> respond_with_websocket(const Request& request, Response& response);
  Task<After> respond_with_upgrade(const Request& request, Response& response);
  Task<> send_head(int status, const Headers& headers, std::string_view body = "");
  void add_common_headers(Response& response, After after) const;

  std::shared_ptr<const ServerContext> context_;
  Stream stream_;
  std::string peer_;
  std::shared_ptr<std::string> id_;
  bool tls_ = false;
  PeerIdentity identity_;

  // of the request under way
  BodyProgress body_;
  bool wants_continue_ = false;
  bool body_failed_ = false;  // the client broke off, was silent, or sent nonsense
  int minor_ = 1;
  std::uint64_t serial_ = 0;  // tells a body reader that outlived its request
  bool idle_ = true;
  std::shared_ptr<asio::cancellation_signal> endless_;  // of an endless response
};

}  // namespace workflow::http
