#include "lib/http/wire.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "lib/base/text.h"

namespace workflow::http {

namespace {

constexpr std::size_t max_overhead = 8u << 10;
constexpr std::size_t max_fields = 200;

// RFC 9110, section 5.6.2.
constexpr std::array<bool, 256> token_table = [] {
  std::array<bool, 256> table{};
  for (int c = '0'; c <= '9'; ++c) table[static_cast<std::size_t>(c)] = true;
  for (int c = 'a'; c <= 'z'; ++c) table[static_cast<std::size_t>(c)] = true;
  for (int c = 'A'; c <= 'Z'; ++c) table[static_cast<std::size_t>(c)] = true;
  for (char c : std::string_view("!#$%&'*+-.^_`|~")) table[static_cast<unsigned char>(c)] = true;
  return table;
}();

// Section 5.5: visible characters, blanks, tabs and bytes above 127.
bool is_field_value(std::string_view text) {
  return std::ranges::all_of(text, [](unsigned char c) { return (c >= ' ' && c != 0x7f) || c == '\t'; });
}

std::optional<std::uint64_t> parse_length(std::string_view text) {
  std::uint64_t value = 0;
  if (text.empty() || !std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; })) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Takes the next line off `rest`, without its CRLF. nullopt on a bare CR or LF, or none at all.
std::optional<std::string_view> next_line(std::string_view& rest) {
  const auto end = rest.find('\n');
  if (end == std::string_view::npos || end == 0 || rest[end - 1] != '\r') return std::nullopt;
  const auto line = rest.substr(0, end - 1);
  rest.remove_prefix(end + 1);
  return line;
}

// "HTTP/1.1" → 1
std::optional<int> parse_version(std::string_view text) {
  if (text.size() != 8 || !text.starts_with("HTTP/1.") || (text[7] != '0' && text[7] != '1')) return std::nullopt;
  return text[7] - '0';
}

struct Connection {
  Headers headers;
  std::optional<std::uint64_t> length;
  bool chunked = false, encoded = false;  // encoded: some Transfer-Encoding
  int hosts = 0;
  bool close = false, keep_alive = false;
  std::optional<std::string> expect;
};

// The fields up to the blank line, and what they say about framing. An error's text otherwise.
std::variant<Connection, std::string> parse_fields(std::string_view rest) {
  Connection result;
  for (;;) {
    const auto line = next_line(rest);
    if (!line) return "a header line does not end in CRLF";
    if (line->empty()) return result;
    if (line->front() == ' ' || line->front() == '\t') return "folded header lines are not accepted";
    const auto colon = line->find(':');
    if (colon == std::string_view::npos || !is_token(line->substr(0, colon))) return "a header name is malformed";
    if (result.headers.size() >= max_fields) return "too many header fields";
    const auto name = line->substr(0, colon);
    const auto value = trim(line->substr(colon + 1));
    if (!is_field_value(value)) return "a header value holds a control character";
    if (equal_ignoring_case(name, "content-length")) {
      const auto length = parse_length(value);
      if (!length || result.length) return "Content-Length is malformed or repeated";
      result.length = length;
    } else if (equal_ignoring_case(name, "transfer-encoding")) {
      if (result.encoded) return "Transfer-Encoding is repeated";
      result.encoded = true;
      result.chunked = equal_ignoring_case(value, "chunked");
    } else if (equal_ignoring_case(name, "host")) {
      ++result.hosts;
    } else if (equal_ignoring_case(name, "connection")) {
      result.close = result.close || has_token(value, "close");
      result.keep_alive = result.keep_alive || has_token(value, "keep-alive");
    } else if (equal_ignoring_case(name, "expect")) {
      result.expect = lower(value);
    }
    result.headers.add(std::string(name), std::string(value));
  }
}

bool persistent(const Connection& fields, int minor) { return !fields.close && (minor == 1 || fields.keep_alive); }

bool append_fields(std::string& out, const Headers& headers) {
  for (const auto& [name, value] : headers) {
    if (!is_token(name) || !is_field_value(value)) return false;
    out.append(name).append(": ").append(value).append("\r\n");
  }
  out += "\r\n";
  return true;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](unsigned char c) { return token_table[c]; });
}

bool has_token(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    const auto item = list.substr(0, list.find(','));
    if (equal_ignoring_case(trim(item), token)) return true;
    list.remove_prefix(std::min(list.size(), item.size() + 1));
  }
  return false;
}

std::size_t head_length(std::string_view bytes, std::size_t from) {
  const auto end = bytes.find("\r\n\r\n", from > 3 ? from - 3 : 0);
  return end == std::string_view::npos ? end : end + 4;
}

std::variant<RequestHead, BadMessage> parse_request_head(std::string_view head) {
  RequestHead result;
  const auto line = next_line(head);
  if (!line) return BadMessage{400, "the request line does not end in CRLF"};
  const auto first = line->find(' ');
  const auto last = line->rfind(' ');
  if (first == std::string_view::npos || first == last) return BadMessage{400, "the request line is malformed"};
  const auto method = line->substr(0, first);
  const auto target = line->substr(first + 1, last - first - 1);
  const auto version = line->substr(last + 1);
  if (!is_token(method) || target.empty() || target.find(' ') != std::string_view::npos) {
    return BadMessage{400, "the request line is malformed"};
  }
  const auto minor = parse_version(version);
  if (!minor) return BadMessage{version.starts_with("HTTP/") ? 505 : 400, "only HTTP/1.1 is spoken here"};

  auto parsed = parse_fields(head);
  if (auto* problem = std::get_if<std::string>(&parsed)) return BadMessage{400, std::move(*problem)};
  auto& fields = std::get<Connection>(parsed);
  if (fields.hosts > 1 || (*minor == 1 && fields.hosts == 0)) {
    return BadMessage{400, "exactly one Host header is needed"};
  }
  // RFC 9112, section 6.3, and its advice for servers that face untrusted proxies.
  if (fields.encoded && fields.length) return BadMessage{400, "both Content-Length and Transfer-Encoding"};
  if (fields.encoded && *minor == 0) return BadMessage{400, "Transfer-Encoding in an HTTP/1.0 request"};
  if (fields.encoded && !fields.chunked) return BadMessage{501, "the only transfer coding accepted is chunked"};
  if (fields.expect && *fields.expect != "100-continue") return BadMessage{417, "unknown expectation"};

  result.method = method;
  result.target = target;
  result.minor = *minor;
  result.headers = std::move(fields.headers);
  if (fields.chunked) result.framing = {Framing::Kind::chunked, 0};
  if (fields.length && *fields.length > 0) result.framing = {Framing::Kind::length, *fields.length};
  result.keep_alive = persistent(fields, *minor);
  result.expects_continue = fields.expect && *minor == 1 && result.framing.kind != Framing::Kind::none;
  return result;
}

std::variant<ResponseHead, BadMessage> parse_response_head(std::string_view head, std::string_view request_method) {
  ResponseHead result;
  const auto line = next_line(head);
  if (!line || line->size() < 12) return BadMessage{502, "the status line is malformed"};
  const auto minor = parse_version(line->substr(0, 8));
  const auto status = parse_length(line->substr(9, 3));
  if (!minor || !status || (*line)[8] != ' ' || *status < 100 || (line->size() > 12 && (*line)[12] != ' ')) {
    return BadMessage{502, "the status line is malformed"};
  }
  auto parsed = parse_fields(head);
  if (auto* problem = std::get_if<std::string>(&parsed)) return BadMessage{502, std::move(*problem)};
  auto& fields = std::get<Connection>(parsed);
  if (fields.encoded && fields.length) return BadMessage{502, "both Content-Length and Transfer-Encoding"};

  result.status = static_cast<int>(*status);
  result.minor = *minor;
  result.headers = std::move(fields.headers);
  result.keep_alive = persistent(fields, *minor);
  const bool bodiless = request_method == "HEAD" || result.status < 200 || result.status == 204 || result.status == 304;
  if (bodiless) {
    result.framing = {Framing::Kind::none, 0};
  } else if (fields.chunked) {
    result.framing = {Framing::Kind::chunked, 0};
  } else if (fields.length && !fields.encoded) {
    result.framing = {*fields.length == 0 ? Framing::Kind::none : Framing::Kind::length, *fields.length};
  } else {
    result.framing = {Framing::Kind::until_close, 0};
    result.keep_alive = false;
  }
  return result;
}

std::string_view reason_of(int status) {
  switch (status) {
    case 100: return "Continue";
    case 101: return "Switching Protocols";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 422: return "Unprocessable Content";
    case 426: return "Upgrade Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    case 507: return "Insufficient Storage";
    default: return "Status";
  }
}

std::optional<std::string> render_response_head(int status, const Headers& headers) {
  std::string head;
  head.reserve(512);
  head.append("HTTP/1.1 ").append(std::to_string(status)).append(" ").append(reason_of(status)).append("\r\n");
  if (!append_fields(head, headers)) return std::nullopt;
  return head;
}

std::optional<std::string> render_request_head(std::string_view method, std::string_view target,
                                               const Headers& headers) {
  const bool sane_target =
      !target.empty() && std::ranges::none_of(target, [](unsigned char c) { return c <= ' ' || c == 0x7f; });
  if (!is_token(method) || !sane_target) return std::nullopt;
  std::string head;
  head.reserve(512);
  head.append(method).append(" ").append(target).append(" HTTP/1.1\r\n");
  if (!append_fields(head, headers)) return std::nullopt;
  return head;
}

std::optional<std::size_t> ChunkedDecoder::feed(std::string_view bytes, std::string& out, std::size_t limit) {
  std::size_t used = 0;
  std::size_t produced = 0;
  while (used < bytes.size() && state_ != State::finished) {
    if (state_ == State::data) {
      const auto room = std::min<std::uint64_t>(left_, limit - produced);
      const auto piece = bytes.substr(used, static_cast<std::size_t>(room));
      if (piece.empty()) break;  // the limit is reached
      out.append(piece);
      used += piece.size();
      produced += piece.size();
      left_ -= piece.size();
      if (left_ == 0) state_ = State::data_return;
    } else if (!step(bytes[used++])) {
      return std::nullopt;
    }
  }
  return used;
}

bool ChunkedDecoder::step(char c) {
  switch (state_) {
    case State::size: {
      const int digit = hex_digit(c);
      if (digit >= 0) {
        if (++digits_ > 15) return false;
        left_ = left_ * 16 + static_cast<std::uint64_t>(digit);
        return true;
      }
      if (digits_ == 0) return false;
      if (c == ';')
        state_ = State::extension;
      else if (c == '\r')
        state_ = State::size_newline;
      else
        return false;
      return true;
    }
    case State::extension:
      if (c == '\r')
        state_ = State::size_newline;
      else if (c == '\n' || ++overhead_ > max_overhead)
        return false;
      return true;
    case State::size_newline:
      state_ = left_ == 0 ? State::trailer : State::data;
      digits_ = 0;
      return c == '\n';
    case State::data_return: state_ = State::data_newline; return c == '\r';
    case State::data_newline: state_ = State::size; return c == '\n';
    case State::trailer:
      if (++overhead_ > max_overhead) return false;
      if (c != '\n') {
        trailer_line_ += c;
        return true;
      }
      return end_of_trailer_line();
    case State::data:
    case State::finished: break;
  }
  return false;
}

// Trailers are read past and dropped: nothing here needs one, and none may change what the head said.
bool ChunkedDecoder::end_of_trailer_line() {
  if (!trailer_line_.ends_with('\r')) return false;
  trailer_line_.pop_back();
  if (trailer_line_.empty()) {
    state_ = State::finished;
    return true;
  }
  const auto colon = trailer_line_.find(':');
  const bool sane = colon != std::string::npos && is_token(std::string_view(trailer_line_).substr(0, colon)) &&
                    is_field_value(std::string_view(trailer_line_).substr(colon + 1));
  trailer_line_.clear();
  return sane;
}

}  // namespace workflow::http
