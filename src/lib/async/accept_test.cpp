#include "lib/async/accept.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <filesystem>
#include <vector>

#include "lib/async/test_support.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace workflow {
namespace {

using namespace std::chrono_literals;
using asio::ip::tcp;

// Answers each byte with the same byte, for as long as the client likes.
Task<> echo(tcp::socket socket) {
  char byte = 0;
  for (;;) {
    boost::system::error_code ended;
    co_await socket.async_read_some(asio::buffer(&byte, 1), asio::redirect_error(asio::use_awaitable, ended));
    if (ended) co_return;
    co_await asio::async_write(socket, asio::buffer(&byte, 1), asio::use_awaitable);
  }
}

struct Server {
  Server(const Executor& executor, Connections::Options options)
      : supervisor(executor),
        connections(executor, options),
        acceptor(executor, tcp::endpoint(asio::ip::address_v4::loopback(), 0)) {
    supervisor.keep("echo", [this] { return accept_all(acceptor, connections, serve); }, accept_pauses());
  }
  Task<> stop() {
    co_await supervisor.stop();
    co_await connections.stop();
  }
  std::function<Task<>(tcp::socket)> serve = echo;
  Supervisor supervisor;
  Connections connections;
  tcp::acceptor acceptor;
};

Task<tcp::socket> connect(Server& server) {
  tcp::socket socket(co_await asio::this_coro::executor);
  co_await socket.async_connect(server.acceptor.local_endpoint(), asio::use_awaitable);
  co_return socket;
}

Task<> send(tcp::socket& socket) { co_await asio::async_write(socket, asio::buffer("x", 1), asio::use_awaitable); }
Task<bool> answers(tcp::socket& socket) {
  char byte = 0;
  boost::system::error_code ended;
  co_await asio::async_read(socket, asio::buffer(&byte, 1), asio::redirect_error(asio::use_awaitable, ended));
  co_return !ended && byte == 'x';
}

TEST(Accept, no_descriptor_left_is_told_and_survived) {
#if __has_feature(undefined_behavior_sanitizer)
  GTEST_SKIP() << "the sanitizer needs a descriptor of its own to look at an object's type";
#endif
  run_task([]() -> Task<> {
    Server server(co_await asio::this_coro::executor, {});
    auto first = co_await connect(server);
    co_await send(first);
    EXPECT_TRUE(co_await answers(first));
    // Our end takes the last descriptor: none is left for the server's.
    rlimit before{};
    ::getrlimit(RLIMIT_NOFILE, &before);
    std::vector<int> open;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
      open.push_back(std::stoi(entry.path().filename().string()));
    const auto next = static_cast<rlim_t>(std::ranges::max(open)) + 1;
    std::vector<Fd> gaps;  // below the highest one
    while (open.size() + gaps.size() < next) gaps.emplace_back(::dup(0));
    tcp::socket second(co_await asio::this_coro::executor, tcp::v4());
    const rlimit tight{static_cast<rlim_t>(second.native_handle()) + 1, before.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &tight);
    co_await second.async_connect(server.acceptor.local_endpoint(), asio::use_awaitable);
    co_await send(second);
    while (!server.supervisor.problem()) co_await sleep_for(1ms);
    EXPECT_EQ(server.supervisor.problem(), "echo: cannot accept connections: Too many open files");
    co_await send(first);
    EXPECT_TRUE(co_await answers(first)) << "the others go on meanwhile";
    ::setrlimit(RLIMIT_NOFILE, &before);
    EXPECT_TRUE(co_await answers(second));
    co_await server.stop();
  });
}

TEST(Accept, the_oldest_makes_room_where_clients_reconnect) {
  run_task([]() -> Task<> {
    Server server(co_await asio::this_coro::executor, {.most = 2, .when_full = Connections::WhenFull::close_oldest});
    std::vector<tcp::socket> idle;
    for (int i = 0; i < 20; ++i) {
      auto socket = co_await connect(server);
      co_await send(socket);
      EXPECT_TRUE(co_await answers(socket)) << i;
      idle.push_back(std::move(socket));
      EXPECT_LE(server.connections.size(), 2u);
    }
    EXPECT_FALSE(co_await answers(idle.front()));
    co_await send(idle.back());
    EXPECT_TRUE(co_await answers(idle.back()));
    co_await server.stop();
    EXPECT_EQ(server.connections.size(), 0u);
  });
}

TEST(Accept, a_full_house_lets_the_next_one_in_when_one_leaves) {
  run_task([]() -> Task<> {
    Server server(co_await asio::this_coro::executor, {.most = 1});
    auto first = co_await connect(server);
    co_await send(first);
    EXPECT_TRUE(co_await answers(first));
    auto second = co_await connect(server), third = co_await connect(server);
    co_await send(second);
    co_await send(third);
    EXPECT_EQ(server.connections.size(), 1u);
    first.close();
    EXPECT_TRUE(co_await answers(second));
    second.close();
    EXPECT_TRUE(co_await answers(third));
    co_await server.stop();
  });
}

TEST(Accept, a_connection_that_throws_ends_alone) {
  run_task([]() -> Task<> {
    Server server(co_await asio::this_coro::executor, {});
    server.serve = [](tcp::socket) -> Task<> {
      throw std::runtime_error("expected by the test");
      co_return;
    };
    auto first = co_await connect(server);
    EXPECT_FALSE(co_await answers(first));
    server.serve = echo;
    auto second = co_await connect(server);
    co_await send(second);
    EXPECT_TRUE(co_await answers(second));
    co_await server.stop();
  });
}

TEST(Accept, a_connection_that_is_gone_is_nobodys_trouble_and_a_broken_socket_is) {
  namespace codes = boost::system::errc;
  EXPECT_NO_THROW(check_accepted({}));
  EXPECT_NO_THROW(check_accepted(make_error_code(codes::connection_aborted)));
  EXPECT_THROW(check_accepted(make_error_code(codes::too_many_files_open)), Error);
  EXPECT_THROW(check_accepted(make_error_code(codes::bad_file_descriptor)), Error);
  EXPECT_THROW(check_accepted(asio::error::operation_aborted), boost::system::system_error);
}

}  // namespace
}  // namespace workflow
