#include "engine/node/pod_state.h"

#include <algorithm>
#include <utility>

#include "engine/node/container_config.h"
#include "lib/kube/objects.h"

namespace workflow::engine {
namespace {

using namespace std::chrono_literals;

json::object state_json(const ContainerRecord& record) {
  switch (record.phase) {
    case Phase::running: return {{"running", {{"startedAt", rfc3339(record.started)}}}};
    case Phase::terminated: break;
    case Phase::waiting: {
      json::object waiting{{"reason", record.reason}};
      if (!record.message.empty()) waiting["message"] = record.message;
      return {{"waiting", std::move(waiting)}};
    }
  }
  const auto& end = record.last;
  json::object terminated{{"exitCode", end.exit_code},
                          {"reason", end.reason},
                          {"startedAt", rfc3339(end.started)},
                          {"finishedAt", rfc3339(end.finished)},
                          {"containerID", "containerd://" + end.container_id}};
  if (!end.message.empty()) terminated["message"] = end.message;
  return {{"terminated", std::move(terminated)}};
}

// It waits for its next start after it crashed: as kubectl's users know it.
bool is_backing_off(const ContainerRecord& record, const PodRecord& pod, RestartPolicy policy, Time now) {
  return record.phase == Phase::terminated && record.not_before > now && !pod.terminating &&
         should_restart(record, policy);
}

json::object back_off_state(const ContainerRecord& record, const json::object& pod) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(record.backoff).count();
  const auto message = "back-off " + std::to_string(seconds) + "s restarting failed container=" + record.name +
                       " pod=" + kube::name_of(pod) + "_" + kube::namespace_of(pod) + "(" + kube::uid_of(pod) + ")";
  return {{"waiting", json::object{{"reason", "CrashLoopBackOff"}, {"message", message}}}};
}

json::object container_status(const ContainerRecord& record) {
  json::object out{{"name", record.name},
                   {"state", state_json(record)},
                   {"lastState", json::object()},
                   {"ready", record.ready},
                   {"restartCount", record.restarts},
                   {"image", record.image},
                   {"imageID", record.image_id},
                   {"started", record.phase == Phase::running && record.startup_done}};
  if (!record.id.empty()) out["containerID"] = "containerd://" + record.id;
  if (record.previous) {
    ContainerRecord past;
    past.phase = Phase::terminated;
    past.last = *record.previous;
    out["lastState"] = state_json(past);
  }
  if (record.init && !record.sidecar) out["ready"] = record.phase == Phase::terminated && record.last.exit_code == 0;
  return out;
}

// Names of the containers for which `missing` holds.
template <typename Predicate>
std::string names(const PodRecord& pod, Predicate missing) {
  std::string out;
  for (const auto& record : pod.containers) {
    if (missing(record)) out += (out.empty() ? "" : " ") + record.name;
  }
  return out;
}

json::object condition(std::string_view type, bool holds, std::string reason, std::string message,
                       const json::object* before, Time now) {
  const char* status = holds ? "True" : "False";
  std::string since = rfc3339(now);
  if (before) {
    if (const auto* old = find_path(*before, {"conditions"}); old && old->is_array()) {
      for (const auto& item : old->get_array()) {
        if (find_string(item, {"type"}) == type && find_string(item, {"status"}) == status) {
          since = find_string(item, {"lastTransitionTime"}).value_or(since);
        }
      }
    }
  }
  json::object out{{"type", type}, {"status", status}, {"lastProbeTime", nullptr}, {"lastTransitionTime", since}};
  if (!holds && !reason.empty()) out["reason"] = std::move(reason);
  if (!holds && !message.empty()) out["message"] = std::move(message);
  return out;
}

}  // namespace

RestartPolicy restart_policy_of(const json::object& pod_spec) {
  const auto text = find_string(pod_spec, {"restartPolicy"}).value_or("Always");
  return text == "Never"       ? RestartPolicy::never
         : text == "OnFailure" ? RestartPolicy::on_failure
                               : RestartPolicy::always;
}

void note_end(ContainerRecord& record, const Termination& end) {
  record.phase = Phase::terminated;
  record.last = end;
  if (record.last.started == Time{}) record.last.started = record.started;
  record.ready = record.startup_done = false;
  // How it ended tells of nobody's mistake where it was made to end: the probe's answer does.
  if (const auto doom = std::exchange(record.doom, std::nullopt)) {
    record.last.reason = doom->reason;
    record.last.message = doom->why + (end.message.empty() ? "" : "; its last words: " + end.message);
  }
  // At once the first time; then it waits longer and longer.
  record.backoff = record.restarts == 0 ? std::chrono::milliseconds(0)
                                        : next_backoff(record.backoff, record.last.finished - record.last.started);
  record.not_before = record.last.finished + record.backoff;
}

void shift_plans(PodRecord& pod, std::chrono::nanoseconds jump) {
  for (auto& one : pod.containers) {
    if (one.not_before > Time{}) one.not_before += jump;
    if (one.doom) one.doom->deadline += jump;
  }
}

void note_failed_start(ContainerRecord& record, const std::string& reason, const std::string& message, Time now) {
  // The second time on, the reason says that we wait before the next try.
  const bool repeated = record.phase == Phase::waiting && record.backoff > 0ms;
  const auto first = reason == "CreateContainerConfigError" ? 1s : 5s;
  record.backoff =
      repeated ? std::min<std::chrono::milliseconds>(record.backoff * 2, 5min) : std::chrono::milliseconds(first);
  if (record.phase == Phase::terminated) record.previous = record.last;
  record.phase = Phase::waiting;
  record.reason = reason == "ErrImagePull" && repeated ? "ImagePullBackOff" : reason;
  record.message =
      record.reason == "ImagePullBackOff" ? "Back-off pulling image \"" + record.image + "\": " + message : message;
  record.not_before = now + record.backoff;
}

bool should_restart(const ContainerRecord& record, RestartPolicy policy) {
  if (record.sidecar) return true;
  if (record.init) return record.last.exit_code != 0 && policy != RestartPolicy::never;
  if (policy == RestartPolicy::always) return true;
  return policy == RestartPolicy::on_failure && record.last.exit_code != 0;
}

std::chrono::milliseconds next_backoff(std::chrono::milliseconds last, std::chrono::nanoseconds ran) {
  if (ran > 10min) return 0ms;
  if (last == 0ms) return 10s;
  return std::min<std::chrono::milliseconds>(last * 2, 5min);
}

bool initialized(const PodRecord& pod) {
  return std::ranges::all_of(pod.containers, [](const ContainerRecord& record) {
    if (!record.init) return true;
    if (record.sidecar) return record.phase == Phase::running && record.startup_done;
    return record.phase == Phase::terminated && record.last.exit_code == 0;
  });
}

bool work_is_over(const PodRecord& pod, RestartPolicy policy) {
  return std::ranges::all_of(pod.containers, [policy](const ContainerRecord& record) {
    return record.init || (record.phase == Phase::terminated && !should_restart(record, policy));
  });
}

std::vector<std::size_t> startable(const PodRecord& pod, RestartPolicy policy, Time now) {
  std::vector<std::size_t> out;
  if (pod.terminating || pod.sandbox_id.empty() || !pod.failure.empty() || work_is_over(pod, policy)) return out;
  for (std::size_t i = 0; i < pod.containers.size(); ++i) {
    const auto& record = pod.containers[i];
    const bool wants =
        record.phase == Phase::waiting || (record.phase == Phase::terminated && should_restart(record, policy));
    if (wants && record.not_before <= now) out.push_back(i);
    if (!record.init) continue;
    // The next one waits until this init container is done, or this sidecar is up.
    const bool done = record.sidecar ? record.phase == Phase::running && record.startup_done
                                     : record.phase == Phase::terminated && record.last.exit_code == 0;
    if (!done) return out;
  }
  return out;
}

std::optional<Time> next_start(const PodRecord& pod, RestartPolicy policy) {
  std::optional<Time> earliest;
  for (const auto& record : pod.containers) {
    const bool wants =
        record.phase == Phase::waiting || (record.phase == Phase::terminated && should_restart(record, policy));
    if (wants && record.not_before > Time{} && (!earliest || record.not_before < *earliest))
      earliest = record.not_before;
  }
  return earliest;
}

std::string phase_of(const PodRecord& pod, RestartPolicy policy) {
  if (!pod.failure.empty()) return "Failed";
  for (const auto& record : pod.containers) {
    const bool failed_for_good = record.init && !record.sidecar && record.phase == Phase::terminated &&
                                 record.last.exit_code != 0 && policy == RestartPolicy::never;
    if (failed_for_good) return "Failed";
  }
  const bool over = work_is_over(pod, policy);
  if (!initialized(pod) && !pod.terminating && !over) return "Pending";
  bool any_failed = false, any_begun = false, sidecars_run = false;
  for (const auto& record : pod.containers) {
    if (record.sidecar && record.phase == Phase::running) sidecars_run = true;
    if (record.init) continue;
    if (record.phase != Phase::waiting || record.restarts > 0 || record.previous) any_begun = true;
    if (record.phase == Phase::terminated && record.last.exit_code != 0) any_failed = true;
  }
  if (over && !sidecars_run) return any_failed ? "Failed" : "Succeeded";
  return any_begun ? "Running" : "Pending";
}

namespace {

bool is_true(const json::object* status, std::string_view type) {
  const auto* conditions = status ? find_path(*status, {"conditions"}) : nullptr;
  if (!conditions || !conditions->is_array()) return false;
  return std::ranges::any_of(conditions->get_array(), [type](const json::value& c) {
    return find_string(c, {"type"}) == type && find_string(c, {"status"}) == "True";
  });
}

// Conditions of other people's types stay as they are: readiness gates, above all.
void keep_foreign(json::array& conditions, const json::object* before) {
  const auto* old = before ? find_path(*before, {"conditions"}) : nullptr;
  if (!old || !old->is_array()) return;
  for (const auto& item : old->get_array()) {
    const auto type = find_string(item, {"type"});
    const bool known =
        std::ranges::any_of(conditions, [&](const json::value& c) { return find_string(c, {"type"}) == type; });
    if (type && !known) conditions.push_back(item);
  }
}

}  // namespace

json::object status_of(const PodRecord& pod, const json::object& pod_object, const json::object* before, Time now) {
  const auto* spec_value = find_path(pod_object, {"spec"});
  const json::object spec = spec_value && spec_value->is_object() ? spec_value->get_object() : json::object{};
  const auto phase = phase_of(pod, restart_policy_of(spec));
  const bool finished = phase == "Succeeded" || phase == "Failed";
  const auto unready = names(pod, [](const ContainerRecord& r) { return !r.init && !r.ready; });
  const auto uninitialized = names(pod, [](const ContainerRecord& r) {
    return r.init && !(r.sidecar ? r.phase == Phase::running : r.phase == Phase::terminated && r.last.exit_code == 0);
  });
  bool gates_open = true;
  if (const auto* gates = find_path(spec, {"readinessGates"}); gates && gates->is_array()) {
    for (const auto& gate : gates->get_array())
      gates_open = gates_open && is_true(before, find_string(gate, {"conditionType"}).value_or(""));
  }
  const bool ready = unready.empty() && gates_open && !finished && !pod.terminating;
  const auto why = finished ? "PodCompleted" : "ContainersNotReady";
  const auto message = "containers with unready status: [" + unready + "]";
  json::array conditions{
      condition("PodReadyToStartContainers", !pod.sandbox_id.empty(), "", "", before, now),
      condition("Initialized", uninitialized.empty(), "ContainersNotInitialized",
                "containers with incomplete status: [" + uninitialized + "]", before, now),
      condition("Ready", ready, finished || !unready.empty() || gates_open ? why : "ReadinessGatesNotReady",
                unready.empty() ? "" : message, before, now),
      condition("ContainersReady", unready.empty() && !finished, why, unready.empty() ? "" : message, before, now),
      condition("PodScheduled", true, "", "", before, now)};
  keep_foreign(conditions, before);
  json::array containers, init;
  for (const auto& record : pod.containers) {
    auto shown = container_status(record);
    if (is_backing_off(record, pod, restart_policy_of(spec), now)) {
      shown["lastState"] = shown["state"];
      shown["state"] = back_off_state(record, pod_object);
    }
    (record.init ? init : containers).push_back(std::move(shown));
  }
  json::object status{
      {"phase", phase}, {"conditions", std::move(conditions)}, {"hostIP", pod.host_ip}, {"qosClass", qos_class(spec)}};
  if (!pod.failure.empty()) {
    status["reason"] = pod.failure;
    status["message"] = pod.failure_message;
  }
  if (pod.started > Time{}) status["startTime"] = rfc3339(pod.started);
  if (!pod.ip.empty()) {
    status["podIP"] = pod.ip;
    status["podIPs"] = json::array{json::object{{"ip", pod.ip}}};
  }
  if (!init.empty()) status["initContainerStatuses"] = std::move(init);
  status["containerStatuses"] = std::move(containers);
  return status;
}

}  // namespace workflow::engine
