// src/engine/node/pod_probes.h: the three kinds of probes of each running container of a pod.
//   A startup probe holds the other two back. Without a readiness probe, being up is being ready.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "engine/node/pod_state.h"
#include "engine/node/probes.h"

namespace workflow::engine {

class PodProbes {
 public:
  // What a probe that failed often enough says.
  struct Verdict {
    std::string container, kind;  // Startup, Readiness, Liveness
    std::string why;              // in Kubernetes' words
    json::object probe;
  };
  struct Told {
    // Each is about a container that still runs under the id that was probed.
    std::function<void(const std::string& container, bool ready)> ready;
    std::function<void(const std::string& container)> started;
    std::function<void(const Verdict&)> unwell;
    std::function<void(const Verdict&)> lost;  // a startup or liveness probe gave up on it
  };
  PodProbes(Executor executor, cri::Client& runtime, http::Client& http, Told told);
  ~PodProbes();

  struct Start {
    std::string pod_ip, interval;                 // the annotation's
    bool was_started = false, was_ready = false;  // before the engine restarted
  };
  // `container`: its spec. Calls `started` and `ready` at once where no probe is asked for.
  void begin(const ContainerRecord& record, const json::object& container, const Start& start);
  void end(const std::string& container_id);
  Task<> stop();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace workflow::engine
