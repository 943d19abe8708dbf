// src/engine/node/streams.h: attach: a client and containerd's streaming server.
#pragma once
#include <string>

#include "engine/node/exec_client.h"
#include "lib/http/http.h"

namespace workflow::engine {

// Relays between a client and `url`, which speaks v4.channel.k8s.io, until either ends.
Task<> relay(ExecClient& client, http::Client& http, std::string url);

}  // namespace workflow::engine
