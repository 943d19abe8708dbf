#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "lib/async/supervisor.h"
#include "lib/sql/connection.h"
#include "lib/sql/pool.h"

namespace workflow::sql {
namespace {

using namespace std::chrono_literals;
using Notification = std::unique_ptr<PGnotify, decltype(&PQfreemem)>;

std::string quoted_identifier(const std::string& name) {
  std::string out = "\"";
  for (const char c : name) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

Task<> listen_once(Config config, std::string channel, const std::function<void(const std::string&)>& on_notify) {
  auto connection = co_await offload([config, channel] {
    auto made = std::make_unique<Connection>(config);
    made->simple("LISTEN " + quoted_identifier(channel), "listen");
    return made;
  });
  on_notify("");
  asio::posix::stream_descriptor socket(co_await asio::this_coro::executor, ::dup(PQsocket(connection->raw())));
  for (;;) {
    co_await socket.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
    if (!PQconsumeInput(connection->raw())) throw Broken(PQerrorMessage(connection->raw()));
    for (;;) {
      Notification note(PQnotifies(connection->raw()), PQfreemem);
      if (!note) break;
      on_notify(note->extra);
    }
  }
}

}  // namespace

Task<> Db::listen(std::string channel, std::function<void(const std::string&)> on_notify) {
  Supervisor supervisor(co_await asio::this_coro::executor);
  co_await supervisor.forever("notifications of the database",
                              [&] { return listen_once(pool_->config, channel, on_notify); }, {.longest_pause = 5s});
}

}  // namespace workflow::sql
