// src/lib/http/stream.h: a transport with what was read from it but not yet used. Inside lib/http only.
#pragma once
#include <memory>
#include <string>

#include "lib/http/transport.h"
#include "lib/http/wire.h"

namespace workflow::http {

// The part of a message's body that is still to come.
struct BodyProgress {
  Framing framing;
  std::uint64_t left = 0;
  ChunkedDecoder chunks;
  bool finished = true;

  static BodyProgress of(Framing framing) { return {framing, framing.length, {}, framing.kind == Framing::Kind::none}; }
};

class Stream {
 public:
  explicit Stream(std::unique_ptr<Transport> transport) : transport_(std::move(transport)) {}
  Transport& transport() { return *transport_; }
  std::string_view unread() const { return std::string_view(buffer_).substr(used_); }
  void consume(std::size_t count);
  // Waits for more bytes. False: the peer ended its side.
  Task<bool> fill(std::size_t at_most = 4u << 10);
  // At most 64 KiB of body; "" once `body` is finished. Throws invalid (broken chunks), unavailable (broken off).
  Task<std::string> read_body(BodyProgress& body);

 private:
  Task<std::string> read_plain(BodyProgress& body);
  Task<std::string> read_chunked(BodyProgress& body);
  std::unique_ptr<Transport> transport_;
  std::string buffer_;
  std::size_t used_ = 0;
};

}  // namespace workflow::http
