// src/lib/http/wire.h: HTTP/1.1 messages as bytes (RFC 9112), as pure functions.
//   Strict on purpose: what two parsers could read in two ways (folded lines, bare CR or LF, blanks before a colon,
//   both Content-Length and Transfer-Encoding) is refused, so that no request can be smuggled past whoever stands
//   before us.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "lib/http/http.h"

namespace workflow::http {

// How the end of a body is known.
struct Framing {
  enum class Kind { none, length, chunked, until_close };
  Kind kind = Kind::none;
  std::uint64_t length = 0;
};
struct RequestHead {
  std::string method, target;
  int minor = 1;  // HTTP/1.<minor>
  Headers headers;
  Framing framing;
  bool keep_alive = true;
  bool expects_continue = false;
};
struct ResponseHead {
  int status = 0;
  int minor = 1;
  Headers headers;
  Framing framing;
  bool keep_alive = true;
};
// Why a message is refused, and with which status.
struct BadMessage {
  int status = 400;
  std::string message;
};

// The length of the head at the start of `bytes`, its blank line included; npos when it is not complete. `from`: how
// many bytes an earlier call has seen.
std::size_t head_length(std::string_view bytes, std::size_t from);
std::variant<RequestHead, BadMessage> parse_request_head(std::string_view head);
std::variant<ResponseHead, BadMessage> parse_response_head(std::string_view head, std::string_view request_method);

// Heads to send. nullopt: a name or a value holds what would end the line early.
std::string_view reason_of(int status);
std::optional<std::string> render_response_head(int status, const Headers& headers);
std::optional<std::string> render_request_head(std::string_view method, std::string_view target,
                                               const Headers& headers);

// Whether the comma-separated list in a header's value has this token.
bool has_token(std::string_view list, std::string_view token);
bool is_token(std::string_view text);

// Takes the chunked framing off a body, piece by piece.
class ChunkedDecoder {
 public:
  // Consumes from the front of `bytes`, appending at most `limit` bytes of body to `out`. Returns how much it consumed;
  // nullopt when malformed.
  std::optional<std::size_t> feed(std::string_view bytes, std::string& out, std::size_t limit);
  bool finished() const { return state_ == State::finished; }

 private:
  enum class State { size, extension, size_newline, data, data_return, data_newline, trailer, finished };
  bool step(char c);
  bool end_of_trailer_line();
  State state_ = State::size;
  std::uint64_t left_ = 0;
  int digits_ = 0;
  std::size_t overhead_ = 0;  // bytes of extensions and trailers; limited
  std::string trailer_line_;
};

}  // namespace workflow::http
