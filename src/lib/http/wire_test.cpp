#include "lib/http/wire.h"

#include <gtest/gtest.h>

namespace workflow::http {
namespace {

std::string request(const std::string& line, const std::string& headers = "Host: x\r\n") {
  return line + "\r\n" + headers + "\r\n";
}

TEST(RequestHead, takes_the_parts_apart) {
  auto parsed =
      parse_request_head(request("PUT /a?b=c HTTP/1.1", "host:x\r\nX-Two:  a b \t\r\nContent-Length: 12\r\n"));
  const auto& head = std::get<RequestHead>(parsed);
  EXPECT_EQ(head.method, "PUT");
  EXPECT_EQ(head.target, "/a?b=c");
  EXPECT_EQ(head.headers.get("x-TWO"), "a b");
  EXPECT_EQ(head.framing.kind, Framing::Kind::length);
  EXPECT_EQ(head.framing.length, 12u);
  EXPECT_TRUE(head.keep_alive);
}

TEST(RequestHead, keeps_alive_as_the_version_and_connection_say) {
  struct Case {
    std::string version, connection;
    bool keep;
  };
  const Case cases[] = {{"1.1", "", true},  {"1.1", "close", false},     {"1.1", "Upgrade, Close", false},
                        {"1.0", "", false}, {"1.0", "keep-alive", true}, {"1.0", "keep-alive, close", false}};
  for (const auto& [version, connection, keep] : cases) {
    const auto field = connection.empty() ? "" : "Connection: " + connection + "\r\n";
    auto parsed = parse_request_head(request("GET / HTTP/" + version, "Host: x\r\n" + field));
    EXPECT_EQ(std::get<RequestHead>(parsed).keep_alive, keep) << version << " " << connection;
  }
}

TEST(RequestHead, refuses_with_the_right_status) {
  struct Case {
    std::string head;
    int status;
  };
  const std::string many = [] {
    std::string fields = "Host: x\r\n";
    for (int i = 0; i < 201; ++i) fields += "A" + std::to_string(i) + ": b\r\n";
    return fields;
  }();
  const Case cases[] = {
      {"\r\n\r\n", 400},
      {request("GET /"), 400},
      {request("GET / HTTP/1.1 "), 400},
      {request("GET /a b HTTP/1.1"), 400},
      {request("G(T / HTTP/1.1"), 400},
      {request("GET / HTTP/1.2"), 505},
      {request("GET / http/1.1"), 400},
      {request("GET / HTTP/1.1", ""), 400},
      {request("GET / HTTP/1.1", "Host: a\r\nhost: a\r\n"), 400},
      {request("GET / HTTP/1.1", "Host: x\r\nName with blank: y\r\n"), 400},
      {request("GET / HTTP/1.1", "Host: x\r\n: y\r\n"), 400},
      {request("GET / HTTP/1.1", "Host: x\r\nA: b\r\n\tc\r\n"), 400},
      {request("GET / HTTP/1.1", std::string("Host: x\r\nA: b\0c\r\n", 17)), 400},
      {request("GET / HTTP/1.1", "Host: x\r\nA: b\rc\r\n"), 400},
      {request("GET / HTTP/1.1", many), 400},
      {request("POST / HTTP/1.1", "Host: x\r\nContent-Length: \r\n"), 400},
      {request("POST / HTTP/1.1", "Host: x\r\nContent-Length: 1, 1\r\n"), 400},
      {request("POST / HTTP/1.1", "Host: x\r\nContent-Length: 0x10\r\n"), 400},
      {request("POST / HTTP/1.1", "Host: x\r\nContent-Length: 99999999999999999999\r\n"), 400},
      {request("POST / HTTP/1.1", "Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
      {request("POST / HTTP/1.1", "Host: x\r\nTransfer-Encoding: chunked, identity\r\n"), 501},
      {request("POST / HTTP/1.0", "Transfer-Encoding: chunked\r\n"), 400},
  };
  for (const auto& [head, status] : cases) {
    const auto parsed = parse_request_head(head);
    const auto* bad = std::get_if<BadMessage>(&parsed);
    ASSERT_NE(bad, nullptr) << head;
    EXPECT_EQ(bad->status, status) << head;
  }
}

TEST(ResponseHead, knows_how_its_body_ends) {
  struct Case {
    std::string method, head;
    Framing::Kind kind;
    bool keep;
  };
  using Kind = Framing::Kind;
  const Case cases[] = {
      {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", Kind::length, true},
      {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Kind::none, true},
      {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Kind::chunked, true},
      {"GET", "HTTP/1.1 200 OK\r\n\r\n", Kind::until_close, false},
      {"GET", "HTTP/1.1 200\r\n\r\n", Kind::until_close, false},
      {"GET", "HTTP/1.1 204 No Content\r\n\r\n", Kind::none, true},
      {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", Kind::none, true},
      {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", Kind::none, true},
      {"GET", "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", Kind::length, false},
  };
  for (const auto& [method, head, kind, keep] : cases) {
    const auto parsed = parse_response_head(head, method);
    const auto* good = std::get_if<ResponseHead>(&parsed);
    ASSERT_NE(good, nullptr) << head;
    EXPECT_EQ(good->framing.kind, kind) << head;
    EXPECT_EQ(good->keep_alive, keep) << head;
  }
  for (const std::string bad :
       {"HTTP/1.1 20 OK\r\n\r\n", "HTTP/2 200 OK\r\n\r\n", "HTTP/1.1 200OK\r\n\r\n", "nonsense\r\n\r\n"}) {
    EXPECT_TRUE(std::holds_alternative<BadMessage>(parse_response_head(bad, "GET"))) << bad;
  }
}

TEST(RenderedHead, refuses_what_would_split_it) {
  EXPECT_TRUE(render_response_head(200, {{"A", "b"}}));
  EXPECT_FALSE(render_response_head(200, {{"A", "b\r\nC: d"}}));
  EXPECT_FALSE(render_response_head(200, {{"A b", "c"}}));
  EXPECT_TRUE(render_request_head("GET", "/", {}));
  EXPECT_FALSE(render_request_head("GET", "/ HTTP/1.1\r\nX: y", {}));
  EXPECT_FALSE(render_request_head("GE T", "/", {}));
}

TEST(ChunkedDecoder, gives_the_same_in_pieces_of_any_size) {
  const std::string body = "5\r\nhello\r\n1;a=b\r\n \r\nA\r\n0123456789\r\n0\r\nT: x\r\n\r\nNEXT";
  for (std::size_t piece = 1; piece <= body.size(); ++piece) {
    for (const std::size_t limit : {std::size_t{1}, std::size_t{4}, std::size_t{100}}) {
      ChunkedDecoder decoder;
      std::string out;
      std::size_t at = 0;
      while (!decoder.finished()) {
        const auto used = decoder.feed(std::string_view(body).substr(at, piece), out, limit);
        ASSERT_TRUE(used);
        at += *used;
      }
      EXPECT_EQ(out, "hello 0123456789");
      EXPECT_EQ(body.substr(at), "NEXT");
    }
  }
}

TEST(ChunkedDecoder, refuses_what_is_malformed) {
  const std::string cases[] = {"\r\n",
                               "g\r\n",
                               "-1\r\n",
                               "5 \r\nhello\r\n",
                               "1\nx\r\n",
                               "1\r\nxx\r\n",
                               "1\r\nx\n0\r\n",
                               "0\r\nbad\r\n",
                               "1;\n",
                               "0x1\r\n",
                               "1111111111111111\r\n",
                               "0\r\n: x\r\n",
                               "1;" + std::string(9000, 'x')};
  for (const auto& text : cases) {
    ChunkedDecoder decoder;
    std::string out;
    EXPECT_FALSE(decoder.feed(text, out, 1000)) << text;
  }
}

TEST(HasToken, looks_at_whole_items) {
  EXPECT_TRUE(has_token("a, Upgrade ,b", "upgrade"));
  EXPECT_FALSE(has_token("upgraded", "upgrade"));
  EXPECT_FALSE(has_token("", "upgrade"));
}

}  // namespace
}  // namespace workflow::http
