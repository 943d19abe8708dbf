#include "engine/node/spdy_frames.h"

#include <zlib.h>

#include <algorithm>
#include <array>

#include "lib/base/error.h"
#include "lib/base/text.h"

namespace workflow::engine::spdy {
namespace {

enum Type : std::uint16_t {
  syn_stream = 1,
  syn_reply = 2,
  rst_stream = 3,
  ping_type = 6,
  go_away_type = 7,
  headers_type = 8,
  window_type = 9
};
constexpr std::uint8_t fin = 1;
constexpr std::uint16_t version = 3;
constexpr std::size_t head_size = 8, piece = 64u << 10;

void put16(std::string& to, std::uint16_t value) {
  to += static_cast<char>(value >> 8);
  to += static_cast<char>(value);
}

void put32(std::string& to, std::uint32_t value) {
  put16(to, static_cast<std::uint16_t>(value >> 16));
  put16(to, static_cast<std::uint16_t>(value));
}

std::uint32_t get(std::string_view from, std::size_t at, std::size_t bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | static_cast<unsigned char>(from[at + i]);
  return value;
}

std::uint32_t stream_at(std::string_view from, std::size_t at) { return get(from, at, 4) & 0x7fffffff; }

// Section 2.6.10.1: words with their lengths, then text without.
std::string make_dictionary() {
  constexpr std::string_view words[] = {"options",
                                        "head",
                                        "post",
                                        "put",
                                        "delete",
                                        "trace",
                                        "accept",
                                        "accept-charset",
                                        "accept-encoding",
                                        "accept-language",
                                        "accept-ranges",
                                        "age",
                                        "allow",
                                        "authorization",
                                        "cache-control",
                                        "connection",
                                        "content-base",
                                        "content-encoding",
                                        "content-language",
                                        "content-length",
                                        "content-location",
                                        "content-md5",
                                        "content-range",
                                        "content-type",
                                        "date",
                                        "etag",
                                        "expect",
                                        "expires",
                                        "from",
                                        "host",
                                        "if-match",
                                        "if-modified-since",
                                        "if-none-match",
                                        "if-range",
                                        "if-unmodified-since",
                                        "last-modified",
                                        "location",
                                        "max-forwards",
                                        "pragma",
                                        "proxy-authenticate",
                                        "proxy-authorization",
                                        "range",
                                        "referer",
                                        "retry-after",
                                        "server",
                                        "te",
                                        "trailer",
                                        "transfer-encoding",
                                        "upgrade",
                                        "user-agent",
                                        "vary",
                                        "via",
                                        "warning",
                                        "www-authenticate",
                                        "method",
                                        "get",
                                        "status",
                                        "200 OK",
                                        "version",
                                        "HTTP/1.1",
                                        "url",
                                        "public",
                                        "set-cookie",
                                        "keep-alive",
                                        "origin"};
  std::string all;
  for (const auto word : words) {
    put32(all, static_cast<std::uint32_t>(word.size()));
    all += word;
  }
  all +=
      "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 "
      "Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 "
      "Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May "
      "Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,"
      "image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age="
      "gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
  return all;
}

const std::string& dictionary() {
  static const std::string text = make_dictionary();
  return text;
}

Bytef* bytes_of(std::string_view text) { return reinterpret_cast<Bytef*>(const_cast<char*>(text.data())); }

std::string control_frame(Type type, std::uint8_t flags, std::string_view body) {
  std::string frame;
  frame.reserve(head_size + body.size());
  put16(frame, 0x8000 | version);
  put16(frame, type);
  put32(frame, std::uint32_t{flags} << 24 | static_cast<std::uint32_t>(body.size()));
  frame += body;
  return frame;
}

std::string numbers(std::uint32_t first, std::optional<std::uint32_t> second = std::nullopt) {
  std::string body;
  put32(body, first);
  if (second) put32(body, *second);
  return body;
}

}  // namespace

struct Decoder::Inflater {
  Inflater() { WF_CHECK(inflateInit(&stream) == Z_OK); }
  ~Inflater() { inflateEnd(&stream); }

  // nullopt: broken, or more than `most_header_bytes`.
  std::optional<std::string> unpack(std::string_view block) {
    std::string text(most_header_bytes, '\0');
    stream.next_in = bytes_of(block);
    stream.avail_in = static_cast<uInt>(block.size());
    stream.next_out = bytes_of(text);
    stream.avail_out = static_cast<uInt>(text.size());
    auto result = inflate(&stream, Z_SYNC_FLUSH);
    if (result == Z_NEED_DICT) {
      const auto& words = dictionary();
      if (inflateSetDictionary(&stream, bytes_of(words), static_cast<uInt>(words.size())) != Z_OK) return std::nullopt;
      result = inflate(&stream, Z_SYNC_FLUSH);
    }
    if ((result != Z_OK && result != Z_BUF_ERROR) || stream.avail_in != 0 || stream.avail_out == 0) return std::nullopt;
    text.resize(text.size() - stream.avail_out);
    return text;
  }

  z_stream stream{};
};

Decoder::Decoder() : inflater_(std::make_unique<Inflater>()) {}
Decoder::~Decoder() = default;

void Decoder::feed(std::string_view bytes) {
  buffer_.erase(0, used_);
  used_ = 0;
  buffer_ += bytes;
}

std::optional<Frame> Decoder::next() {
  while (!violation_) {
    const auto rest = std::string_view(buffer_).substr(used_);
    if (data_left_ > 0) {
      if (rest.empty()) return std::nullopt;
      const auto size = std::min({rest.size(), data_left_, piece});
      used_ += size;
      data_left_ -= size;
      return Data{data_stream_, std::string(rest.substr(0, size)), data_last_ && data_left_ == 0};
    }
    if (rest.size() < head_size) return std::nullopt;
    const auto flags = static_cast<std::uint8_t>(rest[4]);
    const std::size_t length = get(rest, 5, 3);
    if ((static_cast<unsigned char>(rest[0]) & 0x80) == 0) {
      used_ += head_size;
      data_stream_ = stream_at(rest, 0);
      data_left_ = length;
      data_last_ = (flags & fin) != 0;
      if (length == 0 && data_last_) return Data{data_stream_, "", true};
      continue;
    }
    if (length > most_control_bytes) {
      violation_ = {"a control frame is longer than " + std::to_string(most_control_bytes) + " bytes"};
    } else if ((get(rest, 0, 2) & 0x7fff) != version) {
      violation_ = {"only version 3 of SPDY is spoken here"};
    } else {
      if (rest.size() < head_size + length) return std::nullopt;
      used_ += head_size + length;
      auto frame = control(static_cast<std::uint16_t>(get(rest, 2, 2)), flags, rest.substr(head_size, length));
      if (frame) return frame;
    }
  }
  return *violation_;
}

std::optional<Frame> Decoder::control(std::uint16_t type, std::uint8_t flags, std::string_view body) {
  const auto needs = [&](std::size_t size) {
    if (body.size() < size) violation_ = {"a control frame is too short"};
    return body.size() >= size;
  };
  const bool last = (flags & fin) != 0;
  switch (type) {
    case syn_stream:
    case syn_reply:
    case headers_type: {
      const std::size_t fixed = type == syn_stream ? 10 : 4;
      if (!needs(fixed)) return std::nullopt;
      // Read also where nobody needs them: the blocks of a direction are one zlib stream.
      auto fields = headers(body.substr(fixed));
      if (!fields) {
        violation_ = {"a header block is broken or too large"};
        return std::nullopt;
      }
      const auto stream = stream_at(body, 0);
      if (type == syn_stream) return Open{stream, std::move(*fields), last};
      if (last) return HeadersEnd{stream};
      return std::nullopt;
    }
    case rst_stream: return needs(8) ? std::optional<Frame>(Reset{stream_at(body, 0)}) : std::nullopt;
    case ping_type: return needs(4) ? std::optional<Frame>(Ping{get(body, 0, 4)}) : std::nullopt;
    case go_away_type: return GoAway{};
    default: return std::nullopt;
  }
}

std::optional<Headers> Decoder::headers(std::string_view block) {
  const auto text = inflater_->unpack(block);
  if (!text) return std::nullopt;
  std::size_t at = 0;
  const auto number = [&]() -> std::optional<std::uint32_t> {
    if (text->size() - at < 4) return std::nullopt;
    at += 4;
    return get(*text, at - 4, 4);
  };
  const auto field = [&]() -> std::optional<std::string> {
    const auto size = number();
    if (!size || *size > text->size() - at) return std::nullopt;
    at += *size;
    return text->substr(at - *size, *size);
  };
  const auto count = number();
  if (!count || *count > most_headers) return std::nullopt;
  Headers fields;
  for (std::uint32_t i = 0; i < *count; ++i) {
    auto name = field(), value = field();
    if (!name || !value) return std::nullopt;
    fields.emplace_back(lower(*name), std::move(*value));
  }
  return fields;
}

struct Encoder::Deflater {
  // Small windows: what is packed is a few words, and there is one of these for each connection.
  Deflater() {
    constexpr int window_bits = 11, memory_level = 1;
    WF_CHECK(deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, window_bits, memory_level, Z_DEFAULT_STRATEGY) == Z_OK);
    const auto& words = dictionary();
    WF_CHECK(deflateSetDictionary(&stream, bytes_of(words), static_cast<uInt>(words.size())) == Z_OK);
  }
  ~Deflater() { deflateEnd(&stream); }

  std::string pack(const Headers& fields) {
    std::string plain;
    put32(plain, static_cast<std::uint32_t>(fields.size()));
    for (const auto& [name, value] : fields) {
      for (const auto* part : {&name, &value}) {
        put32(plain, static_cast<std::uint32_t>(part->size()));
        plain += *part;
      }
    }
    std::string packed;
    stream.next_in = bytes_of(plain);
    stream.avail_in = static_cast<uInt>(plain.size());
    std::array<char, 512> room{};
    do {
      stream.next_out = reinterpret_cast<Bytef*>(room.data());
      stream.avail_out = room.size();
      deflate(&stream, Z_SYNC_FLUSH);
      packed.append(room.data(), room.size() - stream.avail_out);
    } while (stream.avail_out == 0);
    return packed;
  }

  z_stream stream{};
};

Encoder::Encoder() : deflater_(std::make_unique<Deflater>()) {}
Encoder::~Encoder() = default;

std::string Encoder::open(const Open& frame) {
  auto body = numbers(frame.stream, 0);
  put16(body, 0);  // priority and slot
  return control_frame(syn_stream, frame.last ? fin : 0, body + deflater_->pack(frame.headers));
}

std::string Encoder::reply(std::uint32_t stream) {
  return control_frame(syn_reply, 0, numbers(stream) + deflater_->pack({}));
}

std::string Encoder::data(const Data& frame) {
  WF_CHECK(frame.bytes.size() < 1u << 24);
  auto text = numbers(frame.stream, (frame.last ? 1u << 24 : 0u) | static_cast<std::uint32_t>(frame.bytes.size()));
  text += frame.bytes;
  return text;
}

std::string Encoder::reset(std::uint32_t stream) {
  constexpr std::uint32_t cancel = 5;
  return control_frame(rst_stream, 0, numbers(stream, cancel));
}

std::string Encoder::ping(std::uint32_t id) { return control_frame(ping_type, 0, numbers(id)); }
std::string Encoder::go_away(std::uint32_t last_stream) {
  return control_frame(go_away_type, 0, numbers(last_stream, 0));
}
std::string Encoder::window_update(std::uint32_t stream, std::uint32_t bytes) {
  return control_frame(window_type, 0, numbers(stream, bytes));
}

}  // namespace workflow::engine::spdy
