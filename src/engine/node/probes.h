// src/engine/node/probes.h: asking a container how it is: http, tcp or a command inside it.
#pragma once
#include <chrono>
#include <functional>
#include <string>

#include "engine/node/cri_client.h"
#include "lib/http/http.h"
#include "lib/json/json.h"

namespace workflow::engine {

struct ProbeTiming {
  std::chrono::milliseconds initial_delay{0}, period{10'000}, timeout{1'000};
  int successes = 1, failures = 3;
};
// `interval` ("100ms"), from the annotation engine.deis.io/probe-interval, replaces the period of readiness and startup.
ProbeTiming timing_of(const json::object& probe, std::string_view interval);
std::optional<std::chrono::milliseconds> parse_interval(std::string_view text);  // 10 ms to 10 min

struct ProbeTarget {
  std::string pod_ip, container_id;
  const json::object* container = nullptr;  // its spec: named ports
};
// nullopt: well; else what is wrong, in Kubernetes' words.
Task<std::optional<std::string>> ask(cri::Client& runtime, http::Client& client, json::object probe, ProbeTarget target,
                                     std::chrono::milliseconds timeout);

// Asks again and again until cancelled; tells each change of the verdict (and the first one).
Task<> watch_probe(cri::Client& runtime, http::Client& client, json::object probe, ProbeTarget target, ProbeTiming timing,
                   bool initially_well, std::function<void(bool well, const std::string& why)> on_change);

}  // namespace workflow::engine
