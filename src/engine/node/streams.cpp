#include "engine/node/streams.h"

#include <boost/asio/experimental/awaitable_operators.hpp>

#include "lib/base/error.h"
#include "lib/base/log.h"

namespace workflow::engine {
namespace {

using namespace std::chrono_literals;

// containerd 1.6 speaks v4.channel.k8s.io, in which input has no end. v5 adds one: a frame of the channel 255 and the
// number of the channel that closes. All other frames are the same.
constexpr unsigned char close_channel = 255;

Task<> to_runtime(http::WebSocket& from, http::WebSocket& to) {
  while (auto message = co_await from.read()) {
    if (!message->data.empty() && static_cast<unsigned char>(message->data[0]) == close_channel) continue;
    message->binary = true;
    co_await to.write(*std::move(message));
  }
}

Task<> to_client(http::WebSocket& from, http::WebSocket& to) {
  while (auto message = co_await from.read()) {
    message->binary = true;
    co_await to.write(*std::move(message));
  }
}

}  // namespace

http::Response channel_stream(const http::Request& request, std::function<Task<>(http::WebSocket&)> run) {
  if (!request.wants_websocket()) {
    throw Error(ErrorKind::invalid,
                "Upgrade request required; exec and attach speak WebSocket (v5.channel.k8s.io), not SPDY: use kubectl "
                "1.30 or newer");
  }
  http::WebSocketBody body;
  body.subprotocols = {"v5.channel.k8s.io", "v4.channel.k8s.io"};
  body.run = std::move(run);
  http::Response response;
  response.status = 101;
  response.body = std::move(body);
  return response;
}

Task<> relay(http::WebSocket& socket, http::Client& client, std::string url) {
  using namespace asio::experimental::awaitable_operators;
  const auto parsed = http::Url::parse(url);
  if (!parsed) throw Error(ErrorKind::internal, "containerd gave a streaming URL that is none");
  auto runtime = co_await client.websocket(*parsed, {}, {"v4.channel.k8s.io"}, 10s);
  // Whichever side ends first ends both: the runtime closes when the container has ended and everything is told.
  co_await (to_runtime(socket, *runtime) || to_client(*runtime, socket));
  co_await socket.close(1000, "");
}

}  // namespace workflow::engine
