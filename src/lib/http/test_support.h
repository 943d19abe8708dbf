// src/lib/http/test_support.h: a server and a client in one loop, for this library's tests.
#pragma once
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/write.hpp>
#include <functional>
#include <string>

#include "lib/async/test_support.h"
#include "lib/http/http.h"

namespace workflow::http {

inline Task<> serve_while(Server& server, Task<> test) {
  TaskGroup group(co_await asio::this_coro::executor);
  group.spawn("server", server.serve());
  co_await with_cleanup(std::move(test), [&group] { return group.stop(); });
}

// A server with `handler` on a free port of the loopback while `test` runs.
inline void with_server(ServerConfig config, Handler handler, std::function<Task<>(Server&)> test) {
  config.address = "127.0.0.1";
  run_task([&]() -> Task<> {
    Server server(co_await asio::this_coro::executor, config, handler);
    co_await serve_while(server, test(server));
  });
}

inline Url url_of(const Server& server, const std::string& path_and_query, const std::string& scheme = "http") {
  return *Url::parse(scheme + "://127.0.0.1:" + std::to_string(server.port()) + path_and_query);
}

// Sends bytes as they are; returns all that comes back until the server closes.
inline Task<std::string> raw_exchange(const Server& server, std::string bytes) {
  asio::ip::tcp::socket socket(co_await asio::this_coro::executor);
  const asio::ip::tcp::endpoint endpoint(asio::ip::make_address("127.0.0.1"), server.port());
  co_await socket.async_connect(endpoint, asio::use_awaitable);
  co_await asio::async_write(socket, asio::buffer(bytes), asio::use_awaitable);
  std::string answer;
  boost::system::error_code error;
  co_await asio::async_read(socket, asio::dynamic_buffer(answer), asio::redirect_error(asio::use_awaitable, error));
  co_return answer;
}

}  // namespace workflow::http
