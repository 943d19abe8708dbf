#include "engine/node/pod_record.h"

#include <algorithm>

#include "engine/fields.h"
#include "lib/kube/objects.h"

namespace workflow::engine {
namespace {

std::string plain_id(const std::string& container_id) {
  const auto at = container_id.find("://");
  return at == std::string::npos ? container_id : container_id.substr(at + 3);
}

Termination terminated_in(const json::object& state) {
  const auto time = [&](const char* field) {
    return parse_rfc3339(text_at(state, {"terminated", field})).value_or(Time{});
  };
  return {plain_id(text_at(state, {"terminated", "containerID"})),
          static_cast<int>(integer_at(state, {"terminated", "exitCode"}).value_or(0)),
          text_at(state, {"terminated", "reason"}),
          text_at(state, {"terminated", "message"}),
          time("startedAt"),
          time("finishedAt")};
}

// The engine before ended while it made or started this one: it is as if it were not there, and is made anew.
bool never_ran(const cri::ContainerStatus& found) {
  using enum cri::ContainerState;
  return found.state == created || (found.state == exited && found.started == Time{});
}

void take_over(ContainerRecord& record, const cri::ContainerStatus& found) {
  if (record.phase == Phase::terminated) record.previous = record.last;
  record.id = found.id;
  record.image_id = found.image_ref;
  record.restarts = static_cast<int>(found.attempt);
  record.started = found.started;
  if (found.state == cri::ContainerState::running) {
    record.phase = Phase::running;
  } else if (found.state == cri::ContainerState::exited) {
    record.backoff = std::chrono::milliseconds(0);
    note_end(record, termination_of(found));
  } else {
    record.phase = Phase::waiting;
  }
}

// What the last status says of a container that the runtime does not know.
void remember(ContainerRecord& record, const json::object& status, bool finished, Time now) {
  record.restarts = static_cast<int>(integer_at(status, {"restartCount"}).value_or(0));
  record.id = plain_id(text_at(status, {"containerID"}));
  record.image_id = text_at(status, {"imageID"});
  if (record.id.empty()) return;
  if (value_at(status, {"state", "terminated"})) {
    record.phase = Phase::terminated;
    record.last = terminated_in(object_at(status, {"state"}));
  } else if (value_at(status, {"lastState", "terminated"}) && !value_at(status, {"state", "running"})) {
    record.phase = Phase::terminated;  // it waited for its next start
    record.last = terminated_in(object_at(status, {"lastState"}));
  } else if (!finished) {
    record.started = parse_rfc3339(text_at(status, {"state", "running", "startedAt"})).value_or(now);
    record.phase = Phase::running;
    note_end(record, lost_container(record, now));
  }
}

}  // namespace

Termination termination_of(const cri::ContainerStatus& status) {
  Termination end{status.id, status.exit_code, status.reason, status.message, status.started, status.finished};
  if (end.reason.empty()) end.reason = status.exit_code == 0 ? "Completed" : "Error";
  return end;
}

Termination lost_container(const ContainerRecord& record, Time now) {
  return {record.id, 137, "ContainerStatusUnknown", "The container could not be located any more", record.started, now};
}

bool was_finished(const json::object& pod) { return kube::is_pod_finished(pod); }

PodRecord begun_record(const json::object& pod, std::vector<cri::ContainerStatus> found, const std::string& host_ip,
                       Time now) {
  PodRecord record;
  record.host_ip = host_ip;
  record.started = parse_rfc3339(text_at(pod, {"status", "startTime"})).value_or(now);
  std::erase_if(found, never_ran);
  std::ranges::sort(found, {}, &cri::ContainerStatus::attempt);
  for (const char* kind : {"initContainers", "containers"}) {
    const bool init = std::string_view(kind) == "initContainers";
    for (const auto& item : array_at(pod, {"spec", kind})) {
      if (!item.is_object()) continue;
      ContainerRecord one;
      one.name = text_at(item.get_object(), {"name"});
      one.image = text_at(item.get_object(), {"image"});
      one.init = init;
      one.sidecar = init && text_at(item.get_object(), {"restartPolicy"}) == "Always";
      one.reason = array_at(pod, {"spec", "initContainers"}).empty() ? "ContainerCreating" : "PodInitializing";
      const bool known = std::ranges::any_of(found, [&](const auto& status) { return status.name == one.name; });
      for (const auto& status : found) {
        if (status.name == one.name) take_over(one, status);
      }
      if (!known) {
        for (const auto& status : array_at(pod, {"status", init ? "initContainerStatuses" : "containerStatuses"})) {
          if (status.is_object() && text_at(status.get_object(), {"name"}) == one.name)
            remember(one, status.get_object(), was_finished(pod), now);
        }
      }
      record.containers.push_back(std::move(one));
    }
  }
  return record;
}

std::vector<cri::ContainerStatus> unseen_containers(const json::object& pod,
                                                    const std::vector<cri::ContainerStatus>& found,
                                                    const std::function<bool(const std::string& id)>& runs) {
  std::vector<cri::ContainerStatus> unseen;
  for (const char* kind : {"initContainerStatuses", "containerStatuses"}) {
    for (const auto& item : array_at(pod, {"status", kind})) {
      if (!item.is_object() || value_at(item.get_object(), {"state", "running"}) == nullptr) continue;
      const auto& status = item.get_object();
      const auto id = plain_id(text_at(status, {"containerID"}));
      const bool is_found = std::ranges::find(found, id, &cri::ContainerStatus::id) != found.end();
      if (id.empty() || is_found || !runs(id)) continue;
      cri::ContainerStatus one;
      one.id = id;
      one.name = text_at(status, {"name"});
      one.attempt = static_cast<std::uint32_t>(integer_at(status, {"restartCount"}).value_or(0));
      one.state = cri::ContainerState::running;
      one.image_ref = text_at(status, {"imageID"});
      one.started = parse_rfc3339(text_at(status, {"state", "running", "startedAt"})).value_or(Time{});
      unseen.push_back(std::move(one));
    }
  }
  return unseen;
}

void note_new_sandbox(PodRecord& record, Time now) {
  for (auto& one : record.containers) {
    if (one.phase == Phase::running) note_end(one, lost_container(one, now));
    if (!one.init || one.sidecar || one.phase != Phase::terminated) continue;
    one.previous = one.last;
    one.phase = Phase::waiting;
    one.not_before = {};
  }
}

}  // namespace workflow::engine
