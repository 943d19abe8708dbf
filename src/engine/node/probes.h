// src/engine/node/probes.h: asking a container how it is: http, tcp, gRPC or a command inside it.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/node/cri_client.h"
#include "lib/http/http.h"
#include "lib/json/json.h"

namespace workflow::engine {

struct ProbeTiming {
  std::chrono::milliseconds initial_delay{0}, period{10'000}, timeout{1'000};
  std::chrono::milliseconds eager = period;  // instead of the period while it is not well
  int successes = 1, failures = 3;
  bool until_well = false;  // nobody needs more than one good answer: a startup probe
};
// `interval` ("100ms"), from the annotation engine.deis.io/probe-interval, is how often readiness and startup are asked
// until they are well. What is well costs no more than elsewhere, and failures take as long to count as elsewhere.
ProbeTiming timing_of(const json::object& probe, std::string_view interval);
std::optional<std::chrono::milliseconds> parse_interval(std::string_view text);  // 10 ms to 10 min

struct ProbeTarget {
  std::string pod_ip, container_id;
  const json::object* container = nullptr;  // its spec: named ports
};
// The words of an exec probe. As in Kubernetes, $(NAME) stands for what the container's own spec says of a variable.
std::vector<std::string> exec_command(const json::array& words, const json::object& container);
struct ProbeAnswer {
  enum class Verdict { well, unwell, unknown } verdict;  // unknown: the runtime was not there to ask
  std::string why;                                       // unwell: in Kubernetes' words
};
Task<ProbeAnswer> ask(cri::Client& runtime, http::Client& client, json::object probe, ProbeTarget target,
                      std::chrono::milliseconds timeout);

// What many answers come to. Pure.
class ProbeCount {
 public:
  ProbeCount(const ProbeTiming& timing, bool well) : timing_(timing), well_(well) {}
  // Whether there is something to tell: the verdict changed, or is unwell for the first time.
  bool note(ProbeAnswer::Verdict verdict);
  bool is_well() const { return well_; }

 private:
  ProbeTiming timing_;
  bool well_, told_unwell_ = false;
  std::int64_t good_ = 0, bad_ = 0;
};

// Asks again and again until cancelled, or until it is well where that is all that matters; tells each change of the
// verdict (and the first one).
Task<> watch_probe(cri::Client& runtime, http::Client& client, json::object probe, ProbeTarget target,
                   ProbeTiming timing, bool initially_well,
                   std::function<void(bool well, const std::string& why)> on_change);

}  // namespace workflow::engine
