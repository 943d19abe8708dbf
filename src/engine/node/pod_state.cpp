#include "engine/node/pod_state.h"

#include <algorithm>

#include "engine/node/container_config.h"

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
  json::object terminated{{"exitCode", end.exit_code}, {"reason", end.reason}, {"startedAt", rfc3339(end.started)},
                          {"finishedAt", rfc3339(end.finished)}, {"containerID", "containerd://" + end.container_id}};
  if (!end.message.empty()) terminated["message"] = end.message;
  return {{"terminated", std::move(terminated)}};
}

json::object container_status(const ContainerRecord& record) {
  json::object out{{"name", record.name}, {"state", state_json(record)}, {"lastState", json::object()}, {"ready", record.ready},
                   {"restartCount", record.restarts}, {"image", record.image}, {"imageID", record.image_id},
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

json::object condition(std::string_view type, bool holds, std::string reason, std::string message, const json::object* before, Time now) {
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
  return text == "Never" ? RestartPolicy::never : text == "OnFailure" ? RestartPolicy::on_failure : RestartPolicy::always;
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

std::vector<std::size_t> startable(const PodRecord& pod, RestartPolicy policy, Time now) {
  std::vector<std::size_t> out;
  if (pod.terminating || pod.sandbox_id.empty()) return out;
  for (std::size_t i = 0; i < pod.containers.size(); ++i) {
    const auto& record = pod.containers[i];
    const bool wants = record.phase == Phase::waiting || (record.phase == Phase::terminated && should_restart(record, policy));
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
    const bool wants = record.phase == Phase::waiting || (record.phase == Phase::terminated && should_restart(record, policy));
    if (wants && record.not_before > Time{} && (!earliest || record.not_before < *earliest)) earliest = record.not_before;
  }
  return earliest;
}

std::string phase_of(const PodRecord& pod, RestartPolicy policy) {
  for (const auto& record : pod.containers) {
    const bool failed_for_good = record.init && !record.sidecar && record.phase == Phase::terminated && record.last.exit_code != 0 &&
                                 policy == RestartPolicy::never;
    if (failed_for_good) return "Failed";
  }
  if (!initialized(pod) && !pod.terminating) return "Pending";
  bool all_over = true, any_failed = false, any_begun = false;
  for (const auto& record : pod.containers) {
    if (record.init) continue;
    if (record.phase != Phase::waiting || record.restarts > 0 || record.previous) any_begun = true;
    const bool over = record.phase == Phase::terminated && !should_restart(record, policy);
    all_over = all_over && over;
    any_failed = any_failed || (over && record.last.exit_code != 0);
  }
  if (all_over) return any_failed ? "Failed" : "Succeeded";
  return any_begun ? "Running" : "Pending";
}

json::object status_of(const PodRecord& pod, const json::object& pod_object, const json::object* before, Time now) {
  const auto* spec_value = find_path(pod_object, {"spec"});
  const json::object spec = spec_value && spec_value->is_object() ? spec_value->get_object() : json::object{};
  const auto phase = phase_of(pod, restart_policy_of(spec));
  const bool finished = phase == "Succeeded" || phase == "Failed";
  const auto unready = names(pod, [](const ContainerRecord& r) { return !r.init && !r.ready; });
  const auto uninitialized = names(pod, [](const ContainerRecord& r) {
    return r.init && !(r.sidecar ? r.phase == Phase::running : r.phase == Phase::terminated && r.last.exit_code == 0);
  });
  const bool ready = unready.empty() && !finished && !pod.terminating;
  const auto why = finished ? "PodCompleted" : "ContainersNotReady";
  const auto message = "containers with unready status: [" + unready + "]";
  json::array conditions{
      condition("PodReadyToStartContainers", !pod.sandbox_id.empty(), "", "", before, now),
      condition("Initialized", uninitialized.empty(), "ContainersNotInitialized", "containers with incomplete status: [" + uninitialized + "]", before, now),
      condition("Ready", ready, why, unready.empty() ? "" : message, before, now),
      condition("ContainersReady", unready.empty() && !finished, why, unready.empty() ? "" : message, before, now),
      condition("PodScheduled", true, "", "", before, now)};
  json::array containers, init;
  for (const auto& record : pod.containers) (record.init ? init : containers).push_back(container_status(record));
  json::object status{{"phase", phase}, {"conditions", std::move(conditions)}, {"hostIP", pod.host_ip}, {"qosClass", qos_class(spec)}};
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
