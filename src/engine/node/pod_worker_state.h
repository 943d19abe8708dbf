// src/engine/node/pod_worker_state.h: the inside of PodWorker, for the files that make it up and no others:
//   pod_worker.cpp (the loop), pod_start.cpp (volumes, sandbox, starts), pod_stop.cpp (probes' verdicts, ends,
//   removal).
#pragma once
#include <map>
#include <set>

#include "engine/node/attempt.h"
#include "engine/node/pod_plan.h"
#include "engine/node/pod_probes.h"
#include "engine/node/pod_view.h"
#include "engine/node/pod_volumes.h"
#include "engine/node/pod_worker.h"
#include "engine/node/retry.h"

namespace workflow::engine {

struct PodWorker::State {
  State(NodeParts& p, PodKey pod, Adopted found);

  NodeParts& parts;
  PodView view;
  Adopted adopted;
  PodRecord record;
  Notifier changes;
  TaskGroup tasks;   // everything but …
  TaskGroup starts;  // … the starts of containers, which a pod that leaves cancels
  PodVolumes volumes;
  PodProbes probes;

  // --- what is known beside the record

  struct Work {
    bool busy = false, done = false;
    Retry retry;
    PodJob as_fact() const { return {busy, done, retry.not_before()}; }
  };
  Work set_up, refresh, release, remove, forget;
  struct Stop {
    Time deadline{};
    bool busy = false, is_told = false, is_hooked = false;
    Retry retry;
  };
  std::map<std::string, Stop> stops;             // by container id
  std::set<std::string> starting;                // by name
  std::map<std::string, Retry> interruptions;    // of starts, by name
  std::set<std::string> oom_killed;              // ids
  std::set<std::string> unnamed;                 // ids that start and that the record does not name yet …
  std::map<std::string, cri::Event> early_ends;  // … and those of them that have ended meanwhile
  std::uint32_t sandbox_attempt = 0;
  bool has_leftovers = false;  // of sandboxes or containers, in the runtime
  bool was_finished = false, reported = false, volumes_stale = false;
  bool gone = false;  // from the store
  bool begun = false, was_gone_at_first = false, leaving = false;
  Time stop_by{};
  std::optional<Time> active_deadline;
  Time last_wall{};  // two clocks at the last look
  std::chrono::steady_clock::time_point last_steady;

  const json::object& spec() const { return view.spec(); }
  RestartPolicy policy() const { return restart_policy_of(spec()); }
  Time now() const { return parts.clock.now(); }
  std::chrono::seconds grace() const;
  void event(std::string type, std::string reason, std::string message);
  void changed();
  ContainerRecord* find(const std::string& container);
  ContainerRecord* running(const std::string& id);

  // --- the loop (pod_worker.cpp)

  Task<> run();
  void begin();  // learns what there is
  std::optional<Plan> next_plan();
  void carry_out(const Action& action);
  void look_up();
  void notice_leaving();
  void follow_the_clock();
  PodFacts facts() const;
  Task<> wait_for_change(std::uint64_t seen, std::optional<Time> until);
  Task<> keep_status();
  Task<> write_status();
  // Does a job in the background. What it throws is told to `failed`, and it is still to be done.
  void do_work(Work& work, const char* name, Task<> job, std::function<void(const Error&)> failed);

  // --- how it starts (pod_start.cpp)

  Task<> set_everything_up();
  void setting_up_failed(const Error& error);
  Task<> ensure_sandbox();
  Task<> hold_for_policies();
  Task<> sandbox_ended(std::string id);
  Task<> start_container(std::string container);
  struct StartStep;
  Task<> make_and_start(ContainerRecord& one, StartStep& step);
  void starting_failed(ContainerRecord& one, const StartStep& step, const Error& error);
  Task<> remove_old_containers(const ContainerRecord& one, int attempt);
  Task<> after_start(std::string container, std::string id);
  enum class Ran { now, before };  // this engine started it, or adopted it: what was ready then is ready now
  void begin_probes(const ContainerRecord& one, Ran ran);
  bool was_started(const std::string& container) const;
  const char* set_up_step = "";  // the reason of its event, should it fail

  // --- how it ends (pod_stop.cpp)

  void doom(const std::string& container, Doom its);
  void out_of_memory(const std::string& id);
  Task<> look_at(std::string id, std::optional<cri::Event> told);
  Task<> ended(std::string id, Termination end);
  Task<> run_hook(json::object handler, std::string id, std::chrono::seconds limit);
  Task<> stop_container(std::string container, Time deadline);
  Task<> hurry(std::string container, Time deadline);
  void give_up();
  Task<> release_sandbox();
  Task<> remove_everything();
  Task<> delete_object();
  std::chrono::seconds left_until(Time deadline) const;
};

}  // namespace workflow::engine
