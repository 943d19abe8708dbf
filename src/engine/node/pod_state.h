// src/engine/node/pod_state.h: what is known of a pod's containers, and what follows from it. Pure.
#pragma once
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/json/json.h"

namespace workflow::engine {

struct Termination {
  std::string container_id;
  int exit_code = 0;
  std::string reason, message;  // Completed, Error, OOMKilled, ContainerStatusUnknown
  Time started{}, finished{};
  bool operator==(const Termination&) const = default;
};

// A probe gave up on a container: it is to end.
struct Doom {
  Time deadline{};     // when it is killed
  std::string reason;  // LivenessProbeFailed, StartupProbeFailed
  std::string why;     // what the probe met
  std::string event;   // in Kubernetes' words
  bool operator==(const Doom&) const = default;
};

enum class Phase { waiting, running, terminated };
// One container of the pod, from its spec's point of view.
struct ContainerRecord {
  std::string name, image;
  bool init = false, sidecar = false;  // sidecar: an init container that stays
  Phase phase = Phase::waiting;
  std::string id, image_id;
  int restarts = 0;
  Time started{};
  Termination last;                                   // valid when phase is terminated
  std::optional<Termination> previous;                // the one before
  std::string reason = "ContainerCreating", message;  // while waiting
  bool ready = false, startup_done = false;
  std::chrono::milliseconds backoff{0};
  Time not_before{};         // the next start
  std::optional<Doom> doom;  // while it runs
};

struct PodRecord {
  std::vector<ContainerRecord> containers;  // init containers first, as the spec lists them
  std::string sandbox_id, ip, host_ip;
  Time started{};
  bool terminating = false;
  // The pod as a whole was given up (DeadlineExceeded): it is Failed whatever its containers do.
  std::string failure, failure_message;
};

enum class RestartPolicy { always, on_failure, never };
RestartPolicy restart_policy_of(const json::object& pod_spec);

// Whether the terminated container is to run again.
bool should_restart(const ContainerRecord& record, RestartPolicy policy);
// 0 at first, then 10 s doubling to 5 min; anew after 10 minutes of running.
std::chrono::milliseconds next_backoff(std::chrono::milliseconds last, std::chrono::nanoseconds ran);

// The container has ended: what is known then, and from when on it may start again.
void note_end(ContainerRecord& record, const Termination& end);
// The clock of the machine was set: what is planned moves with it, what has happened stays.
void shift_plans(PodRecord& pod, std::chrono::nanoseconds jump);
// It could not be started, in Kubernetes' words.
void note_failed_start(ContainerRecord& record, const std::string& reason, const std::string& message, Time now);

// Which containers may be started now: init containers one after the other, then all others.
std::vector<std::size_t> startable(const PodRecord& pod, RestartPolicy policy, Time now);
// The earliest moment at which `startable` may grow by time alone.
std::optional<Time> next_start(const PodRecord& pod, RestartPolicy policy);
bool initialized(const PodRecord& pod);
// Every container that is not an init container has ended for good: the sidecars have nobody left to serve.
bool work_is_over(const PodRecord& pod, RestartPolicy policy);
std::string phase_of(const PodRecord& pod, RestartPolicy policy);

// The status object as Kubernetes reports it. `before` keeps transition times, and the conditions that others set.
json::object status_of(const PodRecord& pod, const json::object& pod_object, const json::object* before, Time now);

}  // namespace workflow::engine
