#include "lib/base/log.h"
#include "lib/http/test_support.h"

namespace workflow::http {
namespace {

using namespace std::chrono_literals;

class Pieces : public BodyReader {
 public:
  explicit Pieces(std::vector<std::string> pieces, bool counted) : pieces_(std::move(pieces)), counted_(counted) {}
  Task<std::string> read() override { co_return at_ < pieces_.size() ? pieces_[at_++] : ""; }
  std::optional<std::uint64_t> length() const override {
    if (!counted_) return {};
    std::uint64_t sum = 0;
    for (const auto& piece : pieces_) sum += piece.size();
    return sum;
  }

 private:
  std::vector<std::string> pieces_;
  bool counted_;
  std::size_t at_ = 0;
};

Task<Response> echo(Request& request) {
  auto response = Response::text(200, request.method + " " + co_await request.text(100u << 20));
  response.headers.set("Was-Chunked", request.headers.get("Transfer-Encoding"));
  response.headers.set("Peer-Id", request.id);
  co_return response;
}

TEST(Client, sends_bodies_of_every_kind_and_reuses_its_connection) {
  with_server({.max_connections = 1}, echo, [](Server& server) -> Task<> {
    Client client(co_await asio::this_coro::executor);
    auto text = co_await client.send({.method = "PUT", .url = url_of(server, "/"), .body = std::string("hello")});
    EXPECT_EQ(co_await text.text(), "PUT hello");
    for (const bool counted : {true, false}) {
      auto body = std::make_shared<Pieces>(std::vector<std::string>{"ab", std::string(300'000, 'x'), "c"}, counted);
      auto streamed = co_await client.send({.method = "POST", .url = url_of(server, "/"), .body = body});
      EXPECT_EQ((co_await streamed.text()).size(), 5u + 300'003u);
      EXPECT_EQ(streamed.headers.get("Was-Chunked"), counted ? "" : "chunked");
    }
  });
}

TEST(Client, streams_a_response_with_back_pressure) {
  std::size_t written = 0;
  auto handler = [&written](Request&) -> Task<Response> {
    Response response;
    response.body = [&written](BodyWriter& writer) -> Task<> {
      const std::string piece(64u << 10, 'x');
      for (int i = 0; i < 1000; ++i) {
        co_await writer.write(piece);
        written += piece.size();
      }
    };
    co_return response;
  };
  with_server({}, handler, [&written](Server& server) -> Task<> {
    Client client(co_await asio::this_coro::executor);
    auto response = co_await client.send({.url = url_of(server, "/")});
    co_await sleep_for(50ms);
    EXPECT_LT(written, 30u << 20);  // what sockets buffer, not all
    std::size_t read = 0;
    for (;;) {
      const auto piece = co_await response.body->read();
      if (piece.empty()) break;
      EXPECT_LE(piece.size(), 64u << 10);
      read += piece.size();
    }
    EXPECT_EQ(read, 1000u * (64u << 10));
  });
}

TEST(Client, replaces_a_pooled_connection_that_the_server_closed) {
  ServerConfig config;
  config.idle_timeout = 20ms;
  with_server(config, echo, [](Server& server) -> Task<> {
    Client client(co_await asio::this_coro::executor);
    for (int i = 0; i < 3; ++i) {
      auto response = co_await client.send({.url = url_of(server, "/")});
      EXPECT_EQ(co_await response.text(), "GET ");
      co_await sleep_for(40ms);
    }
  });
}

TEST(Client, gives_up_at_its_deadline_and_says_where) {
  auto handler = [](Request&) -> Task<Response> {
    co_await sleep_for(1h);
    co_return Response::empty(204);
  };
  ServerConfig config;
  config.drain_timeout = 10ms;
  with_server(config, handler, [](Server& server) -> Task<> {
    Client client(co_await asio::this_coro::executor);
    std::string message;
    try {
      co_await client.send({.url = url_of(server, "/"), .timeout = 30ms});
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::timeout);
      message = error.message();
    }
    EXPECT_NE(message.find("127.0.0.1"), std::string::npos) << message;
  });
}

TEST(Client, says_what_it_could_not_connect_to) {
  run_task([]() -> Task<> {
    Client client(co_await asio::this_coro::executor);
    std::string message;
    try {
      co_await client.send({.url = *Url::parse("http://127.0.0.1:1/")});
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::unavailable);
      message = error.message();
    }
    EXPECT_NE(message.find("http://127.0.0.1:1"), std::string::npos) << message;
  });
}

TEST(Client, notices_a_body_that_breaks_off) {
  auto handler = [](Request&) -> Task<Response> {
    Response response;
    response.body = [](BodyWriter& writer) -> Task<> {
      co_await writer.write("some");
      throw Error{ErrorKind::internal, "expected by the test"};
    };
    co_return response;
  };
  with_server({}, handler, [](Server& server) -> Task<> {
    Client client(co_await asio::this_coro::executor);
    auto response = co_await client.send({.url = url_of(server, "/")});
    bool broke = false;
    try {
      co_await response.text();
    } catch (const Error& error) {
      broke = error.kind() == ErrorKind::unavailable;
    }
    EXPECT_TRUE(broke);
  });
}

TEST(Client, passes_the_request_id_on) {
  with_server({}, echo, [](Server& server) -> Task<> {
    auto ask = [](const Server& to) -> Task<> {
      Client client(co_await asio::this_coro::executor);
      auto response = co_await client.send({.url = url_of(to, "/")});
      EXPECT_EQ(response.headers.get("Peer-Id"), "from-test");
    };
    co_await with_request_id("from-test", ask(server));
  });
}

TEST(Client, sees_an_early_refusal_of_a_large_body) {
  auto handler = [](Request& request) -> Task<Response> {
    co_await request.body->read();
    throw Error{ErrorKind::too_large, "no more than a piece"};
  };
  with_server({}, handler, [](Server& server) -> Task<> {
    Client client(co_await asio::this_coro::executor);
    auto body = std::make_shared<Pieces>(std::vector<std::string>(400, std::string(64u << 10, 'x')), true);
    auto response = co_await client.send({.method = "PUT", .url = url_of(server, "/"), .body = body});
    EXPECT_EQ(response.status, 413);
  });
}

TEST(WebSocket, talks_both_ways_and_closes_with_a_code) {
  auto handler = [](Request&) -> Task<Response> {
    Response response;
    response.body = WebSocketBody{{"v2", "v1"}, [](WebSocket& socket) -> Task<> {
                                    while (auto message = co_await socket.read()) co_await socket.write(*message);
                                  }};
    co_return response;
  };
  with_server({}, handler, [](Server& server) -> Task<> {
    Client client(co_await asio::this_coro::executor);
    auto socket = co_await client.websocket(url_of(server, "/", "ws"), {}, {"v1", "v0"}, 1s);
    EXPECT_EQ(socket->subprotocol(), "v1");
    for (const std::size_t size : {0u, 5u, 125u, 126u, 65'535u, 65'536u, 1'000'000u}) {
      co_await socket->write({true, std::string(size, '\xff')});
      auto answer = co_await socket->read();
      EXPECT_TRUE(answer && answer->binary && answer->data == std::string(size, '\xff')) << size;
    }
    co_await socket->write({false, "grüße"});
    auto answer = co_await socket->read();
    EXPECT_TRUE(answer && !answer->binary && answer->data == "grüße");
    co_await socket->close(1000, "done");
    EXPECT_FALSE((co_await socket->read()).has_value());
  });
}

TEST(WebSocket, is_told_when_the_server_drains) {
  run_task([]() -> Task<> {
    auto executor = co_await asio::this_coro::executor;
    auto handler = [](Request&) -> Task<Response> {
      Response response;
      response.body = WebSocketBody{{}, [](WebSocket&) -> Task<> { co_await sleep_for(1h); }};
      co_return response;
    };
    Server server(executor, {.address = "127.0.0.1"}, handler);
    TaskGroup group(executor);
    group.spawn("server", server.serve());
    Client client(executor);
    auto socket = co_await client.websocket(url_of(server, "/", "ws"), {}, {}, 1s);
    TaskGroup reader(executor);
    bool closed = false;
    auto read = [](WebSocket& from, bool& end) -> Task<> { end = !(co_await from.read()).has_value(); };
    reader.spawn("reader", read(*socket, closed));
    co_await group.stop();
    co_await reader.join();
    EXPECT_TRUE(closed);
  });
}

// Longer than a response's reader may stall, and with more than the sockets' buffers hold.
TEST(WebSocket, waits_for_a_peer_that_pauses) {
  static constexpr int count = 40;
  auto handler = [](Request&) -> Task<Response> {
    Response response;
    response.body = WebSocketBody{{}, [](WebSocket& socket) -> Task<> {
                                    for (int i = 0; i < count; ++i) {
                                      co_await socket.write({true, std::string(1u << 20, static_cast<char>(i))});
                                    }
                                  }};
    co_return response;
  };
  with_server({.write_timeout = 50ms}, handler, [](Server& server) -> Task<> {
    Client client(co_await asio::this_coro::executor);
    auto socket = co_await client.websocket(url_of(server, "/", "ws"), {}, {}, 1s);
    co_await sleep_for(300ms);
    int seen = 0;
    while (auto message = co_await socket->read()) {
      EXPECT_TRUE(message->data == std::string(1u << 20, static_cast<char>(seen)));
      ++seen;
    }
    EXPECT_EQ(seen, count);
  });
}

TEST(WebSocket, knows_that_the_peer_has_gone_while_nobody_reads) {
  bool gone = false;
  auto handler = [&gone](Request&) -> Task<Response> {
    Response response;
    response.body = WebSocketBody{{}, [&gone](WebSocket& socket) -> Task<> {
                                    co_await socket.gone();
                                    gone = true;
                                  }};
    co_return response;
  };
  // The last is more than the sockets hold, so that the end of the stream cannot be sent.
  for (const std::size_t unread : {0u, 10u, 60'000'000u}) {
    gone = false;
    with_server({}, handler, [unread, &gone](Server& server) -> Task<> {
      auto executor = co_await asio::this_coro::executor;
      Client client(executor);
      auto socket = co_await client.websocket(url_of(server, "/", "ws"), {}, {}, 1s);
      TaskGroup writer(executor);
      if (unread > 0) writer.spawn("writer", socket->write({true, std::string(unread, 'x')}));
      co_await sleep_for(100ms);
      EXPECT_FALSE(gone);
      co_await writer.stop();
      socket.reset();
      auto told = [](const bool& flag) -> Task<> {
        while (!flag) co_await sleep_for(5ms);
      };
      co_await with_deadline(5s, "the server did not notice", told(gone));
    });
    EXPECT_TRUE(gone) << unread;
  }
}

TEST(WebSocket, is_refused_with_the_servers_status) {
  auto handler = [](Request&) -> Task<Response> {
    throw Error{ErrorKind::forbidden, "no"};
    co_return Response::empty(204);
  };
  with_server({}, handler, [](Server& server) -> Task<> {
    Client client(co_await asio::this_coro::executor);
    bool refused = false;
    try {
      co_await client.websocket(url_of(server, "/", "ws"), {}, {}, 1s);
    } catch (const Error& error) {
      refused = error.kind() == ErrorKind::forbidden;
    }
    EXPECT_TRUE(refused);
  });
}

}  // namespace
}  // namespace workflow::http
