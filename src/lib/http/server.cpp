#include <sys/socket.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/address.hpp>
#include <set>

#include "lib/async/accept.h"
#include "lib/async/request_executor.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/http/json_text.h"
#include "lib/http/server_connection.h"
#include "lib/http/socket_options.h"
#include "lib/http/tls.h"

namespace workflow::http {

struct Server::State : std::enable_shared_from_this<Server::State> {
  State(Executor e, ServerConfig config, Handler handler)
      : executor(std::move(e)),
        acceptor(executor),
        connections(executor, {.most = config.max_connections}),
        supervisor(executor) {
    context->config = std::move(config);
    context->handler = std::move(handler);
    context->render_error = [](const Request&, const Error& error) {
      return error_response(status_of(error.kind()), error.message());
    };
    if (context->config.tls) tls = server_context(*context->config.tls);
    listen();
  }

  void listen() {
    const auto& config = context->config;
    boost::system::error_code error;
    const auto address = asio::ip::make_address(config.address, error);
    const std::string where = config.address + ", port " + std::to_string(config.port);
    if (error) throw Error{ErrorKind::invalid, "not an IP address to listen on: " + config.address};
    const tcp::endpoint endpoint(address, config.port);
    acceptor.open(endpoint.protocol(), error);
    if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error && config.shared_port) {
      acceptor.set_option(asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>(true), error);
    }
    if (!error) acceptor.bind(endpoint, error);
    if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error == asio::error::address_in_use) {
      throw Error{ErrorKind::unavailable, "something else listens on " + where + " already"};
    }
    if (error) throw Error{ErrorKind::unavailable, "cannot listen on " + where + ": " + error.message()};
  }

  Task<> accept() {
    auto self = shared_from_this();
    return supervisor.forever(
        "accept connections", [self] { return accept_all(self->acceptor, self->connections, self->take); },
        accept_pauses());
  }

  static Task<> connection(std::shared_ptr<State> state, tcp::socket socket) {
    auto id = std::make_shared<std::string>();
    Executor scoped = RequestExecutor(state->executor, id);
    co_await asio::co_spawn(scoped, serve(state, std::move(socket), id), asio::use_awaitable);
  }

  static Task<> serve(std::shared_ptr<State> state, tcp::socket socket, std::shared_ptr<std::string> id) {
    set_options(socket);
    boost::system::error_code gone;
    const auto remote = socket.remote_endpoint(gone);
    if (gone) co_return;
    auto address = remote.address();
    if (address.is_v6() && address.to_v6().is_v4_mapped()) {
      address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
    }
    const std::string peer = address.to_string();
    std::unique_ptr<Transport> transport;
    try {
      if (state->tls) {
        transport = co_await tls_server_transport(std::move(socket), state->tls, state->context->config.header_timeout);
      } else {
        transport = plain_transport(std::move(socket));
      }
    } catch (const Error& error) {
      log::debug("connection refused", kv("peer", peer), kv("error", error.message()));
      co_return;
    }
    auto connection = std::make_shared<ServerConnection>(state->context, std::move(transport), peer, std::move(id));
    state->open.insert(connection.get());
    struct Forget {
      ~Forget() { open.erase(connection); }
      std::set<ServerConnection*>& open;
      ServerConnection* connection;
    } forget{state->open, connection.get()};
    co_await connection->run();
  }

  Task<> drain() {
    boost::system::error_code ignored;
    acceptor.close(ignored);
    context->draining = true;
    const auto now = open;
    for (auto* connection : now) {
      if (open.contains(connection)) connection->begin_drain();
    }
    try {
      co_await with_deadline(context->config.drain_timeout, "", connections.join());
    } catch (const Error&) {
      log::warn("requests were still under way at the end of the drain time", kv("count", connections.size()));
    }
    co_await connections.stop();
  }

  Executor executor;
  std::shared_ptr<ServerContext> context = std::make_shared<ServerContext>();
  std::shared_ptr<asio::ssl::context> tls;
  tcp::acceptor acceptor;
  Connections connections;
  Supervisor supervisor;
  std::function<Task<>(tcp::socket)> take = [this](tcp::socket socket) {
    return connection(shared_from_this(), std::move(socket));
  };
  std::set<ServerConnection*> open;
};

Server::Server(Executor executor, ServerConfig config, Handler handler)
    : state_(std::make_shared<State>(std::move(executor), std::move(config), std::move(handler))) {}

Server::~Server() = default;

std::uint16_t Server::port() const { return state_->acceptor.local_endpoint().port(); }

void Server::on_error(std::function<Response(const Request&, const Error&)> render) {
  state_->context->render_error = std::move(render);
}

Task<> Server::serve() {
  auto state = state_;
  co_await with_cleanup(state->accept(), [state] { return state->drain(); });
}

}  // namespace workflow::http
