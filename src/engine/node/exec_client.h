// src/engine/node/exec_client.h: the client of an exec or attach, whichever of Kubernetes' protocols it speaks:
// channels
//   on a WebSocket ([v5., v4. or base64.]channel.k8s.io), or a stream for each on SPDY/3.1.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "engine/node/exec_frames.h"
#include "engine/node/pod_access.h"
#include "lib/http/http.h"

namespace workflow::engine {

class ExecClient {
 public:
  virtual ~ExecClient() = default;
  virtual Task<std::optional<ExecFrame>> read() = 0;                      // nullopt once the client has gone
  virtual Task<> write(ExecChannel channel, std::string_view bytes) = 0;  // out or err; throws once it has gone
  virtual Task<> finish(const json::object& status) = 0;                  // the last word
  virtual Task<> gone() = 0;  // resolves soon after the client has gone, also while nobody reads
};

// An answer that upgrades the request. Throws invalid for a client that asks for no upgrade that is known. Ask only
// when nothing else is in the way: a kubectl whose WebSocket is refused tries SPDY, and shows what is said to that.
http::Response exec_stream(const http::Request& request, Executor executor, ExecOptions options,
                           std::function<Task<>(ExecClient&)> run);

}  // namespace workflow::engine
