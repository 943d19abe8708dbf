#include "lib/kube/objects.h"

#include <algorithm>

#include "lib/base/encoding.h"

namespace workflow::kube {

namespace {
std::string text_at(const json::value& value, std::initializer_list<std::string_view> path) {
  return find_string(value, path).value_or("");
}
std::optional<Time> time_at(const json::value& value, std::initializer_list<std::string_view> path) {
  const auto text = find_string(value, path);
  return text ? parse_rfc3339(*text) : std::nullopt;
}
// find_path for the members of an object; json::value would copy it.
const json::value* member(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(json::string_view(key.data(), key.size()));
  return value == nullptr || value->is_null() ? nullptr : value;
}
std::string metadata_text(const json::object& object, std::string_view key) {
  const auto* metadata = member(object, "metadata");
  return metadata == nullptr ? std::string() : text_at(*metadata, {key});
}
std::string metadata_entry(const json::object& object, std::string_view map, std::string_view key) {
  const auto* metadata = member(object, "metadata");
  return metadata == nullptr ? std::string() : text_at(*metadata, {map, key});
}
const json::array& array_at(const json::value& value, std::string_view key) {
  static const json::array none;
  const auto* found = find_path(value, {key});
  return found != nullptr && found->is_array() ? found->get_array() : none;
}

ContainerState state_from(const json::value* value) {
  ContainerState state;
  if (value == nullptr) return state;
  if (const auto* waiting = find_path(*value, {"waiting"})) {
    state.kind = ContainerState::Kind::waiting;
    state.reason = text_at(*waiting, {"reason"});
    state.message = text_at(*waiting, {"message"});
  } else if (const auto* running = find_path(*value, {"running"})) {
    state.kind = ContainerState::Kind::running;
    state.started = time_at(*running, {"startedAt"});
  } else if (const auto* terminated = find_path(*value, {"terminated"})) {
    state.kind = ContainerState::Kind::terminated;
    state.reason = text_at(*terminated, {"reason"});
    state.message = text_at(*terminated, {"message"});
    state.exit_code = static_cast<int>(find_integer(*terminated, {"exitCode"}).value_or(0));
    state.started = time_at(*terminated, {"startedAt"});
    state.finished = time_at(*terminated, {"finishedAt"});
  }
  return state;
}

std::vector<ContainerStatus> containers_from(const json::value& status, std::string_view key) {
  std::vector<ContainerStatus> containers;
  for (const auto& entry : array_at(status, key)) {
    ContainerStatus c;
    c.name = text_at(entry, {"name"});
    c.image = text_at(entry, {"image"});
    c.image_id = text_at(entry, {"imageID"});
    c.container_id = text_at(entry, {"containerID"});
    c.ready = find_bool(entry, {"ready"}).value_or(false);
    c.restarts = static_cast<int>(find_integer(entry, {"restartCount"}).value_or(0));
    c.state = state_from(find_path(entry, {"state"}));
    c.last_state = state_from(find_path(entry, {"lastState"}));
    containers.push_back(std::move(c));
  }
  return containers;
}

std::vector<Condition> conditions_from(const json::value& status) {
  std::vector<Condition> conditions;
  for (const auto& entry : array_at(status, "conditions")) {
    conditions.push_back({text_at(entry, {"type"}), text_at(entry, {"status"}), text_at(entry, {"reason"}),
                          text_at(entry, {"message"}), time_at(entry, {"lastTransitionTime"})});
  }
  return conditions;
}
}  // namespace

const OwnerReference* ObjectMeta::controller() const {
  const auto found = std::find_if(owners.begin(), owners.end(), [](const auto& owner) { return owner.controller; });
  return found == owners.end() ? nullptr : &*found;
}

ObjectMeta meta_of(const json::object& object) {
  ObjectMeta meta;
  const auto* m = member(object, "metadata");
  if (m == nullptr) return meta;
  meta.name = text_at(*m, {"name"});
  meta.ns = text_at(*m, {"namespace"});
  meta.uid = text_at(*m, {"uid"});
  meta.resource_version = text_at(*m, {"resourceVersion"});
  meta.generate_name = text_at(*m, {"generateName"});
  meta.generation = find_integer(*m, {"generation"}).value_or(0);
  meta.labels = string_map(find_path(*m, {"labels"}));
  meta.annotations = string_map(find_path(*m, {"annotations"}));
  meta.created = time_at(*m, {"creationTimestamp"});
  meta.deleted = time_at(*m, {"deletionTimestamp"});
  for (const auto& owner : array_at(*m, "ownerReferences")) {
    meta.owners.push_back({text_at(owner, {"apiVersion"}), text_at(owner, {"kind"}), text_at(owner, {"name"}),
                           text_at(owner, {"uid"}), find_bool(owner, {"controller"}).value_or(false)});
  }
  for (const auto& finalizer : array_at(*m, "finalizers")) {
    if (finalizer.is_string()) meta.finalizers.emplace_back(std::string_view(finalizer.get_string()));
  }
  return meta;
}

std::string name_of(const json::object& object) { return metadata_text(object, "name"); }
std::string namespace_of(const json::object& object) { return metadata_text(object, "namespace"); }
std::string uid_of(const json::object& object) { return metadata_text(object, "uid"); }
std::string label_of(const json::object& object, std::string_view key) { return metadata_entry(object, "labels", key); }
std::string annotation_of(const json::object& object, std::string_view key) {
  return metadata_entry(object, "annotations", key);
}
bool is_being_deleted(const json::object& object) { return !metadata_text(object, "deletionTimestamp").empty(); }

std::vector<Condition> conditions_of(const json::object& object) {
  const auto* status = member(object, "status");
  return status == nullptr ? std::vector<Condition>() : conditions_from(*status);
}

const Condition* find_condition(const std::vector<Condition>& conditions, std::string_view type) {
  const auto found = std::find_if(conditions.begin(), conditions.end(), [&](const auto& c) { return c.type == type; });
  return found == conditions.end() ? nullptr : &*found;
}

const ContainerStatus* PodStatus::find_container(std::string_view name) const {
  const auto found = std::find_if(containers.begin(), containers.end(), [&](const auto& c) { return c.name == name; });
  return found == containers.end() ? nullptr : &*found;
}

PodStatus pod_status_of(const json::object& pod) {
  PodStatus result;
  const auto* status = member(pod, "status");
  if (status == nullptr) return result;
  result.phase = text_at(*status, {"phase"});
  result.reason = text_at(*status, {"reason"});
  result.message = text_at(*status, {"message"});
  result.pod_ip = text_at(*status, {"podIP"});
  result.host_ip = text_at(*status, {"hostIP"});
  result.started = time_at(*status, {"startTime"});
  result.conditions = conditions_from(*status);
  result.containers = containers_from(*status, "containerStatuses");
  result.init_containers = containers_from(*status, "initContainerStatuses");
  return result;
}

bool is_pod_ready(const json::object& pod) {
  if (is_being_deleted(pod)) return false;
  const auto conditions = conditions_of(pod);
  const auto* ready = find_condition(conditions, "Ready");
  return ready != nullptr && ready->status == "True";
}

bool is_pod_finished(const json::object& pod) {
  const auto* status = member(pod, "status");
  const auto phase = status == nullptr ? std::string() : text_at(*status, {"phase"});
  return phase == "Succeeded" || phase == "Failed";
}

EventView event_of(const json::object& event) {
  EventView view;
  const auto text = [&event](std::string_view key) {
    const auto* value = member(event, key);
    return value != nullptr && value->is_string() ? std::string(std::string_view(value->get_string())) : std::string();
  };
  view.type = text("type");
  view.reason = text("reason");
  view.message = member(event, "note") != nullptr ? text("note") : text("message");
  const auto* about = member(event, "involvedObject");
  if (about == nullptr) about = member(event, "regarding");
  if (about != nullptr) {
    view.kind = text_at(*about, {"kind"});
    view.name = text_at(*about, {"name"});
    view.uid = text_at(*about, {"uid"});
  }
  if (const auto* count = member(event, "count"); count != nullptr && count->is_int64()) {
    view.count = static_cast<int>(count->get_int64());
  }
  if (const auto* series = member(event, "series")) view.last = time_at(*series, {"lastObservedTime"});
  for (const auto* key : {"lastTimestamp", "deprecatedLastTimestamp", "eventTime"}) {
    if (!view.last) view.last = parse_rfc3339(text(key));
  }
  if (!view.last) view.last = parse_rfc3339(metadata_text(event, "creationTimestamp"));
  return view;
}

std::map<std::string, std::string> secret_values(const json::object& secret) {
  std::map<std::string, std::string> values;
  for (const auto& [key, text] : string_map(member(secret, "data"))) {
    if (auto bytes = from_base64(text)) values.emplace(key, std::move(*bytes));
  }
  return values;
}

json::object to_json(const std::map<std::string, std::string>& map) {
  json::object object;
  for (const auto& [key, value] : map) object[key] = value;
  return object;
}

json::object make_object(const Resource& r, std::string_view ns, std::string_view name, const Labels& labels) {
  json::object metadata{{"name", name}};
  if (r.namespaced && !ns.empty()) metadata["namespace"] = ns;
  if (!labels.empty()) metadata["labels"] = to_json(labels);
  return {{"apiVersion", r.api_version()}, {"kind", r.kind}, {"metadata", std::move(metadata)}};
}

json::object owner_reference_to(const json::object& owner) {
  const auto text = [&owner](std::string_view key) {
    const auto* value = member(owner, key);
    return value != nullptr && value->is_string() ? std::string(std::string_view(value->get_string())) : std::string();
  };
  return {{"apiVersion", text("apiVersion")},
          {"kind", text("kind")},
          {"name", name_of(owner)},
          {"uid", uid_of(owner)},
          {"controller", true},
          {"blockOwnerDeletion", true}};
}

json::object make_secret(std::string_view ns, std::string_view name, const Labels& labels,
                         const std::map<std::string, std::string>& values, std::string_view type) {
  auto secret = make_object(resources::secrets, ns, name, labels);
  json::object data;
  for (const auto& [key, value] : values) data[key] = to_base64(value);
  secret["type"] = type;
  secret["data"] = std::move(data);
  return secret;
}

}  // namespace workflow::kube
