#include "engine/node/pod_plan.h"

#include <algorithm>

namespace workflow::engine {
namespace {

class Planner {
 public:
  Planner(const PodRecord& pod, const PodFacts& facts) : pod_(pod), facts_(facts) {}

  Plan plan() {
    if (facts_.leaving) {
      leave();
    } else if (is_finished(pod_, facts_)) {
      rest();
    } else {
      live();
    }
    return std::move(plan_);
  }

 private:
  void act(Action::Kind kind, std::string container = {}, Time deadline = {}) {
    plan_.actions.push_back({kind, std::move(container), deadline});
  }
  void look_again(Time time) {
    if (time > facts_.now) plan_.again = std::min(plan_.again.value_or(time), time);
  }

  void begin(const PodJob& job, Action::Kind kind) {
    if (job.busy || job.done) return;
    if (job.not_before > facts_.now) return look_again(job.not_before);
    act(kind);
  }

  void stop(const ContainerRecord& one, Time deadline) {
    const auto job = facts_.stops.find(one.id);
    if (job == facts_.stops.end()) return act(Action::Kind::stop, one.name, deadline);
    if (job->second.busy) {
      if (deadline < job->second.deadline) act(Action::Kind::hurry, one.name, deadline);
    } else if (job->second.not_before > facts_.now) {
      look_again(job->second.not_before);
    } else {
      act(Action::Kind::stop, one.name, std::min(deadline, job->second.deadline));
    }
  }

  // The runtime could not stop it by itself, and it had its time: it goes with the sandbox.
  bool is_left_to_the_sandbox(const ContainerRecord& one) const {
    const auto job = facts_.stops.find(one.id);
    return job != facts_.stops.end() && !job->second.busy && facts_.now >= facts_.stop_by;
  }

  // The work first, then the sidecars that served it, the last one first. Whether anything still runs.
  bool stop_all(Time deadline) {
    bool any = false;
    for (const auto& one : pod_.containers) {
      if (one.phase != Phase::running || one.sidecar) continue;
      stop(one, deadline);
      any = true;
    }
    if (any) return true;
    const auto last = std::find_if(pod_.containers.rbegin(), pod_.containers.rend(),
                                   [](const auto& one) { return one.phase == Phase::running; });
    if (last == pod_.containers.rend()) return false;
    stop(*last, deadline);
    return true;
  }

  void leave() {
    if (!facts_.starting.empty()) act(Action::Kind::cancel_starts);
    const bool at_its_end = std::ranges::all_of(pod_.containers, [this](const auto& one) {
      return one.phase != Phase::running || is_left_to_the_sandbox(one);
    });
    if (!at_its_end) {
      stop_all(facts_.stop_by);
      return look_again(facts_.stop_by);
    }
    const bool busy = !facts_.starting.empty() || facts_.set_up.busy || facts_.refresh.busy || facts_.release.busy;
    if (busy) return;
    if (!facts_.remove.done) return begin(facts_.remove, Action::Kind::remove);
    begin(facts_.forget, Action::Kind::forget);
    plan_.is_over = facts_.forget.done;
  }

  // A finished pod keeps its logs and its status, not its address and its processes.
  void rest() {
    if (stop_all(facts_.stop_by > Time{} ? facts_.stop_by : facts_.now + facts_.grace) || !facts_.starting.empty())
      return;
    if (!pod_.sandbox_id.empty()) begin(facts_.release, Action::Kind::release);
  }

  void live() {
    if (facts_.active_deadline) {
      if (*facts_.active_deadline <= facts_.now) return act(Action::Kind::give_up);
      look_again(*facts_.active_deadline);
    }
    for (const auto& one : pod_.containers) {
      if (one.phase == Phase::running && one.doom) stop(one, one.doom->deadline);
    }
    if (const auto next = next_start(pod_, facts_.policy)) look_again(*next);
    if (!facts_.set_up.done) return begin(facts_.set_up, Action::Kind::set_up);
    if (facts_.refresh_at) {
      if (*facts_.refresh_at <= facts_.now) {
        begin(facts_.refresh, Action::Kind::refresh);
      } else {
        look_again(*facts_.refresh_at);
      }
    }
    if (work_is_over(pod_, facts_.policy)) stop_all(facts_.now + facts_.grace);
    for (const auto index : startable(pod_, facts_.policy, facts_.now)) {
      const auto& name = pod_.containers[index].name;
      if (!facts_.starting.contains(name)) act(Action::Kind::start, name);
    }
  }

  const PodRecord& pod_;
  const PodFacts& facts_;
  Plan plan_;
};

}  // namespace

bool is_finished(const PodRecord& pod, const PodFacts& facts) {
  if (facts.was_finished) return true;
  const auto phase = phase_of(pod, facts.policy);
  return phase == "Succeeded" || phase == "Failed";
}

Plan plan_pod(const PodRecord& pod, const PodFacts& facts) { return Planner(pod, facts).plan(); }

}  // namespace workflow::engine
