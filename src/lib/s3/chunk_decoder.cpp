#include <algorithm>

#include "lib/base/encoding.h"
#include "lib/base/text.h"
#include "lib/s3/sigv4.h"

namespace workflow::s3 {

namespace {

constexpr std::size_t line_limit = 8u << 10;
constexpr std::size_t trailer_limit = 20;

struct ChunkLine {
  std::uint64_t size = 0;
  std::string signature;
};

// "10000;chunk-signature=<hex>"
std::optional<ChunkLine> parse_chunk_line(std::string_view line) {
  const auto semicolon = line.find(';');
  const auto digits = line.substr(0, semicolon);
  if (digits.empty() || digits.size() > 12) return std::nullopt;
  ChunkLine result;
  for (const char c : digits) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return std::nullopt;
    result.size = result.size * 16 + static_cast<std::uint64_t>(digit);
  }
  constexpr std::string_view field = "chunk-signature=";
  if (semicolon != std::string_view::npos && line.substr(semicolon + 1).starts_with(field)) {
    result.signature = line.substr(semicolon + 1 + field.size());
  }
  return result;
}

}  // namespace

struct ChunkDecoder::State {
  enum class Expect { size_line, data, data_end, trailer, last_newline, finished, failed };

  explicit State(Verified::Streaming s) : streaming(std::move(s)), previous(streaming.seed_signature) {}

  bool fail(std::string why) {
    error = std::move(why);
    expect = Expect::failed;
    return false;
  }

  std::string chunk_signature(const std::string& hash) const {
    return hex_signature(streaming.signing_key, "AWS4-HMAC-SHA256-PAYLOAD\n" + streaming.date + "\n" + streaming.scope +
                                                    "\n" + previous + "\n" + to_hex(sha256("")) + "\n" + hash);
  }

  // A chunk's data is complete: does its signature fit, each building on the one before?
  bool check_chunk() {
    if (!streaming.has_signatures) return true;
    const auto expected = chunk_signature(to_hex(digest.finish()));
    if (!equal_in_constant_time(expected, chunk.signature)) return fail("a chunk's signature does not match");
    previous = expected;
    digest = Digest(DigestKind::sha256);
    return true;
  }

  bool on_size_line() {
    auto parsed = parse_chunk_line(line);
    if (!parsed) return fail("malformed chunk size");
    chunk = std::move(*parsed);
    left = chunk.size;
    if (left > 0) {
      expect = Expect::data;
      return true;
    }
    if (!check_chunk()) return false;
    expect = streaming.has_trailer ? Expect::trailer : Expect::last_newline;
    return true;
  }

  bool on_trailer_line() {
    if (line.empty()) return on_end_of_trailers();
    const auto colon = line.find(':');
    if (colon == std::string::npos || trailers.size() >= trailer_limit) return fail("malformed trailer");
    auto name = lower(trim(std::string_view(line).substr(0, colon)));
    std::string value(trim(std::string_view(line).substr(colon + 1)));
    if (name == "x-amz-trailer-signature")
      trailer_signature = value;
    else
      trailers[name] = value;
    return true;
  }

  bool on_end_of_trailers() {
    expect = Expect::finished;
    if (!streaming.has_signatures) return true;
    std::string text;
    for (const auto& [name, value] : trailers) text.append(name).append(":").append(value).append("\n");
    const auto expected =
        hex_signature(streaming.signing_key, "AWS4-HMAC-SHA256-TRAILER\n" + streaming.date + "\n" + streaming.scope +
                                                 "\n" + previous + "\n" + to_hex(sha256(text)));
    if (equal_in_constant_time(expected, trailer_signature)) return true;
    return fail("the trailer's signature does not match");
  }

  bool on_line() {
    switch (expect) {
      case Expect::size_line: return on_size_line();
      case Expect::trailer: return on_trailer_line();
      case Expect::data_end:
        if (!line.empty()) return fail("a chunk is longer than its size says");
        expect = Expect::size_line;
        return check_chunk();
      case Expect::last_newline:
        if (!line.empty()) return fail("more after the last chunk");
        expect = Expect::finished;
        return true;
      case Expect::data:
      case Expect::finished:
      case Expect::failed: break;
    }
    return false;
  }

  std::string_view take_data(std::string_view bytes, std::string& out) {
    const auto piece = bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left, bytes.size())));
    out.append(piece);
    if (streaming.has_signatures) digest.update(piece);
    left -= piece.size();
    if (left == 0) expect = Expect::data_end;
    return bytes.substr(piece.size());
  }

  Verified::Streaming streaming;
  std::string previous;
  Digest digest{DigestKind::sha256};
  Expect expect = Expect::size_line;
  ChunkLine chunk;
  std::uint64_t left = 0;
  std::string line;
  std::string trailer_signature;
  std::map<std::string, std::string> trailers;
  std::string error;
};

ChunkDecoder::ChunkDecoder(Verified::Streaming streaming) : state_(std::make_unique<State>(std::move(streaming))) {}
ChunkDecoder::~ChunkDecoder() = default;

bool ChunkDecoder::feed(std::string_view bytes, std::string& out) {
  auto& state = *state_;
  while (!bytes.empty()) {
    if (state.expect == State::Expect::failed) return false;
    if (state.expect == State::Expect::finished) return state.fail("more after the end");
    if (state.expect == State::Expect::data) {
      bytes = state.take_data(bytes, out);
      continue;
    }
    const auto newline = bytes.find('\n');
    state.line.append(bytes.substr(0, newline));
    if (state.line.size() > line_limit) return state.fail("a chunk's header is too long");
    if (newline == std::string_view::npos) return true;
    bytes.remove_prefix(newline + 1);
    if (!state.line.ends_with('\r')) return state.fail("a chunk's header does not end in CRLF");
    state.line.pop_back();
    if (!state.on_line()) return false;
    state.line.clear();
  }
  return state.expect != State::Expect::failed;
}

bool ChunkDecoder::finished() const { return state_->expect == State::Expect::finished; }
const std::string& ChunkDecoder::error() const { return state_->error; }
const std::map<std::string, std::string>& ChunkDecoder::trailers() const { return state_->trailers; }

}  // namespace workflow::s3
