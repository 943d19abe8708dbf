// src/lib/http/upgrade.h: a connection that goes on in a protocol that is neither HTTP nor WebSocket (RFC 9110,
// section 7.8), server side.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "lib/http/http.h"

namespace workflow::http {

// Bytes both ways. One reader and one writer may run at a time. A peer may pause for as long as it likes.
class ByteStream : public BodyWriter {
 public:
  virtual Task<std::string> read() = 0;  // at most 64 KiB; "" once the peer has ended its side
  virtual bool has_ended() const = 0;    // whether the peer has ended its side, also while what it sent waits unread
};

// By Connection and Upgrade, whatever the method.
bool wants_upgrade(const Request& request, std::string_view protocol);
// 101, and `run` until it returns; then the connection ends.
Response upgrade_response(const std::string& protocol, std::function<Task<>(ByteStream&)> run);

}  // namespace workflow::http
