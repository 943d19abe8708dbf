// src/engine/node/streams.h: exec and attach between a client's WebSocket and containerd's.
#pragma once
#include <string>

#include "engine/node/node.h"
#include "lib/http/http.h"

namespace workflow::engine {

// An answer that upgrades the request and relays frames to `url`, containerd's streaming server. Throws invalid for a
// client that asks for SPDY, which nothing newer than kubectl 1.28 needs.
http::Response relay(const http::Request& request, http::Client& client, std::string url, ExecOptions options);

}  // namespace workflow::engine
