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

Task<> relay_frames(http::WebSocket& client, std::unique_ptr<http::WebSocket> runtime) {
  using namespace asio::experimental::awaitable_operators;
  // Whichever side ends first ends both: the runtime closes when the command has ended and everything is told.
  co_await (to_runtime(client, *runtime) || to_client(*runtime, client));
  co_await client.close(1000, "");
}

}  // namespace

http::Response relay(const http::Request& request, http::Client& client, std::string url, ExecOptions options) {
  if (!request.wants_websocket()) {
    throw Error(ErrorKind::invalid,
                "exec and attach need WebSockets; use kubectl 1.29 or newer (KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true "
                "before 1.31)");
  }
  const auto parsed = http::Url::parse(url);
  if (!parsed) throw Error(ErrorKind::internal, "containerd gave a streaming URL that is none");
  http::WebSocketBody body;
  body.subprotocols = {"v5.channel.k8s.io", "v4.channel.k8s.io"};
  body.run = [&client, target = *parsed, options](http::WebSocket& socket) -> Task<> {
    auto runtime = co_await client.websocket(target, {}, {"v4.channel.k8s.io"}, 10s);
    co_await relay_frames(socket, std::move(runtime));
  };
  http::Response response;
  response.status = 101;
  response.body = std::move(body);
  return response;
}

}  // namespace workflow::engine
