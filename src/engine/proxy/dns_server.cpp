#include "engine/proxy/dns_server.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include "engine/descriptors.h"
#include "lib/async/accept.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/text.h"

namespace workflow::engine::dns {
namespace {

using namespace std::chrono_literals;
using asio::ip::tcp;
using asio::ip::udp;

constexpr std::size_t udp_limit = 512, tcp_limit = 65'535;
constexpr std::size_t most_queries = 500, most_connections = 200;  // each holds a descriptor
constexpr auto longest_silence = 10s;                              // of a connection (RFC 7766, section 6.2.3)

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
    if (tasks.size() < share_of_descriptors(8, most_queries))
      tasks.spawn("dns query", answer_udp(config, zone, socket, from, buffer.substr(0, size)));
  }
}

// One question and its answer.
Task<> converse(const ServerConfig& config, const Zone& zone, tcp::socket& socket) {
  unsigned char prefix[2];
  co_await asio::async_read(socket, asio::buffer(prefix), asio::use_awaitable);
  std::string message(static_cast<std::size_t>(prefix[0] << 8 | prefix[1]), '\0');
  co_await asio::async_read(socket, asio::buffer(message), asio::use_awaitable);
  const auto answer = co_await answer_to(config, zone, std::move(message), tcp_limit);
  const std::string framed =
      std::string{static_cast<char>(answer.size() >> 8), static_cast<char>(answer.size() & 255)} + answer;
  co_await asio::async_write(socket, asio::buffer(framed), asio::use_awaitable);
}

Task<> serve_connection(const ServerConfig& config, const Zone& zone, tcp::socket socket) {
  try {
    for (;;) co_await with_deadline(longest_silence, "idle", converse(config, zone, socket));
  } catch (const Error&) {
    // idle long enough
  } catch (const boost::system::system_error& error) {
    if (error.code() == asio::error::operation_aborted) throw;
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

Task<> serve(ServerConfig config, const Zone& zone, Supervisor& supervisor) {
  auto executor = co_await asio::this_coro::executor;
  std::optional<udp::socket> datagrams;
  std::optional<tcp::acceptor> acceptor;
  try {
    const auto address = asio::ip::make_address(config.address);
    datagrams.emplace(executor, udp::endpoint(address, config.port));
    acceptor.emplace(executor, tcp::endpoint(address, config.port));
  } catch (const boost::system::system_error& error) {
    throw Error(ErrorKind::unavailable, "DNS cannot listen on " + config.address + ":" + std::to_string(config.port) +
                                            ": " + error.code().message());
  }
  TaskGroup queries(executor), loops(executor);
  // Idle ones keep nobody out: the oldest makes room, and its client connects anew.
  Connections connections(
      executor, {.most = share_of_descriptors(8, most_connections), .when_full = Connections::WhenFull::close_oldest});
  auto talk = [&](tcp::socket socket) { return serve_connection(config, zone, std::move(socket)); };
  auto over_udp = [&] { return serve_udp(config, zone, *datagrams, queries); };
  auto over_tcp = [&] { return accept_all(*acceptor, connections, talk); };
  loops.spawn("dns over udp", supervisor.forever("dns over udp", over_udp, accept_pauses()));
  loops.spawn("dns over tcp", supervisor.forever("dns over tcp", over_tcp, accept_pauses()));
  auto stop = [&]() -> Task<> {
    co_await loops.stop();
    co_await connections.stop();
    co_await queries.stop();
  };
  co_await with_cleanup(loops.join(), stop);
}

}  // namespace workflow::engine::dns
