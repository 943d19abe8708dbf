// src/lib/http/health.h: the pages by which every process says how it is: /healthz, /readiness, /metrics.
//   Alive is whoever answers. Ready is who can do its work: `why_not_ready` says what is missing, and the supervisor
//   what of the background work keeps failing. /metrics has the supervisor's figures, those of requests, and the
//   component's.
#pragma once
#include "lib/http/http.h"

namespace workflow {
class Supervisor;
}

namespace workflow::http {

struct Health {
  const Supervisor& supervisor;                                               // outlives the router
  std::function<Task<std::optional<std::string>>()> why_not_ready = nullptr;  // none: ready as soon as it answers
  std::function<std::string()> metrics = nullptr;
};
void add_health(Router& router, Health health);

// For a `why_not_ready` that has nobody to ask.
std::function<Task<std::optional<std::string>>()> at_once(std::function<std::optional<std::string>()> why_not_ready);

// A server for these pages alone, or with what the caller added to `router`; it ends without waiting for its clients.
Server health_server(Executor executor, std::uint16_t port, std::shared_ptr<const Router> router);

}  // namespace workflow::http
