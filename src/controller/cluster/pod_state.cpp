#include "controller/cluster/pod_state.h"

#include <algorithm>

#include "lib/kube/objects.h"

namespace workflow::controller::cluster {

namespace {
using Kind = kube::ContainerState::Kind;

std::string container_name(const json::object& pod) {
  return kube::label_of(pod, "app") + "-" + kube::label_of(pod, "type");
}

std::string pending_state(const kube::ContainerStatus* container) {
  if (container == nullptr || container->state.kind != Kind::waiting || container->state.reason.empty())
    return "initializing";
  const auto& reason = container->state.reason;
  if (reason == "ContainerCreating" || reason == "PodInitializing") return "creating";
  return reason == "Pending" ? "initializing" : reason;
}

std::string running_state(const json::object& pod, const kube::ContainerStatus* container) {
  if (container == nullptr) return "error";
  const bool deleting = kube::is_being_deleted(pod);
  if (container->ready) return deleting ? "terminating" : "up";
  if (container->state.kind == Kind::running) return "starting";
  if (container->state.kind == Kind::terminated || deleting) return "terminating";
  return "error";
}
}  // namespace

std::string pod_state(const json::object& pod) {
  const auto status = kube::pod_status_of(pod);
  const auto* container = status.find_container(container_name(pod));
  if (status.phase == "Pending" || status.phase.empty()) return pending_state(container);
  if (status.phase == "Running") return running_state(pod, container);
  if (status.phase == "Succeeded") return "down";
  if (status.phase == "Failed") return "crashed";
  return "error";
}

PodInfo pod_info(const json::object& pod) {
  const auto status = kube::pod_status_of(pod);
  const auto* container = status.find_container(container_name(pod));
  const auto created = find_string(pod, {"metadata", "creationTimestamp"}).value_or("");
  return {.name = kube::name_of(pod),
          .state = pod_state(pod),
          .type = kube::label_of(pod, "type"),
          .release = kube::label_of(pod, "version"),
          .started = find_string(pod, {"status", "startTime"}).value_or(created),
          .restarts = container == nullptr ? 0 : container->restarts};
}

bool is_listed(const json::object& pod, Time now) {
  if (kube::label_of(pod, "type") == "run") return false;
  const auto state = pod_state(pod);
  if (state == "down" || state == "crashed") return false;
  const auto deleted = kube::meta_of(pod).deleted;
  return !deleted || *deleted >= now;
}

bool fits(const json::object& pod, const AppName& app, const PodFilter& filter) {
  if (filter.type && kube::label_of(pod, "type") != filter.type->text()) return false;
  if (filter.version && kube::label_of(pod, "version") != filter.version->text()) return false;
  if (filter.name.empty()) return true;
  const auto name = kube::name_of(pod);
  return name == filter.name || name == app.text() + "-" + filter.name || name.ends_with("-" + filter.name);
}

std::string log_line(const json::object& pod, std::string_view timestamp, std::string_view text) {
  const auto time = parse_rfc3339(timestamp);
  auto seconds = time ? rfc3339(*time) : std::string("0001-01-01T00:00:00Z");
  seconds.pop_back();  // the Z
  const auto name = kube::name_of(pod);
  const auto suffix = name.substr(name.rfind('-') + 1);  // tells replicas apart
  return seconds + "+00:00 " + kube::label_of(pod, "app") + "[" + kube::label_of(pod, "type") + "." +
         kube::label_of(pod, "version") + "." + suffix + "]: " + std::string(text);
}

}  // namespace workflow::controller::cluster
