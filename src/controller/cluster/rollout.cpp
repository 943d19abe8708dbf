#include "controller/cluster/rollout.h"

#include <algorithm>
#include <array>

#include "lib/base/text.h"

namespace workflow::controller::cluster {

namespace {
using State = Judgement::State;
using kube::ContainerState;
using kube::ContainerStatus;

template <std::size_t N>
bool is_one_of(std::string_view word, const std::array<std::string_view, N>& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

constexpr std::array<std::string_view, 6> image_reasons{"ErrImagePull",      "ImagePullBackOff", "InvalidImageName",
                                                        "ErrImageNeverPull", "ErrImageInspect",  "RegistryUnavailable"};
constexpr std::array<std::string_view, 3> start_reasons{"CreateContainerConfigError", "CreateContainerError",
                                                        "RunContainerError"};
// Refusals that time does not heal.
constexpr std::array<std::string_view, 3> final_refusals{"exceeded quota", "is invalid", "violates PodSecurity"};

int wanted_now(const RolloutView& view) {
  if (view.until == RolloutView::Until::over) return view.replicas;
  return std::clamp(view.replicas + view.surge - view.old_serving, 0, view.replicas);
}

// One look at a rollout, and what it finds out about time.
struct Look {
  const RolloutView& view;
  const RolloutLimits& limits;
  FirstSeen& seen;
  Time now;
  std::optional<Time> again;  // when to look next

  Time since(const std::string& key) { return seen.try_emplace(key, now).first->second; }
  void look_again_at(Time time) { again = std::min(again.value_or(time), time); }
};

Judgement failed(std::string reason, std::string pod = "") {
  return {.state = State::failed, .reason = std::move(reason), .pod = std::move(pod)};
}

std::string with_message(std::string text, const std::string& message) {
  return message.empty() ? text : text + ": " + message;
}

// How a container ended, in a reader's words.
std::string exit_text(const ContainerState& ended) {
  if (ended.reason == "OOMKilled") return "ran out of memory and was killed; give it more with `deis limits:set`";
  if (ended.exit_code > 128 && ended.exit_code < 160) {
    return "was ended by signal " + std::to_string(ended.exit_code - 128);
  }
  return "exited with status " + std::to_string(ended.exit_code);
}

// In the words that clients of the original look for, where the runtime's own say which of the two it is.
std::string pull_problem(const std::string& image, const ContainerState& state) {
  const auto words = lower(state.message);
  auto says = [&](std::initializer_list<std::string_view> any) {
    return std::ranges::any_of(any, [&](auto word) { return words.find(word) != std::string::npos; });
  };
  const auto why = with_message("", state.message) + " (" + state.reason + ")";
  if (says({"denied", "unauthorized", "authentication required", "authorization failed", "forbidden", "no basic auth"}))
    return "Permission Denied attempting to pull image " + image + why + ". Check the credentials of its registry";
  if (says({"not found", "manifest unknown", "does not exist"}))
    return "image " + image + " not found" + why + ". Check its name and its tag";
  return "cannot pull the image " + image + why + ". Check the image's name and the credentials of its registry";
}

// The cluster ended it, because a probe said so: the probe and its answer. "" when it ended by itself.
std::string failed_probe(const RolloutView& view, const std::string& pod) {
  const kube::EventView* answer = nullptr;
  bool was_killed = false;
  for (const auto& event : view.events) {
    if (event.name != pod) continue;
    for (const std::string_view probe : {"liveness", "startup"}) {
      was_killed = was_killed || (event.reason == "Killing" &&
                                  event.message.find("failed " + std::string(probe) + " probe") != std::string::npos);
    }
    const bool is_answer =
        event.reason == "Unhealthy" && (event.message.starts_with("Liveness") || event.message.starts_with("Startup"));
    if (is_answer && (answer == nullptr || !answer->last || (event.last && *event.last >= *answer->last)))
      answer = &event;
  }
  return was_killed && answer != nullptr ? answer->message : "";
}

// A container that ended twice, or that the cluster no longer restarts at once, will not come up.
std::optional<Judgement> judge_crash(const std::string& pod, const ContainerStatus& c, const RolloutView& view) {
  const bool ended_now = c.state.kind == ContainerState::Kind::terminated;
  const bool backing_off = c.state.kind == ContainerState::Kind::waiting && c.state.reason == "CrashLoopBackOff";
  if (!backing_off && c.restarts < 2 && !(ended_now && c.restarts >= 1)) return std::nullopt;
  Judgement crash{.state = State::failed, .pod = pod, .previous = !ended_now};
  if (const auto answer = failed_probe(view, pod); !answer.empty()) {
    crash.reason = "the process was stopped again and again by the health check that it failed: " + answer;
    return crash;
  }
  const auto& last = ended_now ? c.state : c.last_state;
  const std::string why =
      last.kind == ContainerState::Kind::terminated ? exit_text(last) : "keeps ending (CrashLoopBackOff)";
  crash.reason = "the process " + why + " soon after its start";
  return crash;
}

std::optional<Judgement> judge_pod(const json::object& pod, Look& look) {
  if (kube::is_being_deleted(pod)) return std::nullopt;
  const auto name = kube::name_of(pod);
  const auto status = kube::pod_status_of(pod);
  if (status.phase == "Failed") return failed(with_message("a pod failed", status.reason + " " + status.message), name);
  const auto* scheduled = kube::find_condition(status.conditions, "PodScheduled");
  if (scheduled != nullptr && scheduled->status == "False" && scheduled->reason == "Unschedulable" &&
      !look.limits.ignore_scheduling) {
    const auto deadline = look.since("unschedulable/" + name) + look.limits.patience;
    if (look.now >= deadline) {
      return failed(with_message("no node can run it", scheduled->message) +
                    ". Lower its limits, change its tags, or add a node");
    }
    look.look_again_at(deadline);
  }
  const auto* container = status.find_container(look.view.container);
  if (container == nullptr) return std::nullopt;
  const auto& state = container->state;
  if (state.kind == ContainerState::Kind::waiting && is_one_of(state.reason, image_reasons)) {
    return failed(pull_problem(container->image, state));
  }
  if (state.kind == ContainerState::Kind::waiting && is_one_of(state.reason, start_reasons)) {
    return failed(with_message("the container cannot be started", state.message) + " (" + state.reason + ")", name);
  }
  return judge_crash(name, *container, look.view);
}

std::int64_t status_number(const json::object& deployment, std::string_view key) {
  return find_integer(deployment, {"status", key}).value_or(0);
}

bool has_seen_our_write(const RolloutView& view) {
  return status_number(*view.deployment, "observedGeneration") >= view.generation;
}

std::optional<Judgement> judge_refusals(Look& look) {
  const auto& view = look.view;
  std::string message;
  // A condition of before our write is about the attempt before.
  const auto conditions =
      has_seen_our_write(view) ? kube::conditions_of(*view.deployment) : std::vector<kube::Condition>{};
  if (const auto* failure = kube::find_condition(conditions, "ReplicaFailure");
      failure != nullptr && failure->status == "True") {
    message = failure->message;
  }
  for (const auto& event : view.events) {
    if (event.reason == "FailedCreate") message = event.message;
  }
  const bool one_is_coming =
      std::any_of(view.pods.begin(), view.pods.end(), [](const auto& pod) { return !kube::is_pod_ready(*pod); });
  if (message.empty() || one_is_coming || static_cast<int>(view.pods.size()) >= wanted_now(view)) {
    look.seen.erase("refused");
    return std::nullopt;
  }
  const bool is_final = view.pods.empty() && std::any_of(final_refusals.begin(), final_refusals.end(), [&](auto words) {
                          return message.find(words) != std::string::npos;
                        });
  const auto deadline = look.since("refused") + look.limits.patience;
  if (is_final || look.now >= deadline) return failed("the cluster refuses its pods: " + message);
  look.look_again_at(deadline);
  return std::nullopt;
}

// The pods that serve; without a probe those that have lived for a while.
int count_ready(Look& look) {
  const auto& view = look.view;
  int ready = 0;
  for (const auto& pod : view.pods) {
    const auto key = "ready/" + kube::uid_of(*pod);
    if (!kube::is_pod_ready(*pod)) {
      look.seen.erase(key);
      continue;
    }
    const auto settled = look.since(key) + look.limits.settle;
    if (view.probed || view.old_pods.contains(kube::uid_of(*pod)) || look.now >= settled) {
      ++ready;
    } else {
      look.look_again_at(settled);
    }
  }
  return ready;
}

bool is_deployed(const RolloutView& view, int ready) {
  const auto& deployment = *view.deployment;
  if (!has_seen_our_write(view)) return false;
  if (view.until == RolloutView::Until::next_step) return ready >= wanted_now(view);
  if (view.replicas == 0) return true;  // what still stops is not waited for
  return status_number(deployment, "updatedReplicas") == view.replicas &&
         status_number(deployment, "replicas") == view.replicas &&
         status_number(deployment, "availableReplicas") == view.replicas;
}

bool is_unready(const RolloutView& view, const std::string& pod) {
  return std::any_of(view.pods.begin(), view.pods.end(),
                     [&](const auto& p) { return kube::name_of(*p) == pod && !kube::is_pod_ready(*p); });
}

const kube::EventView* newest_event(const RolloutView& view, std::string_view reason, std::string_view type) {
  const kube::EventView* found = nullptr;
  for (const auto& event : view.events) {
    const bool fits = reason.empty() ? event.type == type : event.reason == reason;
    if (!fits || !is_unready(view, event.name)) continue;
    if (found == nullptr || !found->last || (event.last && *event.last >= *found->last)) found = &event;
  }
  return found;
}

bool is_pulling(const RolloutView& view) {
  return std::any_of(view.pods.begin(), view.pods.end(), [&](const auto& pod) {
    const auto status = kube::pod_status_of(*pod);
    const auto* container = status.find_container(view.container);
    const bool waits = container == nullptr || container->state.kind == ContainerState::Kind::waiting;
    const auto about = [&](const auto& e, std::string_view reason) {
      return e.name == kube::name_of(*pod) && e.reason == reason;
    };
    const bool began =
        std::any_of(view.events.begin(), view.events.end(), [&](const auto& e) { return about(e, "Pulling"); });
    const bool ended =
        std::any_of(view.events.begin(), view.events.end(), [&](const auto& e) { return about(e, "Pulled"); });
    return waits && began && !ended;
  });
}

Judgement too_late(const RolloutView& view, std::chrono::seconds limit) {
  std::string reason = "not ready within " + std::to_string(limit.count()) + " s";
  if (const auto* unhealthy = newest_event(view, "Unhealthy", "")) {
    reason = with_message(reason, unhealthy->message);
    if (view.port) {
      reason += ". The process must listen on port " + std::to_string(*view.port) + " of all addresses (variable PORT)";
    }
    return failed(std::move(reason), unhealthy->name);
  }
  if (const auto* warning = newest_event(view, "", "Warning")) {
    return failed(with_message(reason, warning->message) + " (" + warning->reason + ")", warning->name);
  }
  for (const auto& pod : view.pods) {
    if (!kube::is_pod_ready(*pod)) return failed(std::move(reason), kube::name_of(*pod));
  }
  if (view.pods.empty() && view.replicas > 0) reason += ": the cluster made no pod";
  return failed(std::move(reason));
}
}  // namespace

Judgement judge(const RolloutView& view, const RolloutLimits& limits, FirstSeen& seen, Time now) {
  if (view.deployment == nullptr) return failed("its Deployment was deleted meanwhile");
  Look look{view, limits, seen, now, {}};
  Judgement result{.ready = count_ready(look)};
  const bool settled = view.probed || result.ready >= wanted_now(view);
  if (is_deployed(view, result.ready) && settled) {
    result.state = State::up;
    result.look_again = look.again;
    return result;
  }
  if (auto refused = judge_refusals(look)) return *refused;
  for (const auto& pod : view.pods) {
    if (view.old_pods.contains(kube::uid_of(*pod))) continue;
    if (auto doomed = judge_pod(*pod, look)) return *doomed;
  }
  // A pull that has taken a minute may take ten more, once.
  if (is_pulling(view) && now >= look.since("pulling") + std::chrono::seconds(60)) seen.try_emplace("extended", now);
  const bool extended = seen.contains("extended");
  const auto whole = limits.whole + (extended ? limits.pull_extension : std::chrono::seconds(0));
  const auto deadline = limits.began + whole;
  // Our own clock's, not the cluster's verdict: that may be about an attempt before this one.
  if (now >= deadline) return too_late(view, whole);
  look.look_again_at(deadline);
  result.look_again = look.again;
  result.reason = std::to_string(result.ready) + " of " + std::to_string(view.replicas) + " pods ready";
  return result;
}

}  // namespace workflow::controller::cluster
