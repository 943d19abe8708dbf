#include "engine/store_rules.h"

#include <algorithm>

#include "engine/fields.h"
#include "engine/object_equal.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

constexpr std::string_view foreground = "foregroundDeletion", orphan = "orphan";

bool is_pod(const kube::Resource& r) { return r.plural == "pods" && r.group.empty(); }
bool is_namespace(const kube::Resource& r) { return r.plural == "namespaces" && r.group.empty(); }

std::string quoted(const kube::Resource& r, const json::object& object) {
  return qualified_name(r) + " \"" + kube::name_of(object) + "\"";
}

void add_finalizer(json::object& object, std::string_view name) {
  auto& finalizers = list(child(object, "metadata"), "finalizers");
  const auto same = [name](const json::value& f) { return f.is_string() && view(f.get_string()) == name; };
  if (std::none_of(finalizers.begin(), finalizers.end(), same)) finalizers.emplace_back(key(name));
}

// The period in which the pod's containers may end.
std::int64_t grace_of(const json::object& pod, const DeleteOptions& options) {
  const auto phase = text_at(pod, {"status", "phase"});
  if (text_at(pod, {"spec", "nodeName"}).empty() || phase == "Succeeded" || phase == "Failed") return 0;
  if (options.grace_period_seconds) return std::max(0, *options.grace_period_seconds);
  return std::max<std::int64_t>(0, integer_at(pod, {"spec", "terminationGracePeriodSeconds"}).value_or(30));
}

// Equal but for metadata and status.
bool same_intent(const json::object& a, const json::object& b) {
  const auto contains_rest = [](const json::object& from, const json::object& in) {
    return std::all_of(from.begin(), from.end(), [&in](const json::key_value_pair& field) {
      if (field.key() == "metadata" || field.key() == "status") return true;
      const auto* other = in.if_contains(field.key());
      return other != nullptr && is_same(*other, field.value());
    });
  };
  return contains_rest(a, b) && contains_rest(b, a);
}

}  // namespace

std::string qualified_name(const kube::Resource& r) { return r.group.empty() ? r.plural : r.plural + "." + r.group; }

std::string controller_uid(const json::object& object) {
  for (const auto& owner : array_at(object, {"metadata", "ownerReferences"})) {
    if (owner.is_object() && flag_at(owner.get_object(), {"controller"})) return text_at(owner.get_object(), {"uid"});
  }
  return "";
}

bool counts_generations(const kube::Resource& r) {
  return r.group == "apps" || r.group == "batch" || r.group == "networking.k8s.io" || r.group == "policy" ||
         r.group == "discovery.k8s.io" || r.group == "scheduling.k8s.io" || r.plural == "replicationcontrollers";
}

std::string generated_name(const json::object& object, const std::string& suffix) {
  const auto prefix = text_at(object, {"metadata", "generateName"});
  if (prefix.empty()) throw Error{ErrorKind::invalid, "name or generateName is required"};
  return prefix.substr(0, 58) + suffix;
}

json::object prepared_for_create(const kube::Resource& r, json::object object, Time now, std::string uid,
                                 std::string suffix) {
  json::object result;
  result["apiVersion"] = r.api_version();
  result["kind"] = r.kind;
  auto& metadata = child(result, "metadata");
  metadata = object_at(object, {"metadata"});
  if (kube::name_of(result).empty()) metadata["name"] = generated_name(result, suffix);
  if (r.namespaced) {
    if (kube::namespace_of(result).empty()) throw Error{ErrorKind::invalid, "metadata.namespace is required"};
  } else {
    metadata.erase("namespace");
  }
  metadata["uid"] = uid;
  metadata["creationTimestamp"] = rfc3339(now);
  for (const auto* field : {"resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"}) {
    metadata.erase(field);
  }
  if (counts_generations(r)) {
    metadata["generation"] = 1;
  } else {
    metadata.erase("generation");
  }
  for (auto& [name, value] : object) {
    if (name != "apiVersion" && name != "kind" && name != "metadata") result[name] = std::move(value);
  }
  if (is_namespace(r)) {
    child(child(result, "metadata"), "labels")["kubernetes.io/metadata.name"] = kube::name_of(result);
    child(result, "spec")["finalizers"] = json::array{"kubernetes"};
    child(result, "status")["phase"] = "Active";
  }
  return result;
}

json::object prepared_for_update(const kube::Resource& r, const json::object& before, json::object after) {
  after["apiVersion"] = r.api_version();
  after["kind"] = r.kind;
  const auto& old = object_at(before, {"metadata"});
  auto& metadata = child(after, "metadata");
  for (const auto* field : {"name", "namespace", "uid", "creationTimestamp", "deletionTimestamp",
                            "deletionGracePeriodSeconds", "generation", "generateName", "resourceVersion"}) {
    if (const auto* value = old.if_contains(field)) {
      metadata[field] = *value;
    } else {
      metadata.erase(field);
    }
  }
  metadata.erase("selfLink");
  // Nothing new may hold back what is on its way out.
  if (old.contains("deletionTimestamp")) {
    const auto& held = array_at(before, {"metadata", "finalizers"});
    if (auto* finalizers = metadata.if_contains("finalizers"); finalizers != nullptr && finalizers->is_array()) {
      auto& wanted = finalizers->get_array();
      const auto is_new = [&held](const json::value& f) {
        return std::find(held.begin(), held.end(), f) == held.end();
      };
      wanted.erase(std::remove_if(wanted.begin(), wanted.end(), is_new), wanted.end());
    }
  }
  if (metadata.contains("finalizers") && array_at(after, {"metadata", "finalizers"}).empty())
    metadata.erase("finalizers");
  if (counts_generations(r) && !same_intent(before, after)) {
    metadata["generation"] = integer_at(before, {"metadata", "generation"}).value_or(0) + 1;
  }
  return after;
}

Deletion deletion_of(const kube::Resource& r, const json::object& object, const DeleteOptions& options, Time now) {
  if (options.uid && *options.uid != kube::uid_of(object)) {
    throw Error{ErrorKind::conflict, "Operation cannot be fulfilled on " + quoted(r, object) +
                                         ": the UID in the precondition (" + *options.uid +
                                         ") does not match the UID in record (" + kube::uid_of(object) +
                                         "). The object might have been deleted and then recreated"};
  }
  if (options.resource_version) check_resource_version(r, object, *options.resource_version);
  const bool marked = kube::is_being_deleted(object);
  json::object next = object;
  auto& metadata = child(next, "metadata");
  if (options.propagation == "Foreground") add_finalizer(next, foreground);
  if (options.propagation == "Orphan") add_finalizer(next, orphan);
  const std::int64_t grace = is_pod(r) ? grace_of(object, options) : 0;
  const bool held = !array_at(next, {"metadata", "finalizers"}).empty() ||
                    (is_namespace(r) && !array_at(next, {"spec", "finalizers"}).empty());
  if (grace == 0 && !held) return {Deletion::Kind::remove, {}};
  const auto left = integer_at(object, {"metadata", "deletionGracePeriodSeconds"});
  if (marked && left && *left <= grace) {
    if (next == object) return {Deletion::Kind::nothing, {}};
    return {Deletion::Kind::mark, std::move(next)};
  }
  metadata["deletionTimestamp"] = rfc3339(now + std::chrono::seconds(grace));
  metadata["deletionGracePeriodSeconds"] = grace;
  if (is_namespace(r)) child(next, "status")["phase"] = "Terminating";
  if (counts_generations(r) && !marked) {
    metadata["generation"] = integer_at(object, {"metadata", "generation"}).value_or(0) + 1;
  }
  return {Deletion::Kind::mark, std::move(next)};
}

bool is_ready_to_go(const kube::Resource& r, const json::object& object) {
  if (!kube::is_being_deleted(object)) return false;
  if (!array_at(object, {"metadata", "finalizers"}).empty()) return false;
  if (is_namespace(r)) return array_at(object, {"spec", "finalizers"}).empty();
  return integer_at(object, {"metadata", "deletionGracePeriodSeconds"}).value_or(0) == 0;
}

void check_resource_version(const kube::Resource& r, const json::object& current, const std::string& given) {
  if (given.empty() || given == text_at(current, {"metadata", "resourceVersion"})) return;
  throw Error{ErrorKind::conflict,
              "Operation cannot be fulfilled on " + quoted(r, current) +
                  ": the object has been modified; please apply your changes to the latest version "
                  "and try again"};
}

}  // namespace workflow::engine
