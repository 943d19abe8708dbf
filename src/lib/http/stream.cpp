#include "lib/http/stream.h"

#include <algorithm>

#include "lib/base/error.h"

namespace workflow::http {

namespace {

constexpr std::size_t piece_limit = 64u << 10;

[[noreturn]] void throw_broken_off() {
  throw Error{ErrorKind::unavailable, "the peer broke off in the middle of a body"};
}

}  // namespace

void Stream::consume(std::size_t count) {
  used_ += count;
  if (used_ < buffer_.size()) return;
  buffer_.clear();
  used_ = 0;
  if (buffer_.capacity() > piece_limit) buffer_.shrink_to_fit();
}

Task<bool> Stream::fill(std::size_t at_most) {
  if (used_ > 0) {
    buffer_.erase(0, used_);
    used_ = 0;
  }
  const auto old = buffer_.size();
  buffer_.resize(old + at_most);
  std::size_t got = 0;
  try {
    got = co_await transport_->read_some(asio::buffer(buffer_.data() + old, at_most));
  } catch (...) {
    buffer_.resize(old);
    throw;
  }
  buffer_.resize(old + got);
  co_return got > 0;
}

Task<std::string> Stream::read_body(BodyProgress& body) {
  if (body.finished) co_return "";
  if (body.framing.kind == Framing::Kind::chunked) co_return co_await read_chunked(body);
  co_return co_await read_plain(body);
}

Task<std::string> Stream::read_plain(BodyProgress& body) {
  const bool counted = body.framing.kind == Framing::Kind::length;
  const auto want = static_cast<std::size_t>(counted ? std::min<std::uint64_t>(body.left, piece_limit) : piece_limit);
  std::string piece;
  if (!unread().empty()) {
    piece = unread().substr(0, want);
    consume(piece.size());
  } else {
    piece.resize(want);
    piece.resize(co_await transport_->read_some(asio::buffer(piece)));
  }
  if (piece.empty()) {
    if (counted) throw_broken_off();
    body.finished = true;
    co_return piece;
  }
  if (counted) {
    body.left -= piece.size();
    body.finished = body.left == 0;
  }
  co_return piece;
}

Task<std::string> Stream::read_chunked(BodyProgress& body) {
  std::string piece;
  for (;;) {
    const auto used = body.chunks.feed(unread(), piece, piece_limit);
    if (!used) throw Error{ErrorKind::invalid, "the body's chunks are malformed"};
    consume(*used);
    body.finished = body.chunks.finished();
    if (body.finished || !piece.empty()) co_return piece;
    if (!co_await fill(16u << 10)) throw_broken_off();
  }
}

}  // namespace workflow::http
