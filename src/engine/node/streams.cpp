#include "engine/node/streams.h"

#include <boost/asio/experimental/awaitable_operators.hpp>

#include "lib/base/error.h"
#include "lib/json/json.h"

namespace workflow::engine {
namespace {

using namespace std::chrono_literals;

std::string resize_message(const ExecResize& size) {
  return to_client(ExecChannel::resize, print_json(json::object{{"Width", size.width}, {"Height", size.height}}));
}

// containerd 1.6 speaks v4.channel.k8s.io, in which input has no end: that of the client is passed over.
Task<> to_runtime(ExecClient& from, http::WebSocket& to) {
  while (auto frame = co_await from.read()) {
    if (const auto* input = std::get_if<ExecInput>(&*frame))
      co_await to.write({true, to_client(ExecChannel::in, input->bytes)});
    if (const auto* size = std::get_if<ExecResize>(&*frame)) co_await to.write({true, resize_message(*size)});
  }
}

// To its end: the runtime closes when the container has ended and everything is told.
Task<> to_client(http::WebSocket& from, ExecClient& to) {
  json::object status{{"metadata", json::object()}, {"status", "Success"}};
  while (auto message = co_await from.read()) {
    if (message->data.empty()) continue;
    const auto channel = static_cast<ExecChannel>(static_cast<unsigned char>(message->data[0]));
    const auto bytes = std::string_view(message->data).substr(1);
    if (channel == ExecChannel::out || channel == ExecChannel::err) {
      co_await to.write(channel, bytes);
    } else if (channel == ExecChannel::status) {
      if (auto said = parse_json(bytes); said && said->is_object()) status = std::move(said->get_object());
    }
  }
  co_await to.finish(status);
}

}  // namespace

Task<> relay(ExecClient& client, http::Client& http, std::string url) {
  using namespace asio::experimental::awaitable_operators;
  const auto parsed = http::Url::parse(url);
  if (!parsed) throw Error(ErrorKind::internal, "containerd gave a streaming URL that is none");
  auto runtime = co_await http.websocket(*parsed, {}, {"v4.channel.k8s.io"}, 10s);
  co_await (to_runtime(client, *runtime) || to_client(*runtime, client));
}

}  // namespace workflow::engine
