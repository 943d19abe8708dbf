#include "lib/http/upgrade.h"

#include "lib/http/test_support.h"

namespace workflow::http {
namespace {

Task<Response> echo(Request&) {
  co_return upgrade_response("echo/1", [](ByteStream& stream) -> Task<> {
    for (;;) {
      const auto bytes = co_await stream.read();
      if (bytes.empty()) co_return;
      co_await stream.write(bytes);
      if (bytes.ends_with("bye")) co_return;
    }
  });
}

TEST(Upgrade, goes_on_in_another_protocol_and_ends_with_it) {
  with_server({}, echo, [](Server& server) -> Task<> {
    const std::string request =
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: ECHO/1\r\nContent-Length: 0\r\n\r\n";
    const auto answer = co_await raw_exchange(server, request + "hello, bye");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 101 ")) << answer;
    EXPECT_TRUE(answer.contains("Upgrade: echo/1\r\n")) << answer;
    EXPECT_TRUE(answer.ends_with("\r\n\r\nhello, bye")) << answer;
  });
}

TEST(Upgrade, is_for_those_who_ask_for_it) {
  with_server({}, echo, [](Server& server) -> Task<> {
    for (const std::string headers : {"", "Upgrade: echo/1\r\n", "Connection: Upgrade\r\nUpgrade: other/1\r\n"}) {
      const auto answer = co_await raw_exchange(server, "GET / HTTP/1.1\r\nHost: a\r\n" + headers + "\r\n");
      EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << answer;
      EXPECT_TRUE(answer.contains("echo/1 only")) << answer;
    }
  });
}

}  // namespace
}  // namespace workflow::http
