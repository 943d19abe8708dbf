// Bytes of a client through a whole server connection: it ends, and every answer it gives is well-formed.
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <string>

#include "lib/base/error.h"
#include "lib/http/json_text.h"
#include "lib/http/server_connection.h"

using namespace workflow;
using namespace workflow::http;

namespace {

Task<Response> answer(Request& request) {
  if (request.path == "/stream") {
    Response response;
    response.body = StreamBody([](BodyWriter& writer) -> Task<> { co_await writer.write("piece"); });
    co_return response;
  }
  if (request.path == "/unread") co_return Response::text(200, "unread");
  co_return Response::text(200, co_await request.text(1000));
}

std::shared_ptr<const ServerContext> context_of_server() {
  auto context = std::make_shared<ServerContext>();
  context->handler = answer;
  context->render_error = [](const Request&, const Error& error) {
    return error_response(status_of(error.kind()), error.message());
  };
  return context;
}

std::string read_all(int fd) {
  std::string all;
  char piece[4096];
  for (ssize_t got = 0; (got = ::read(fd, piece, sizeof(piece))) > 0;) all.append(piece, static_cast<std::size_t>(got));
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 60'000) return 0;  // what the socket's buffer takes at once
  static const auto shared = context_of_server();
  int ends[2];
  WF_CHECK(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  WF_CHECK(::write(ends[0], data, size) == static_cast<ssize_t>(size));
  ::shutdown(ends[0], SHUT_WR);
  {
    asio::io_context context(1);
    auto transport = plain_transport(tcp::socket(context, tcp::v4(), ends[1]));
    auto connection =
        std::make_shared<ServerConnection>(shared, std::move(transport), "fuzz", std::make_shared<std::string>());
    std::exception_ptr error;
    asio::co_spawn(context, connection->run(), [&error, &connection](const std::exception_ptr& e) {
      error = e;
      connection.reset();  // and with it its timer, which would keep the loop waiting
    });
    context.run();
    WF_CHECK(!error);
  }
  const std::string answers = read_all(ends[0]);
  ::close(ends[0]);
  WF_CHECK(answers.empty() || answers.starts_with("HTTP/1.1 "));
  return 0;
}
