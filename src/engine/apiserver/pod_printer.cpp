// After printPod of kubernetes/pkg/printers/internalversion.
#include "engine/apiserver/pod_printer.h"

#include <algorithm>

#include "engine/apiserver/printers.h"
#include "engine/fields.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

using State = kube::ContainerState::Kind;

bool is_sidecar(const json::object& pod, const std::string& name) {
  for (const auto& c : array_at(pod, {"spec", "initContainers"})) {
    if (c.is_object() && text_at(c.get_object(), {"name"}) == name) {
      return text_at(c.get_object(), {"restartPolicy"}) == "Always";
    }
  }
  return false;
}

std::string ending(const kube::ContainerState& state) {
  if (!state.reason.empty()) return state.reason;
  return "ExitCode:" + std::to_string(state.exit_code);
}

struct Counting {
  int restarts = 0;
  std::optional<Time> last;
  void add(const kube::ContainerStatus& c) {
    restarts += c.restarts;
    const auto finished = c.last_state.finished;
    if (finished && (!last || *finished > *last)) last = finished;
  }
};

}  // namespace

PodSummary pod_summary(const json::object& pod, Time now) {
  const auto status = kube::pod_status_of(pod);
  const auto& declared = array_at(pod, {"spec", "containers"});
  const auto& init = array_at(pod, {"spec", "initContainers"});
  auto total = declared.size();
  std::size_t ready = 0;
  auto reason = status.reason.empty() ? status.phase : status.reason;
  for (const auto& c : kube::conditions_of(pod)) {
    if (c.type == "PodScheduled" && c.reason == "SchedulingGated") reason = c.reason;
  }
  for (const auto& c : init) {
    if (c.is_object() && text_at(c.get_object(), {"restartPolicy"}) == "Always") ++total;
  }

  Counting init_count, count;
  bool initializing = false;
  for (std::size_t i = 0; i < status.init_containers.size() && !initializing; ++i) {
    const auto& c = status.init_containers[i];
    const bool sidecar = is_sidecar(pod, c.name);
    init_count.add(c);
    if (sidecar) count.add(c);
    const auto kind = c.state.kind;
    if (kind == State::terminated && c.state.exit_code == 0) continue;
    if (sidecar && kind == State::running) {
      if (c.ready) ++ready;
      continue;
    }
    if (kind == State::terminated) {
      reason = "Init:" + ending(c.state);
    } else if (kind == State::waiting && !c.state.reason.empty() && c.state.reason != "PodInitializing") {
      reason = "Init:" + c.state.reason;
    } else {
      reason = "Init:" + std::to_string(i) + "/" + std::to_string(init.size());
    }
    initializing = true;
  }
  if (!initializing) {
    bool running = false;
    for (auto c = status.containers.rbegin(); c != status.containers.rend(); ++c) {
      count.add(*c);
      if (c->state.kind == State::waiting && !c->state.reason.empty()) {
        reason = c->state.reason;
      } else if (c->state.kind == State::terminated) {
        reason = ending(c->state);
      } else if (c->ready && c->state.kind == State::running) {
        running = true;
        ++ready;
      }
    }
    if (reason == "Completed" && running) reason = kube::is_pod_ready(pod) ? "Running" : "NotReady";
  } else {
    count = init_count;
  }
  if (kube::is_being_deleted(pod)) reason = status.reason == "NodeLost" ? "Unknown" : "Terminating";
  auto restarts = std::to_string(count.restarts);
  if (count.restarts > 0 && count.last) restarts += " (" + human_duration(now - *count.last) + " ago)";
  return {std::to_string(ready) + "/" + std::to_string(total), reason, restarts};
}

}  // namespace workflow::engine
