// src/engine/node/pod_plan.h: what is to be done next for a pod, given what is known of it. Pure.
//   The worker carries it out, and plans anew whenever something has happened. What fails is simply still to be done:
//   no failure is ever a reason to forget what is known.
#pragma once
#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/node/pod_state.h"

namespace workflow::engine {

// Something that is done once for the pod as a whole.
struct PodJob {
  bool busy = false, done = false;
  Time not_before{};  // it has failed
};

// The end of one container, by its id.
struct StopJob {
  Time deadline{};  // when it is killed
  bool busy = false;
  Time not_before{};  // it has failed
};

struct PodFacts {
  Time now{};
  RestartPolicy policy = RestartPolicy::always;
  std::chrono::seconds grace{30};
  std::optional<Time> active_deadline;  // activeDeadlineSeconds
  bool was_finished = false;            // before this engine began: it never runs again
  bool leaving = false;                 // it is being deleted, or gone from the store
  Time stop_by{};                       // of a pod that leaves or was given up: its last process is killed
  // Volumes and sandbox; volumes written anew; the sandbox of a finished pod stopped; everything taken off the
  // machine; the object deleted from the store.
  PodJob set_up, refresh, release, remove, forget;
  std::optional<Time> refresh_at;  // the volumes are stale from then on
  std::set<std::string> starting;  // names of containers that are being started
  std::map<std::string, StopJob> stops;
};

struct Action {
  enum class Kind {
    set_up,
    refresh,
    start,
    stop,           // by `deadline`
    hurry,          // it is being stopped, and shall be killed by an earlier `deadline`
    cancel_starts,  // nobody wants them any more
    give_up,        // the pod ran longer than it may
    release,
    remove,
    forget
  } kind;
  std::string container{};  // its name; of start, stop and hurry
  Time deadline{};
  bool operator==(const Action&) const = default;
};

struct Plan {
  std::vector<Action> actions;
  std::optional<Time> again;  // when to plan anew by time alone
  bool is_over = false;       // the pod has left no trace
};
Plan plan_pod(const PodRecord& pod, const PodFacts& facts);

// Never to run again: its phase is Succeeded or Failed.
bool is_finished(const PodRecord& pod, const PodFacts& facts);

}  // namespace workflow::engine
