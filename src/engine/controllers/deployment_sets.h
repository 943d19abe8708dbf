// src/engine/controllers/deployment_sets.h: a Deployment's replica sets as its plan sees them. Inside controllers only.
#pragma once
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/controllers/workload.h"

namespace workflow::engine {

inline constexpr const char* revision_annotation = "deployment.kubernetes.io/revision";
inline constexpr const char* revision_history_annotation = "deployment.kubernetes.io/revision-history";
inline constexpr const char* desired_annotation = "deployment.kubernetes.io/desired-replicas";
inline constexpr const char* max_annotation = "deployment.kubernetes.io/max-replicas";
inline constexpr const char* hash_label = "pod-template-hash";

struct SetView {
  ObjectPtr object;
  bool adopted = false;     // has no owner yet
  bool observed = true;     // its controller has acted on its latest size
  std::int64_t wanted = 0;  // spec.replicas; after the plan: what it shall be
  std::int64_t active = 0, ready = 0, available = 0;
  std::int64_t present = 0;  // pods that are still there, those on their way out included
  std::int64_t revision = 0;
  std::optional<std::int64_t> told_replicas;  // spec.replicas of the Deployment when it was last written
  std::string created;
  json::object patch;
};

struct Rollout {
  std::int64_t replicas = 1, max_surge = 0, max_unavailable = 0;
  std::vector<SetView> sets;
  std::optional<std::size_t> current;  // the set of the Deployment's template
  std::optional<Time> next_available;  // when time alone makes the next pod available
  std::set<std::string> taken_names;
};
Rollout rollout_of(const json::object& deployment, const Objects& sets, const Objects& pods, Time now);

json::object new_replica_set(const json::object& deployment, const Rollout& rollout, std::int64_t collisions,
                             std::int64_t revision);
// Copies what `rollout history` and the next plan need into the set's annotations.
void annotate(SetView& set, const json::object& deployment, const Rollout& rollout);

struct RolloutOutcome {
  std::string created;  // name of the set that this plan makes
  bool complete = false;
  std::optional<std::int64_t> collision;
};
json::object deployment_status(const json::object& deployment, const Rollout& rollout, const RolloutOutcome& outcome,
                               Time now, std::optional<Time>& again);

}  // namespace workflow::engine
