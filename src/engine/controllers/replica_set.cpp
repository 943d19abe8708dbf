#include "engine/controllers/replica_set.h"

#include <algorithm>

#include "engine/controllers/adoption.h"
#include "engine/fields.h"
#include "engine/object_bytes.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

namespace res = kube::resources;
constexpr std::int64_t burst = 500;              // pods made or removed in one go
constexpr std::int64_t burst_bytes = 8LL << 20;  // of those that are made

json::object status_of(const json::object& set, const Objects& pods, const std::string& failure, Time now,
                       std::optional<Time>& again) {
  const auto min_ready = integer_at(set, {"spec", "minReadySeconds"}).value_or(0);
  const auto& labels = object_at(set, {"spec", "template", "metadata", "labels"});
  std::int64_t count = 0, labelled = 0, ready = 0, available = 0;
  for (const auto& pod : pods) {
    if (!is_pod_active(*pod)) continue;
    ++count;
    const auto& has = object_at(*pod, {"metadata", "labels"});
    if (std::all_of(labels.begin(), labels.end(), [&](const auto& l) {
          const auto* value = has.if_contains(l.key());
          return value != nullptr && *value == l.value();
        })) {
      ++labelled;
    }
    if (kube::is_pod_ready(*pod)) ++ready;
    if (is_pod_available(*pod, min_ready, now, &again)) ++available;
  }
  json::object status = object_at(set, {"status"});
  status["replicas"] = count;
  set_counter(status, "fullyLabeledReplicas", labelled);
  set_counter(status, "readyReplicas", ready);
  set_counter(status, "availableReplicas", available);
  status["observedGeneration"] = integer_at(set, {"metadata", "generation"}).value_or(1);
  auto conditions = array_at(set, {"status", "conditions"});
  if (!failure.empty()) {
    set_condition(conditions, {"ReplicaFailure", "True", "FailedCreate", failure}, now, false);
  } else {
    json::array others;
    for (auto& c : conditions) {
      if (text_at(c.get_object(), {"type"}) != "ReplicaFailure") others.push_back(std::move(c));
    }
    conditions = std::move(others);
  }
  if (conditions.empty()) {
    status.erase("conditions");
  } else {
    status["conditions"] = std::move(conditions);
  }
  return status;
}

}  // namespace

ReplicaSetPlan plan_replica_set(const json::object& set, const Objects& all, const std::string& failure, Time now) {
  ReplicaSetPlan plan;
  const auto uid = kube::uid_of(set), ns = kube::namespace_of(set), name = kube::name_of(set);
  const bool leaving = kube::is_being_deleted(set);
  Objects pods;
  for (const auto& pod : all) {
    const auto owner = controller_uid(*pod);
    if (owner == uid && !leaving && !kube::is_being_deleted(*pod) && !selects(set, *pod)) {
      plan.actions.push_back(let_go(*pod, uid));
    } else if (owner == uid) {
      pods.push_back(pod);
    } else if (owner.empty() && !leaving && is_pod_active(*pod) && selects(set, *pod)) {
      plan.actions.push_back(adopt(*pod, set));
      pods.push_back(pod);
    }
  }
  if (!leaving) {
    const auto wanted = integer_at(set, {"spec", "replicas"}).value_or(1);
    Objects active;
    std::copy_if(pods.begin(), pods.end(), std::back_inserter(active),
                 [](const ObjectPtr& p) { return is_pod_active(*p); });
    const auto missing = wanted - static_cast<std::int64_t>(active.size());
    const auto size = static_cast<std::int64_t>(bytes_of(object_at(set, {"spec", "template"})));
    const auto at_once = std::clamp<std::int64_t>(burst_bytes / size, 1, burst);
    for (std::int64_t i = 0; i < std::min(missing, at_once); ++i) {
      plan.actions.push_back(Create{&res::pods, pod_from_template(set, name + "-")});
    }
    if (missing < 0) {
      std::sort(active.begin(), active.end(), [](const auto& a, const auto& b) { return is_given_up_before(*a, *b); });
      active.resize(static_cast<std::size_t>(std::min(-missing, burst)));
      for (const auto& pod : active)
        plan.actions.push_back(Remove{&res::pods, ns, kube::name_of(*pod), kube::uid_of(*pod)});
    }
  }
  merge_status(plan.actions, res::replica_sets, set, status_of(set, pods, failure, now, plan.again));
  return plan;
}

}  // namespace workflow::engine
