#include "engine/controllers/deployment_sets.h"

#include <algorithm>

#include "engine/fields.h"
#include "engine/object_equal.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

constexpr std::string_view not_copied[] = {"kubectl.kubernetes.io/last-applied-configuration",
                                           "deployment.kubernetes.io/revision",
                                           "deployment.kubernetes.io/revision-history",
                                           "deployment.kubernetes.io/desired-replicas",
                                           "deployment.kubernetes.io/max-replicas",
                                           "deprecated.deployment.rollback.to"};

// A set's template without the label that tells it from the others.
json::object plain_template(const json::object& set) {
  auto pod_template = object_at(set, {"spec", "template"});
  auto& labels = child(child(pod_template, "metadata"), "labels");
  labels.erase(hash_label);
  return pod_template;
}

bool same_template(const json::object& set, const json::object& deployment) {
  auto wanted = object_at(deployment, {"spec", "template"});
  child(child(wanted, "metadata"), "labels");
  return is_same(plain_template(set), wanted);
}

// Returns when time alone makes the next of them available.
std::optional<Time> count_pods(SetView& set, const Objects& pods, std::int64_t min_ready, Time now) {
  std::optional<Time> next;
  const auto uid = kube::uid_of(*set.object);
  for (const auto& pod : pods) {
    if (controller_uid(*pod) != uid || kube::is_pod_finished(*pod)) continue;
    ++set.present;
    if (!is_pod_active(*pod)) continue;
    ++set.active;
    if (kube::is_pod_ready(*pod)) ++set.ready;
    if (is_pod_available(*pod, min_ready, now, &next)) ++set.available;
  }
  return next;
}

}  // namespace

Rollout rollout_of(const json::object& deployment, const Objects& sets, const Objects& pods, Time now) {
  Rollout rollout;
  rollout.replicas = integer_at(deployment, {"spec", "replicas"}).value_or(1);
  if (text_at(deployment, {"spec", "strategy", "type"}) != "Recreate") {
    rollout.max_surge = share_of(value_at(deployment, {"spec", "strategy", "rollingUpdate", "maxSurge"}),
                                 rollout.replicas, Rounding::up);
    rollout.max_unavailable = share_of(value_at(deployment, {"spec", "strategy", "rollingUpdate", "maxUnavailable"}),
                                       rollout.replicas, Rounding::down);
    if (rollout.max_surge == 0 && rollout.max_unavailable == 0) rollout.max_unavailable = 1;
    rollout.max_unavailable = std::min(rollout.max_unavailable, rollout.replicas);
  }
  const auto uid = kube::uid_of(deployment);
  for (const auto& object : sets) {
    rollout.taken_names.insert(kube::name_of(*object));
    const auto owner = controller_uid(*object);
    const bool orphan = owner.empty() && selects(deployment, *object) && !kube::is_being_deleted(deployment);
    if (owner != uid && !orphan) continue;
    SetView set;
    set.object = object;
    set.adopted = orphan;
    set.observed = integer_at(*object, {"status", "observedGeneration"}).value_or(0) >=
                   integer_at(*object, {"metadata", "generation"}).value_or(0);
    set.wanted = integer_at(*object, {"spec", "replicas"}).value_or(1);
    set.revision = parse_integer(kube::annotation_of(*object, revision_annotation)).value_or(0);
    set.told_replicas = parse_integer(kube::annotation_of(*object, desired_annotation));
    set.created = text_at(*object, {"metadata", "creationTimestamp"});
    rollout.sets.push_back(std::move(set));
  }
  std::sort(rollout.sets.begin(), rollout.sets.end(), [](const SetView& a, const SetView& b) {
    return std::pair(a.created, kube::name_of(*a.object)) < std::pair(b.created, kube::name_of(*b.object));
  });
  for (std::size_t i = 0; i < rollout.sets.size() && !rollout.current; ++i) {
    if (!kube::is_being_deleted(*rollout.sets[i].object) && same_template(*rollout.sets[i].object, deployment))
      rollout.current = i;
  }
  for (std::size_t i = 0; i < rollout.sets.size(); ++i) {
    // The current set is being brought in line with the Deployment; the others keep what they were made with.
    auto& set = rollout.sets[i];
    const auto& rule = i == rollout.current ? deployment : *set.object;
    const auto next = count_pods(set, pods, integer_at(rule, {"spec", "minReadySeconds"}).value_or(0), now);
    if (next && (!rollout.next_available || *next < *rollout.next_available)) rollout.next_available = next;
  }
  return rollout;
}

json::object new_replica_set(const json::object& deployment, const Rollout& rollout, std::int64_t collisions,
                             std::int64_t revision) {
  auto pod_template = object_at(deployment, {"spec", "template"});
  const auto hash = template_hash(pod_template, collisions);
  child(child(pod_template, "metadata"), "labels")[hash_label] = hash;
  auto selector = object_at(deployment, {"spec", "selector"});
  child(selector, "matchLabels")[hash_label] = hash;
  json::object annotations;
  for (const auto& [name, value] : object_at(deployment, {"metadata", "annotations"})) {
    if (std::find(std::begin(not_copied), std::end(not_copied), std::string_view(name)) == std::end(not_copied))
      annotations[name] = value;
  }
  annotations[revision_annotation] = std::to_string(revision);
  annotations[desired_annotation] = std::to_string(rollout.replicas);
  annotations[max_annotation] = std::to_string(rollout.replicas + rollout.max_surge);
  json::object metadata{{"name", kube::name_of(deployment) + "-" + hash},
                        {"namespace", kube::namespace_of(deployment)},
                        {"labels", object_at(pod_template, {"metadata", "labels"})},
                        {"annotations", std::move(annotations)},
                        {"ownerReferences", json::array{kube::owner_reference_to(deployment)}}};
  json::object spec;
  if (const auto min_ready = integer_at(deployment, {"spec", "minReadySeconds"})) spec["minReadySeconds"] = *min_ready;
  spec["replicas"] = 0;
  spec["selector"] = std::move(selector);
  spec["template"] = std::move(pod_template);
  return {{"apiVersion", "apps/v1"},
          {"kind", "ReplicaSet"},
          {"metadata", std::move(metadata)},
          {"spec", std::move(spec)},
          {"status", json::object{{"replicas", 0}}}};
}

void annotate(SetView& set, const json::object& deployment, const Rollout& rollout) {
  if (set.patch.empty() && set.wanted == 0) return;  // history: left as it was
  json::object wanted{{desired_annotation, std::to_string(rollout.replicas)},
                      {max_annotation, std::to_string(rollout.replicas + rollout.max_surge)}};
  const bool is_current = rollout.current && &rollout.sets[*rollout.current] == &set;
  if (is_current) {
    for (const auto& [name, value] : object_at(deployment, {"metadata", "annotations"})) {
      if (std::find(std::begin(not_copied), std::end(not_copied), std::string_view(name)) == std::end(not_copied))
        wanted[name] = value;
    }
  }
  const auto& has = object_at(*set.object, {"metadata", "annotations"});
  for (const auto& [name, value] : wanted) {
    const auto* old = has.if_contains(name);
    if (old == nullptr || *old != value) child(child(set.patch, "metadata"), "annotations")[name] = value;
  }
  const auto min_ready = integer_at(deployment, {"spec", "minReadySeconds"}).value_or(0);
  if (is_current && integer_at(*set.object, {"spec", "minReadySeconds"}).value_or(0) != min_ready) {
    child(set.patch, "spec")["minReadySeconds"] = min_ready;
  }
}

namespace {

// The Progressing condition, and when its deadline is.
void set_progress(json::array& conditions, const json::object& deployment, const Rollout& rollout,
                  const RolloutOutcome& outcome, bool advanced, Time now, std::optional<Time>& again) {
  const auto deadline = integer_at(deployment, {"spec", "progressDeadlineSeconds"});
  if (!deadline || *deadline >= INT32_MAX) return;
  const auto* old = find_condition(conditions, "Progressing");
  const auto reason = old == nullptr ? "" : text_at(*old, {"reason"});
  const auto name = !outcome.created.empty() ? outcome.created
                    : rollout.current        ? kube::name_of(*rollout.sets[*rollout.current].object)
                                             : std::string();
  const auto set = [&](std::string status, std::string why, std::string message, bool touch) {
    const ConditionChange change{"Progressing", std::move(status), std::move(why), std::move(message)};
    if (!set_condition(conditions, change, now, true) && touch) {
      for (auto& c : conditions) {
        if (text_at(c.get_object(), {"type"}) == "Progressing") c.get_object()["lastUpdateTime"] = rfc3339(now);
      }
    }
  };
  if (flag_at(deployment, {"spec", "paused"})) {
    if (reason != "DeploymentPaused" && reason != "ProgressDeadlineExceeded")
      set("Unknown", "DeploymentPaused", "Deployment is paused", false);
    return;
  }
  if (outcome.complete) {
    set("True", "NewReplicaSetAvailable", "ReplicaSet \"" + name + "\" has successfully progressed.", false);
    return;
  }
  if (!outcome.created.empty()) {
    set("True", "NewReplicaSetCreated", "Created new replica set \"" + name + "\"", true);
  } else if (reason == "DeploymentPaused") {
    set("Unknown", "DeploymentResumed", "Deployment is resumed", true);
  } else if (old == nullptr || advanced || (reason == "NewReplicaSetAvailable")) {
    // A rollout that was complete begins again when a pod is lost or the size changes; a failed one stays failed until
    // it moves.
    if (reason == "NewReplicaSetAvailable" && !advanced) return;
    set("True", "ReplicaSetUpdated",
        name.empty() ? "Deployment \"" + kube::name_of(deployment) + "\" is progressing."
                     : "ReplicaSet \"" + name + "\" is progressing.",
        true);
  }
  const auto* current = find_condition(conditions, "Progressing");
  if (current == nullptr || text_at(*current, {"reason"}) == "ProgressDeadlineExceeded" ||
      text_at(*current, {"reason"}) == "NewReplicaSetAvailable") {
    return;
  }
  const auto since = parse_rfc3339(text_at(*current, {"lastUpdateTime"})).value_or(now);
  const auto end = since + std::chrono::seconds(*deadline);
  if (now < end) {
    if (!again || end < *again) again = end;
    return;
  }
  set("False", "ProgressDeadlineExceeded",
      name.empty() ? "Deployment \"" + kube::name_of(deployment) + "\" has timed out progressing."
                   : "ReplicaSet \"" + name + "\" has timed out progressing.",
      true);
}

// A refusal to create pods, as the replica set says it.
void copy_failure(json::array& conditions, const Rollout& rollout, Time now) {
  const json::object* failure = nullptr;
  for (const auto& set : rollout.sets) {
    const auto* c = find_condition(array_at(*set.object, {"status", "conditions"}), "ReplicaFailure");
    if (c != nullptr && (failure == nullptr || (rollout.current && &rollout.sets[*rollout.current] == &set)))
      failure = c;
  }
  if (failure != nullptr) {
    set_condition(conditions, {"ReplicaFailure", "True", text_at(*failure, {"reason"}), text_at(*failure, {"message"})},
                  now, true);
    return;
  }
  json::array others;
  for (auto& c : conditions) {
    if (text_at(c.get_object(), {"type"}) != "ReplicaFailure") others.push_back(std::move(c));
  }
  conditions = std::move(others);
}

}  // namespace

json::object deployment_status(const json::object& deployment, const Rollout& rollout, const RolloutOutcome& outcome,
                               Time now, std::optional<Time>& again) {
  json::object status = object_at(deployment, {"status"});
  std::int64_t total = 0, updated = 0, ready = 0, available = 0, wanted = 0;
  for (std::size_t i = 0; i < rollout.sets.size(); ++i) {
    const auto& set = rollout.sets[i];
    total += set.active;
    ready += set.ready;
    available += set.available;
    wanted += set.wanted;
    if (rollout.current && i == *rollout.current) updated = set.active;
  }
  if (const auto& next = rollout.next_available; next && (!again || *next < *again)) again = next;
  const auto before = [&](const char* name) { return integer_at(status, {name}).value_or(0); };
  const bool advanced = updated > before("updatedReplicas") || ready > before("readyReplicas") ||
                        available > before("availableReplicas") ||
                        (total - updated) < (before("replicas") - before("updatedReplicas"));
  status["observedGeneration"] = integer_at(deployment, {"metadata", "generation"}).value_or(1);
  set_counter(status, "replicas", total);
  set_counter(status, "updatedReplicas", updated);
  set_counter(status, "readyReplicas", ready);
  set_counter(status, "availableReplicas", available);
  set_counter(status, "unavailableReplicas", std::max<std::int64_t>(0, std::max(wanted, total) - available));
  if (outcome.collision) status["collisionCount"] = *outcome.collision;
  auto conditions = array_at(status, {"conditions"});
  const bool enough = available >= rollout.replicas - rollout.max_unavailable;
  set_condition(
      conditions,
      {"Available", enough ? "True" : "False", enough ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
       enough ? "Deployment has minimum availability." : "Deployment does not have minimum availability."},
      now, true);
  set_progress(conditions, deployment, rollout, outcome, advanced, now, again);
  copy_failure(conditions, rollout, now);
  status["conditions"] = std::move(conditions);
  return status;
}

}  // namespace workflow::engine
