#include "engine/node/port_forward.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <map>
#include <memory>
#include <system_error>
#include <vector>

#include "engine/node/spdy_session.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/text.h"
#include "lib/http/upgrade.h"
#include "lib/json/json.h"

namespace workflow::engine {
namespace {

using namespace std::chrono_literals;
using asio::ip::tcp;
constexpr auto quietly = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t piece = 32u << 10;
constexpr std::string_view forward_protocol = "portforward.k8s.io", tunnel_protocol = "SPDY/3.1+portforward.k8s.io";

// --- the pod's side

// A socket belongs to the network namespace in which it was made. Called on the pool: the thread comes back.
Fd socket_in(const std::string& network) {
  const auto fail = [](const char* what) {
    return Error(ErrorKind::unavailable, what).with_detail(std::generic_category().message(errno));
  };
  const auto open_socket = [&] {
    Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) throw fail("no socket can be made");
    return fd;
  };
  if (network.empty()) return open_socket();
  const Fd ours(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  const Fd theirs(::open(network.c_str(), O_RDONLY | O_CLOEXEC));
  if (!ours || !theirs || ::setns(theirs.get(), CLONE_NEWNET) != 0) throw fail("the pod's network cannot be entered");
  struct Back {
    int fd;
    ~Back() { WF_CHECK(::setns(fd, CLONE_NEWNET) == 0); }
  } back{ours.get()};
  return open_socket();
}

Task<tcp::socket> connect_to(Executor executor, std::string network, std::uint16_t port) {
  auto fd = co_await offload([network] { return socket_in(network); });
  tcp::socket socket(executor);
  socket.assign(tcp::v4(), fd.release());
  co_await socket.async_connect({asio::ip::address_v4::loopback(), port}, asio::use_awaitable);
  co_return socket;
}

// --- the client's side of one connection

class Lane {
 public:
  virtual ~Lane() = default;
  virtual Task<std::string> read() = 0;  // "" once the client has ended its side
  virtual bool given_up() const = 0;     // the client wants nothing more of it
  virtual Task<> write(std::string_view bytes) = 0;
  virtual Task<> finish(std::string trouble) = 0;  // "" when there was none
};

Task<> to_pod(Lane& lane, tcp::socket& pod) {
  for (;;) {
    const auto bytes = co_await lane.read();
    if (bytes.empty()) break;
    const auto [error, size] = co_await asio::async_write(pod, asio::buffer(bytes), quietly);
    if (error) co_return;
  }
  boost::system::error_code ignored;
  if (lane.given_up())
    pod.close(ignored);
  else
    pod.shutdown(tcp::socket::shutdown_send, ignored);
}

Task<> to_client(Lane& lane, tcp::socket& pod) {
  std::string room(piece, '\0');
  for (;;) {
    const auto [error, size] = co_await pod.async_read_some(asio::buffer(room), quietly);
    if (error) co_return;
    co_await lane.write(std::string_view(room).substr(0, size));
  }
}

// Ends with the pod's side: what the client would still say has nobody to go to.
Task<> forward(Executor executor, std::string network, std::uint16_t port, std::shared_ptr<Lane> lane) {
  constexpr auto connect_limit = 10s;
  std::string trouble;
  try {
    auto connecting = connect_to(executor, network, port);
    auto pod = co_await with_deadline(connect_limit, "it does not answer", std::move(connecting));
    TaskGroup input(executor);
    input.spawn("port-forward input", to_pod(*lane, pod));
    co_await with_cleanup(to_client(*lane, pod), [&input] { return input.stop(); });
  } catch (const Error& error) {
    trouble = error.message();
  } catch (const boost::system::system_error& error) {
    if (error.code() == asio::error::operation_aborted) throw;
    trouble = error.code().message();
  }
  if (!trouble.empty()) trouble = "error forwarding port " + std::to_string(port) + " to pod: " + trouble;
  try {
    co_await lane->finish(trouble);
  } catch (const Error&) {
    // The client has gone.
  }
}

std::optional<std::uint16_t> port_number(std::string_view text) {
  const auto number = parse_integer(text);
  if (!number || *number < 1 || *number > 65535) return std::nullopt;
  return static_cast<std::uint16_t>(*number);
}

// --- SPDY: two streams for each connection

class SpdyLane : public Lane {
 public:
  SpdyLane(std::shared_ptr<spdy::Stream> data, std::shared_ptr<spdy::Stream> error)
      : data_(std::move(data)), error_(std::move(error)) {}
  Task<std::string> read() override { return data_->read(); }
  bool given_up() const override { return data_->is_reset(); }
  Task<> write(std::string_view bytes) override { return data_->write(bytes); }
  Task<> finish(std::string trouble) override {
    data_->ignore();
    if (!trouble.empty()) co_await error_->write(trouble);
    co_await error_->end();
    co_await data_->end();
  }

 private:
  std::shared_ptr<spdy::Stream> data_, error_;
};

struct Pair {
  std::shared_ptr<spdy::Stream> data, error;
};

// Clients of long ago number no requests: they open the error stream first, and the data stream next.
std::string request_of(const spdy::Stream& stream) {
  auto id = stream.header("requestid");
  if (id.empty()) id = std::to_string(stream.header("streamtype") == "data" ? stream.id() - 2 : stream.id());
  return id;
}

Task<> accept_pairs(Executor executor, std::string network, spdy::Session& session, TaskGroup& connections) {
  std::map<std::string, Pair> waiting;
  while (auto stream = co_await session.accept()) {
    const auto type = stream->header("streamtype");
    const auto port = port_number(stream->header("port"));
    if (!port || (type != "data" && type != "error"))
      throw Error(ErrorKind::invalid, "a stream of a port-forward needs streamtype and port");
    const auto request = request_of(*stream);
    auto& pair = waiting[request];
    (type == "data" ? pair.data : pair.error) = stream;
    if (!pair.data || !pair.error) continue;
    pair.error->ignore();
    auto lane = std::make_shared<SpdyLane>(std::move(pair.data), std::move(pair.error));
    waiting.erase(request);
    connections.spawn("port-forward", forward(executor, network, *port, std::move(lane)));
  }
}

Task<> serve_spdy(Executor executor, std::string network, http::ByteStream& bytes) {
  spdy::Session session(executor, bytes);
  TaskGroup reader(executor), connections(executor);
  reader.spawn("spdy", session.run());
  auto stop = [&]() -> Task<> {
    co_await connections.stop();
    co_await reader.stop();
  };
  co_await with_cleanup(accept_pairs(executor, std::move(network), session, connections), stop);
}

// A WebSocket's messages as bytes: they carry SPDY.
class Tunnel : public http::ByteStream {
 public:
  explicit Tunnel(http::WebSocket& socket) : socket_(socket) {}
  Task<std::string> read() override {
    while (auto message = co_await socket_.read()) {
      if (!message->data.empty()) co_return std::move(message->data);
    }
    co_return "";
  }
  Task<> write(std::string_view bytes) override { return socket_.write({true, std::string(bytes)}); }
  bool has_ended() const override { return false; }  // a write tells

 private:
  http::WebSocket& socket_;
};

// --- channels of a WebSocket: two for each port, which the query names

class ChannelLane : public Lane {
 public:
  ChannelLane(http::WebSocket& socket, unsigned char channel, Executor executor)
      : socket_(socket), channel_(channel), changed_(executor) {}
  // Waits while the pod does not take what came before.
  Task<> feed(std::string_view bytes) {
    constexpr std::size_t most_unread = 128u << 10;
    while (unread_.size() >= most_unread && !over_) co_await changed_.wait(changed_.version());
    if (over_) co_return;
    unread_ += bytes;
    changed_.notify_all();
  }
  Task<std::string> read() override {
    while (unread_.empty() && !over_) co_await changed_.wait(changed_.version());
    auto bytes = std::exchange(unread_, "");
    changed_.notify_all();
    co_return bytes;
  }
  bool given_up() const override { return false; }
  Task<> write(std::string_view bytes) override { return send(channel_, bytes); }
  Task<> finish(std::string trouble) override {
    over_ = true;
    changed_.notify_all();
    if (!trouble.empty()) co_await send(static_cast<unsigned char>(channel_ + 1), trouble);
  }
  // Both channels begin with their port, low byte first.
  Task<> introduce(std::uint16_t port) {
    const std::array<char, 2> number{static_cast<char>(port & 0xff), static_cast<char>(port >> 8)};
    for (const unsigned char channel : {channel_, static_cast<unsigned char>(channel_ + 1)})
      co_await send(channel, {number.data(), number.size()});
  }

 private:
  Task<> send(unsigned char channel, std::string_view bytes) {
    return socket_.write({true, std::string(1, static_cast<char>(channel)).append(bytes)});
  }

  http::WebSocket& socket_;
  unsigned char channel_;
  Notifier changed_;
  std::string unread_;
  bool over_ = false;
};

Task<> read_channels(http::WebSocket& socket, std::vector<std::shared_ptr<ChannelLane>>& lanes) {
  while (auto message = co_await socket.read()) {
    if (message->data.empty()) continue;
    const auto channel = static_cast<unsigned char>(message->data[0]);
    if (channel % 2 == 0 && channel / 2u < lanes.size())
      co_await lanes[channel / 2]->feed(std::string_view(message->data).substr(1));
  }
}

Task<> serve_channels(Executor executor, std::string network, std::vector<std::uint16_t> ports,
                      http::WebSocket& socket) {
  std::vector<std::shared_ptr<ChannelLane>> lanes;
  TaskGroup connections(executor), reader(executor);
  auto work = [&]() -> Task<> {
    for (const auto port : ports) {
      lanes.push_back(std::make_shared<ChannelLane>(socket, static_cast<unsigned char>(2 * lanes.size()), executor));
      co_await lanes.back()->introduce(port);
    }
    for (std::size_t i = 0; i < ports.size(); ++i)
      connections.spawn("port-forward", forward(executor, network, ports[i], lanes[i]));
    co_await read_channels(socket, lanes);
  };
  co_await with_cleanup(work(), [&connections] { return connections.stop(); });
}

std::vector<std::uint16_t> ports_of(const http::Query& query) {
  constexpr std::size_t most = 64;  // a channel's number is one byte
  std::vector<std::uint16_t> ports;
  for (const auto& list : query.all("ports")) {
    for (const auto& text : split(list, ',')) {
      const auto port = port_number(trim(text));
      if (!port) throw Error(ErrorKind::invalid, "ports: \"" + text + "\" is no port number");
      ports.push_back(*port);
    }
  }
  if (ports.empty()) throw Error(ErrorKind::invalid, "query parameter \"ports\" is required");
  if (ports.size() > most) throw Error(ErrorKind::invalid, "ports: at most " + std::to_string(most) + " at a time");
  return ports;
}

bool offers(const http::Request& request, std::string_view protocol) {
  for (const auto& one : split(request.headers.get("Sec-WebSocket-Protocol"), ',')) {
    if (trim(one) == protocol) return true;
  }
  return false;
}

}  // namespace

std::string network_of_spec(std::string_view container_spec) {
  const auto spec = parse_json(container_spec);
  const auto* namespaces = spec ? find_path(*spec, {"linux", "namespaces"}) : nullptr;
  if (!namespaces || !namespaces->is_array()) return "";
  for (const auto& one : namespaces->get_array()) {
    if (find_string(one, {"type"}) == "network") return find_string(one, {"path"}).value_or("");
  }
  return "";
}

http::Response port_forward(const http::Request& request, Executor executor, std::string network) {
  http::Response response;
  response.status = 101;
  if (request.wants_websocket() && offers(request, tunnel_protocol)) {
    response.body =
        http::WebSocketBody{{std::string(tunnel_protocol)}, [executor, network](http::WebSocket& socket) -> Task<> {
                              Tunnel tunnel(socket);
                              co_await serve_spdy(executor, network, tunnel);
                            }};
  } else if (request.wants_websocket()) {
    auto run = [executor, network, ports = ports_of(request.query)](http::WebSocket& socket) {
      return serve_channels(executor, network, ports, socket);
    };
    response.body = http::WebSocketBody{{"v4.channel.k8s.io", "channel.k8s.io"}, std::move(run)};
  } else if (http::wants_upgrade(request, "SPDY/3.1")) {
    auto serve = [executor, network](http::ByteStream& bytes) { return serve_spdy(executor, network, bytes); };
    response = http::upgrade_response("SPDY/3.1", std::move(serve));
    response.headers.set("X-Stream-Protocol-Version", std::string(forward_protocol));
  } else {
    throw Error(ErrorKind::invalid, "Upgrade request required: port-forward speaks WebSocket and SPDY/3.1");
  }
  return response;
}

}  // namespace workflow::engine
