#include <fcntl.h>

#include <algorithm>
#include <boost/asio/redirect_error.hpp>
#include <vector>

#include "lib/base/file.h"
#include "lib/http/test_support.h"

namespace workflow::http {
namespace {

using namespace std::chrono_literals;

Task<Response> echo(Request& request) {
  std::string text = request.method + " " + request.path + " " + co_await request.text();
  co_return Response::text(200, text);
}

std::string body_of(const std::string& answer) {
  const auto end = answer.find("\r\n\r\n");
  return end == std::string::npos ? "" : answer.substr(end + 4);
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(Server, answers_pipelined_requests_in_order) {
  with_server({}, echo, [](Server& server) -> Task<> {
    const auto answer = co_await raw_exchange(server,
                                              "GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
                                              "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
                                              "POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                                              "4;x=y\r\nwiki\r\n2\r\ned\r\n0\r\nTrailer: x\r\n\r\n"
                                              "GET /d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    EXPECT_EQ(count_of(answer, "HTTP/1.1 200 OK"), 4u) << answer;
    const auto a = answer.find("GET /a "), b = answer.find("POST /b abc"), c = answer.find("POST /c wikied"),
               d = answer.find("GET /d ");
    EXPECT_TRUE(a < b && b < c && c < d && d != std::string::npos) << answer;
  });
}

TEST(Server, refuses_what_is_ambiguous_or_malformed) {
  struct Case {
    std::string request;
    int status;
  };
  const Case cases[] = {
      {"GET / HTTP/1.1\r\n\r\n", 400},  // no Host
      {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"GET /../etc HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET /a/%2e%2E/b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n0\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: x\r\nFolded: a\r\n b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: x\r\nBlank : a\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: x\r\nBare: a\nB: c\r\n\r\n", 400},
      {"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505},
      {"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: x\r\nExpect: magic\r\n\r\n", 417},
      {"GET / HTTP/1.1\r\nHost: x\r\nLong: " + std::string(40'000, 'x') + "\r\n\r\n", 431},
  };
  with_server({}, echo, [&](Server& server) -> Task<> {
    for (const auto& [request, status] : cases) {
      const auto answer = co_await raw_exchange(server, request);
      EXPECT_TRUE(answer.starts_with("HTTP/1.1 " + std::to_string(status) + " ")) << request << "\n=> " << answer;
      EXPECT_TRUE(body_of(answer).starts_with("{\"detail\":\"")) << answer;
    }
  });
}

TEST(Server, holds_so_much_of_unfinished_bodies_and_no_more) {
  with_server({}, echo, [](Server& server) -> Task<> {
    using asio::ip::tcp;
    const std::string head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n";
    const std::string most_of_it(9'500'000, 'x');
    std::vector<tcp::socket> clients;
    for (int i = 0; i < 8; ++i) {
      auto& client = clients.emplace_back(co_await asio::this_coro::executor);
      co_await client.async_connect({asio::ip::make_address("127.0.0.1"), server.port()}, asio::use_awaitable);
      boost::system::error_code refused;  // while it still sends
      co_await asio::async_write(client, asio::buffer(head), asio::use_awaitable);
      co_await asio::async_write(client, asio::buffer(most_of_it), asio::redirect_error(asio::use_awaitable, refused));
    }
    const auto has_answer = [](const tcp::socket& client) { return client.available() > 0; };
    while (std::ranges::none_of(clients, has_answer)) co_await sleep_for(1ms);
    std::string answer;
    boost::system::error_code ended;
    auto& told = *std::ranges::find_if(clients, has_answer);
    co_await asio::async_read_until(told, asio::dynamic_buffer(answer), "moment",
                                    asio::redirect_error(asio::use_awaitable, ended));
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer;
    EXPECT_NE(answer.find("too many large requests are on their way"), std::string::npos) << answer;
    EXPECT_GE(std::ranges::count_if(clients, [&](const auto& c) { return !has_answer(c); }), 5);
    clients.clear();
    const std::string again = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";
    EXPECT_TRUE((co_await raw_exchange(server, again)).starts_with("HTTP/1.1 200 "));
  });
}

TEST(Server, says_408_when_headers_are_slow_and_closes_silently_when_idle) {
  ServerConfig config;
  config.header_timeout = 30ms;
  config.idle_timeout = 30ms;
  with_server(config, echo, [](Server& server) -> Task<> {
    const auto slow = co_await raw_exchange(server, "GET / HTTP/1.1\r\nHost:");
    EXPECT_TRUE(slow.starts_with("HTTP/1.1 408 ")) << slow;
    EXPECT_EQ(co_await raw_exchange(server, ""), "");
  });
}

TEST(Server, continues_only_when_the_body_is_wanted) {
  auto handler = [](Request& request) -> Task<Response> {
    if (request.path == "/no") co_return Response::text(403, "no");
    co_return Response::text(200, co_await request.text());
  };
  with_server({}, handler, [](Server& server) -> Task<> {
    const std::string rest =
        " HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n";
    const auto yes = co_await raw_exchange(server, "PUT /yes" + rest + "ok");
    EXPECT_TRUE(yes.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")) << yes;
    const auto no = co_await raw_exchange(server, "PUT /no" + rest);
    EXPECT_TRUE(no.starts_with("HTTP/1.1 403 ")) << no;
  });
}

TEST(Server, limits_the_body) {
  auto handler = [](Request& request) -> Task<Response> { co_return Response::text(200, co_await request.text(10)); };
  with_server({}, handler, [](Server& server) -> Task<> {
    for (const std::string framing :
         {"Content-Length: 11\r\n\r\n01234567890", "Transfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n"}) {
      const auto answer = co_await raw_exchange(server, "PUT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + framing);
      EXPECT_TRUE(answer.starts_with("HTTP/1.1 413 ")) << answer;
    }
  });
}

TEST(Server, hides_surprises_behind_the_request_id) {
  auto handler = [](Request&) -> Task<Response> {
    throw std::runtime_error("expected by the test: secret");
    co_return Response::empty(204);
  };
  with_server({}, handler, [](Server& server) -> Task<> {
    const auto answer =
        co_await raw_exchange(server, "GET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: abc-1\r\nConnection: close\r\n\r\n");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 500 ")) << answer;
    EXPECT_NE(answer.find("abc-1\"}"), std::string::npos) << answer;
    EXPECT_NE(answer.find("X-Request-Id: abc-1\r\n"), std::string::npos) << answer;
    EXPECT_EQ(answer.find("secret"), std::string::npos) << answer;
  });
}

TEST(Server, refuses_a_header_that_would_split_the_response) {
  auto handler = [](Request&) -> Task<Response> {
    auto response = Response::empty(204);
    response.headers.set("Location", "/x\r\nSet-Cookie: evil");
    co_return response;
  };
  with_server({}, handler, [](Server& server) -> Task<> {
    const auto answer = co_await raw_exchange(server, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    EXPECT_EQ(answer.find("evil"), std::string::npos) << answer;
  });
}

TEST(Server, streams_files_and_head_has_no_body) {
  TemporaryFolder folder;
  const auto path = folder.path() / "file";
  std::string content;
  for (int i = 0; i < 400'000; ++i) content += std::to_string(i);
  write_file_atomically(path, content);
  auto handler = [&path, size = content.size()](Request&) -> Task<Response> {
    Response response;
    response.body = FileBody{std::make_shared<Fd>(::open(path.c_str(), O_RDONLY)), 10, size - 10};
    co_return response;
  };
  with_server({}, handler, [&](Server& server) -> Task<> {
    const auto got = co_await raw_exchange(server, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    EXPECT_TRUE(body_of(got) == content.substr(10));
    const auto head = co_await raw_exchange(server, "HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    EXPECT_NE(head.find("Content-Length: " + std::to_string(content.size() - 10)), std::string::npos) << head;
    EXPECT_EQ(body_of(head), "");
  });
}

TEST(Server, cancels_a_stream_when_the_client_leaves) {
  bool cancelled = false;
  auto stream = [&cancelled](BodyWriter& writer) -> Task<> {
    co_await writer.write("first");
    try {
      co_await sleep_for(1h);
    } catch (...) {
      cancelled = is_cancelled(std::current_exception());
      throw;
    }
  };
  auto handler = [&stream](Request&) -> Task<Response> {
    Response response;
    response.body = StreamBody(stream);
    co_return response;
  };
  with_server({}, handler, [&](Server& server) -> Task<> {
    asio::ip::tcp::socket socket(co_await asio::this_coro::executor);
    const asio::ip::tcp::endpoint endpoint(asio::ip::make_address("127.0.0.1"), server.port());
    co_await socket.async_connect(endpoint, asio::use_awaitable);
    const std::string request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    co_await asio::async_write(socket, asio::buffer(request), asio::use_awaitable);
    std::string answer;
    co_await asio::async_read_until(socket, asio::dynamic_buffer(answer), "first", asio::use_awaitable);
    socket.close();
    for (int i = 0; i < 2000 && !cancelled; ++i) co_await sleep_for(1ms);
    EXPECT_TRUE(cancelled);
  });
}

TEST(Server, drains_finishing_what_is_under_way) {
  run_task([]() -> Task<> {
    auto executor = co_await asio::this_coro::executor;
    auto slow = [](Request&) -> Task<Response> {
      co_await sleep_for(50ms);
      co_return Response::text(200, "done");
    };
    Server server(executor, {.address = "127.0.0.1"}, slow);
    TaskGroup group(executor);
    group.spawn("server", server.serve());
    std::string answer;
    auto client = [](Server& to, std::string& into) -> Task<> {
      into = co_await raw_exchange(to, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    };
    TaskGroup clients(executor);
    clients.spawn("client", client(server, answer));
    co_await sleep_for(10ms);
    co_await group.stop();
    co_await clients.join();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK")) << answer;
    EXPECT_NE(answer.find("Connection: close"), std::string::npos) << answer;
  });
}

TEST(Server, drains_endless_responses_at_once) {
  run_task([]() -> Task<> {
    auto executor = co_await asio::this_coro::executor;
    auto watch = [](Request&) -> Task<Response> {
      Response response;
      response.endless = true;
      response.body = [](BodyWriter& writer) -> Task<> {
        co_await writer.write("event");
        co_await sleep_for(1h);
      };
      co_return response;
    };
    Server server(executor, {.address = "127.0.0.1"}, watch);
    TaskGroup group(executor);
    group.spawn("server", server.serve());
    std::string answer;
    auto client = [](Server& to, std::string& into) -> Task<> {
      into = co_await raw_exchange(to, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    };
    TaskGroup clients(executor);
    clients.spawn("client", client(server, answer));
    co_await sleep_for(20ms);
    const auto begin = std::chrono::steady_clock::now();
    co_await group.stop();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 3s);
    co_await clients.join();
    EXPECT_NE(answer.find("event"), std::string::npos) << answer;
  });
}

TEST(Server, names_the_port_that_is_taken) {
  with_server({}, echo, [](Server& server) -> Task<> {
    std::string message;
    try {
      Server second(co_await asio::this_coro::executor, {.address = "127.0.0.1", .port = server.port()}, echo);
    } catch (const Error& error) {
      message = error.message();
    }
    EXPECT_NE(message.find(std::to_string(server.port())), std::string::npos) << message;
  });
}

}  // namespace
}  // namespace workflow::http
