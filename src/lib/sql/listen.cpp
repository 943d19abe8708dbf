#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "lib/base/log.h"
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
  auto pause = 100ms;
  for (;;) {
    const auto began = std::chrono::steady_clock::now();
    std::string trouble;
    try {
      co_await listen_once(pool_->config, channel, on_notify);
    } catch (const Error& error) {
      trouble = error.detail().empty() ? error.message() : error.detail();
    }
    if (std::chrono::steady_clock::now() - began > 10s) pause = 100ms;
    log::warn("no notifications from the database; connecting again", kv("error", trouble), kv("in_ms", pause.count()));
    co_await sleep_for(pause);
    pause = std::min<std::chrono::milliseconds>(pause * 2, 5s);
  }
}

}  // namespace workflow::sql
