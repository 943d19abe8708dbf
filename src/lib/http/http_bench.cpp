// What our HTTP/1.1 and WebSocket framing cost beside Beast's, on one core: `ninja http_bench && bin/http_bench`. Lines
// `figure value unit reference ratio`, as the programs in bench/ print them; the reference is Beast's.
#include <boost/asio/io_context.hpp>
#include <boost/beast/_experimental/test/stream.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>
#include <cstdio>
#include <ctime>
#include <string>
#include <variant>

#include "lib/http/websocket_codec.h"
#include "lib/http/wire.h"

namespace {

namespace beast = boost::beast;
using namespace workflow::http;

constexpr const char* request =
    "GET /api/v1/namespaces/default/pods?labelSelector=app%3Dshop&limit=500 HTTP/1.1\r\n"
    "Host: localhost:6443\r\nUser-Agent: kubectl/v1.29.0 (linux/amd64)\r\nAccept: application/json\r\n"
    "Accept-Encoding: gzip\r\nAuthorization: Bearer abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz\r\n"
    "Connection: keep-alive\r\nX-Request-Id: 0123456789abcdef01234567\r\nContent-Type: application/json\r\n\r\n";

double processor_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

template <typename F>
double per_second(int times, F once) {
  const auto begun = processor_seconds();
  for (int i = 0; i < times; ++i) once();
  return times / (processor_seconds() - begun);
}

std::size_t sink = 0;  // so that nothing is left out

void parse_and_print_ours() {
  const std::string_view bytes = request;
  const auto size = head_length(bytes, 0);
  const auto head = parse_request_head(bytes.substr(0, size));
  sink += std::get<RequestHead>(head).headers.size();
  const Headers answer{
      {"Content-Type", "application/json"}, {"Content-Length", "1234"}, {"X-Request-Id", "0123456789abcdef01234567"}};
  sink += render_response_head(200, answer)->size();
}

void parse_and_print_beast() {
  namespace http = beast::http;
  http::request_parser<http::empty_body> parser;
  beast::error_code error;
  const std::string_view bytes = request;
  parser.put(boost::asio::buffer(bytes), error);
  sink += static_cast<std::size_t>(std::distance(parser.get().begin(), parser.get().end()));
  http::response<http::empty_body> answer{http::status::ok, 11};
  answer.set(http::field::content_type, "application/json");
  answer.set(http::field::content_length, "1234");
  answer.set("X-Request-Id", "0123456789abcdef01234567");
  http::response_serializer<http::empty_body> serializer(answer);
  while (!serializer.is_done()) {
    serializer.next(error, [&](beast::error_code& ended, const auto& buffers) {
      ended = {};
      const auto size = beast::buffer_bytes(buffers);
      sink += size;
      serializer.consume(size);
    });
  }
}

constexpr std::size_t message_size = 512;

double echoes_ours(int times) {
  WebSocketDecoder server(WebSocketDecoder::Masking::required, 1 << 20),
      client(WebSocketDecoder::Masking::forbidden, 1 << 20);
  const std::string text(message_size, 'x');
  return per_second(times, [&] {
    server.feed(encode_frame(Opcode::binary, text, Mask{0x12345678}));
    const auto heard = server.next();
    client.feed(encode_frame(Opcode::binary, std::get<WebSocket::Message>(*heard).data, std::nullopt));
    const auto echo = client.next();
    sink += std::get<WebSocket::Message>(*echo).data.size();
  });
}

double echoes_beast(int times) {
  boost::asio::io_context context;
  namespace websocket = beast::websocket;
  websocket::stream<beast::test::stream> client(context), server(context);
  client.next_layer().connect(server.next_layer());
  server.async_accept([](beast::error_code) {});
  client.async_handshake("localhost", "/", [](beast::error_code) {});
  context.run();
  client.binary(true);
  server.binary(true);
  const std::string text(message_size, 'x');
  return per_second(times, [&] {
    client.write(boost::asio::buffer(text));
    beast::flat_buffer heard, echo;
    server.read(heard);
    server.write(heard.data());
    client.read(echo);
    sink += echo.size();
  });
}

void report(const char* figure, double ours, double theirs) {
  std::printf("%s %.0f /s %.0f %.3f\n", figure, ours, theirs, ours / theirs);
}

}  // namespace

int main() {
  constexpr int times = 300'000;
  report("request", per_second(times, parse_and_print_ours), per_second(times, parse_and_print_beast));
  report("websocket_echo", echoes_ours(times), echoes_beast(times));
  return sink == 0 ? 1 : 0;
}
