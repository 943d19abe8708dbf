// src/lib/kube/objects.h: the parts of Kubernetes objects that several components read or write, as plain values.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/clock.h"
#include "lib/kube/client.h"

namespace workflow::kube {

using Labels = std::map<std::string, std::string>;

// --- reading

struct OwnerReference {
  std::string api_version, kind, name, uid;
  bool controller = false;
  bool operator==(const OwnerReference&) const = default;
};

struct ObjectMeta {
  std::string name, ns, uid, resource_version, generate_name;
  std::int64_t generation = 0;
  Labels labels, annotations;
  std::vector<OwnerReference> owners;
  std::vector<std::string> finalizers;
  std::optional<Time> created, deleted;  // deleted: when the grace period ends
  const OwnerReference* controller() const;
};
ObjectMeta meta_of(const json::object& object);

// Single fields, without copying the rest. "" when absent.
std::string name_of(const json::object& object);
std::string namespace_of(const json::object& object);
std::string uid_of(const json::object& object);
std::string label_of(const json::object& object, std::string_view key);
std::string annotation_of(const json::object& object, std::string_view key);
bool is_being_deleted(const json::object& object);

struct Condition {
  std::string type, status, reason, message;
  std::optional<Time> last_transition;
};
std::vector<Condition> conditions_of(const json::object& object);  // status.conditions
const Condition* find_condition(const std::vector<Condition>& conditions, std::string_view type);

struct ContainerState {
  enum class Kind { none, waiting, running, terminated } kind = Kind::none;
  std::string reason, message;  // of waiting and terminated
  int exit_code = 0;            // of terminated
  std::optional<Time> started, finished;
};
struct ContainerStatus {
  std::string name, image, image_id, container_id;
  bool ready = false;
  int restarts = 0;
  ContainerState state, last_state;
};
struct PodStatus {
  std::string phase, reason, message, pod_ip, host_ip;
  std::optional<Time> started;
  std::vector<Condition> conditions;
  std::vector<ContainerStatus> containers, init_containers;
  const ContainerStatus* find_container(std::string_view name) const;
};
PodStatus pod_status_of(const json::object& pod);
bool is_pod_ready(const json::object& pod);     // condition Ready is True and it is not being deleted
bool is_pod_finished(const json::object& pod);  // phase Succeeded or Failed

// An Event, of core/v1 or events.k8s.io/v1.
struct EventView {
  std::string type, reason, message;  // type: Normal or Warning
  std::string kind, name, uid;        // of the object that it is about
  int count = 1;
  std::optional<Time> last;  // the most recent of its times
};
EventView event_of(const json::object& event);

// data of a Secret, decoded; entries that are not base64 are left out.
std::map<std::string, std::string> secret_values(const json::object& secret);

// --- writing

// {apiVersion, kind, metadata: {name, namespace, labels}}
json::object make_object(const Resource& r, std::string_view ns, std::string_view name, const Labels& labels = {});
json::object to_json(const std::map<std::string, std::string>& map);
json::object owner_reference_to(const json::object& owner);  // controller and blockOwnerDeletion are true
// Opaque unless said otherwise.
json::object make_secret(std::string_view ns, std::string_view name, const Labels& labels,
                         const std::map<std::string, std::string>& values, std::string_view type = "Opaque");

}  // namespace workflow::kube
