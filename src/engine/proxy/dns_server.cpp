#include "engine/proxy/dns_server.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/text.h"

namespace workflow::engine::dns {
namespace {

using namespace std::chrono_literals;
using asio::ip::tcp;
using asio::ip::udp;

constexpr std::size_t udp_limit = 512, tcp_limit = 65'535;

// Asks each upstream server in turn, on a socket of its own, so that answers cannot be mixed up or easily forged.
Task<std::string> ask_upstream(const ServerConfig& config, std::string message) {
  auto exchange = [](udp::endpoint server, const std::string& query) -> Task<std::string> {
    udp::socket socket(co_await asio::this_coro::executor, server.protocol());
    socket.connect(server);
    co_await socket.async_send(asio::buffer(query), asio::use_awaitable);
    std::string answer(4096, '\0');
    for (;;) {
      const auto size = co_await socket.async_receive(asio::buffer(answer), asio::use_awaitable);
      if (size < 12 || answer.compare(0, 2, query, 0, 2) != 0) continue;
      answer.resize(size);
      co_return answer;
    }
  };
  for (const auto& server : config.upstream) {
    boost::system::error_code bad;
    const auto address = asio::ip::make_address(server, bad);
    if (bad) continue;
    std::string trouble;
    try {
      co_return co_await with_deadline(2s, "no answer", exchange({address, 53}, message));
    } catch (const Error& error) {
      trouble = error.message();
    } catch (const boost::system::system_error& error) {
      if (error.code() == asio::error::operation_aborted) throw;
      trouble = error.code().message();
    }
    log::debug("upstream name server", kv("server", server), kv("error", trouble));
  }
  co_return refusal(message, Answer::Code::server_failure);
}

Task<std::string> answer_to(const ServerConfig& config, const Zone& zone, std::string message, std::size_t limit) {
  const auto query = parse_query(message);
  if (!query) co_return refusal(message, Answer::Code::format_error);
  if (const auto answer = resolve(zone, *query)) co_return reply(message, *query, *answer, limit);
  if (config.upstream.empty()) co_return reply(message, *query, {.code = Answer::Code::no_such_name}, limit);
  co_return co_await ask_upstream(config, std::move(message));
}

Task<> answer_udp(const ServerConfig& config, const Zone& zone, udp::socket& socket, udp::endpoint from,
                  std::string message) {
  const auto answer = co_await answer_to(config, zone, std::move(message), udp_limit);
  boost::system::error_code ignored;
  if (!answer.empty()) socket.send_to(asio::buffer(answer), from, 0, ignored);
}

Task<> serve_udp(const ServerConfig& config, const Zone& zone, udp::socket& socket, TaskGroup& tasks) {
  std::string buffer(4096, '\0');
  for (;;) {
    udp::endpoint from;
    const auto size = co_await socket.async_receive_from(asio::buffer(buffer), from, asio::use_awaitable);
    // One slow upstream must not hold up the others; a flood must not hold all memory.
    if (tasks.size() < 2000) tasks.spawn("dns query", answer_udp(config, zone, socket, from, buffer.substr(0, size)));
  }
}

Task<> serve_connection(const ServerConfig& config, const Zone& zone, tcp::socket socket) {
  auto converse = [](const ServerConfig& c, const Zone& z, tcp::socket& s) -> Task<> {
    for (;;) {
      unsigned char prefix[2];
      co_await asio::async_read(s, asio::buffer(prefix), asio::use_awaitable);
      std::string message(static_cast<std::size_t>(prefix[0] << 8 | prefix[1]), '\0');
      co_await asio::async_read(s, asio::buffer(message), asio::use_awaitable);
      const auto answer = co_await answer_to(c, z, std::move(message), tcp_limit);
      const std::string framed =
          std::string{static_cast<char>(answer.size() >> 8), static_cast<char>(answer.size() & 255)} + answer;
      co_await asio::async_write(s, asio::buffer(framed), asio::use_awaitable);
    }
  };
  try {
    co_await with_deadline(30s, "idle", converse(config, zone, socket));
  } catch (const Error&) {
    // idle long enough
  } catch (const boost::system::system_error& error) {
    if (error.code() == asio::error::operation_aborted) throw;
  }
}

Task<> serve_tcp(const ServerConfig& config, const Zone& zone, tcp::acceptor& acceptor, TaskGroup& tasks) {
  for (;;) {
    auto socket = co_await acceptor.async_accept(asio::use_awaitable);
    if (tasks.size() < 2000) tasks.spawn("dns connection", serve_connection(config, zone, std::move(socket)));
  }
}

}  // namespace

std::vector<std::string> parse_resolv_conf(std::string_view text) {
  std::vector<std::string> servers;
  for (const auto& line : split(text, '\n')) {
    const auto words = split(replace_all(std::string(trim(line)), "\t", " "), ' ');
    if (words.size() >= 2 && words[0] == "nameserver") servers.push_back(words.back());
  }
  return servers;
}

Task<> serve(ServerConfig config, const Zone& zone) {
  auto executor = co_await asio::this_coro::executor;
  std::optional<udp::socket> datagrams;
  std::optional<tcp::acceptor> acceptor;
  try {
    const auto address = asio::ip::make_address(config.address);
    datagrams.emplace(executor, udp::endpoint(address, 53));
    acceptor.emplace(executor, tcp::endpoint(address, 53));
  } catch (const boost::system::system_error& error) {
    throw Error(ErrorKind::unavailable, "DNS cannot listen on " + config.address + ":53: " + error.code().message());
  }
  TaskGroup tasks(executor);
  tasks.spawn("dns over udp", serve_udp(config, zone, *datagrams, tasks));
  tasks.spawn("dns over tcp", serve_tcp(config, zone, *acceptor, tasks));
  co_await with_cleanup(tasks.join(), [&tasks] { return tasks.stop(); });
}

}  // namespace workflow::engine::dns
