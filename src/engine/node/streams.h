// src/engine/node/streams.h: what exec and attach share with the client: its WebSocket; and attach's relay.
#pragma once
#include <functional>
#include <string>

#include "lib/http/http.h"

namespace workflow::engine {

// An answer that upgrades the request to the channel protocol of Kubernetes, v5 or v4. Throws invalid for a client that
// asks for SPDY. Ask only when nothing else is in the way: a kubectl whose WebSocket is refused tries SPDY, and shows
// what is said to that.
http::Response channel_stream(const http::Request& request, std::function<Task<>(http::WebSocket&)> run);

// Relays frames between a client and `url`, containerd's streaming server, until either ends.
Task<> relay(http::WebSocket& socket, http::Client& client, std::string url);

}  // namespace workflow::engine
