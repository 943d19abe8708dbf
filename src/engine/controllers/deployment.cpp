#include "engine/controllers/deployment.h"

#include <algorithm>

#include "engine/controllers/deployment_sets.h"
#include "engine/fields.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

namespace res = kube::resources;

class Planner {
 public:
  Planner(const ObjectPtr& deployment, const Objects& sets, const Objects& pods, Time now)
      : deployment_(deployment), d_(*deployment), now_(now), rollout_(rollout_of(d_, sets, pods, now)) {}

  DeploymentPlan run() {
    adopt();
    if (!kube::is_being_deleted(d_)) {
      if (flag_at(d_, {"spec", "paused"})) {
        scale();
      } else {
        ensure_new_set();
        if (is_scaling()) {
          scale();
        } else if (text_at(d_, {"spec", "strategy", "type"}) == "Recreate") {
          recreate();
        } else {
          roll();
        }
        clean_up();
      }
    }
    write_sets();
    status();
    return std::move(plan_);
  }

 private:
  void adopt() {
    for (auto& set : rollout_.sets) {
      if (!set.adopted) continue;
      auto owners = array_at(*set.object, {"metadata", "ownerReferences"});
      owners.push_back(kube::owner_reference_to(d_));
      child(set.patch, "metadata")["ownerReferences"] = std::move(owners);
    }
  }

  std::int64_t total_wanted() const {
    std::int64_t total = 0;
    for (const auto& set : rollout_.sets) total += set.wanted;
    return total;
  }
  std::int64_t total_available() const {
    std::int64_t total = 0;
    for (const auto& set : rollout_.sets) total += std::min(set.available, set.wanted);
    return total;
  }
  SetView* newest() { return rollout_.current ? &rollout_.sets[*rollout_.current] : nullptr; }
  std::vector<SetView*> old_sets() {
    std::vector<SetView*> old;
    for (std::size_t i = 0; i < rollout_.sets.size(); ++i) {
      if (!rollout_.current || i != *rollout_.current) old.push_back(&rollout_.sets[i]);
    }
    return old;
  }

  // A set that was resized may still be making or giving up pods for its former size: what it has is certain once it
  // has seen the latest.
  static bool is_unsettled(const SetView& set) { return !set.observed; }
  bool others_unsettled() const {
    for (std::size_t i = 0; i < rollout_.sets.size(); ++i) {
      if (i != rollout_.current && is_unsettled(rollout_.sets[i])) return true;
    }
    return false;
  }

  // How many pods the new set may have next: as many as the surge leaves room for.
  std::int64_t next_of_new(std::int64_t has, std::int64_t others) const {
    if (text_at(d_, {"spec", "strategy", "type"}) == "Recreate") return rollout_.replicas;
    if (others_unsettled()) return has;
    const auto room = rollout_.replicas + rollout_.max_surge - (has + others);
    if (room <= 0) return has;
    return std::max(has, std::min(has + room, rollout_.replicas));
  }

  void ensure_new_set() {
    std::int64_t revision = 0;
    for (const auto* set : old_sets()) revision = std::max(revision, set->revision);
    ++revision;
    if (auto* current = newest()) {
      if (current->revision < revision) {
        // An older template is wanted again: its set becomes the newest revision.
        auto& annotations = child(child(current->patch, "metadata"), "annotations");
        annotations[revision_annotation] = std::to_string(revision);
        if (current->revision > 0) {
          auto history = kube::annotation_of(*current->object, revision_history_annotation);
          annotations[revision_history_annotation] =
              (history.empty() ? "" : history + ",") + std::to_string(current->revision);
        }
        current->revision = revision;
      }
      set_revision(current->revision);
      return;
    }
    if (text_at(d_, {"spec", "strategy", "type"}) == "Recreate" && old_pods_remain()) return;  // first they go
    const auto collisions = integer_at(d_, {"status", "collisionCount"}).value_or(0);
    auto set = new_replica_set(d_, rollout_, collisions, revision);
    std::int64_t others = 0;
    for (const auto& s : rollout_.sets) others += std::max(s.wanted, s.active);
    const auto replicas = next_of_new(0, others);
    const auto name = kube::name_of(set);
    child(set, "spec")["replicas"] = replicas;
    if (rollout_.taken_names.contains(name)) {  // another template has this hash: take the next one
      collision_ = collisions + 1;
      plan_.again = now_;
      return;
    }
    created_ = name;
    plan_.actions.push_back(Create{&res::replica_sets, std::move(set)});
    event("ScalingReplicaSet", "Scaled up replica set " + name + " from 0 to " + std::to_string(replicas));
    set_revision(revision);
  }

  void set_revision(std::int64_t revision) {
    if (kube::annotation_of(d_, revision_annotation) == std::to_string(revision)) return;
    plan_.actions.push_back(Merge{
        &res::deployments, kube::namespace_of(d_), kube::name_of(d_), kube::uid_of(d_),
        json::object{{"metadata",
                      json::object{{"annotations", json::object{{revision_annotation, std::to_string(revision)}}}}}}});
  }

  // spec.replicas is not what the sets were last told.
  bool is_scaling() {
    return std::any_of(rollout_.sets.begin(), rollout_.sets.end(), [this](const SetView& set) {
      return set.wanted > 0 && set.told_replicas && *set.told_replicas != rollout_.replicas;
    });
  }

  // Gives the change of spec.replicas to the sets in proportion to their size; a single one takes it all.
  void scale() {
    std::vector<SetView*> active;
    for (auto& set : rollout_.sets) {
      if (set.wanted > 0) active.push_back(&set);
    }
    auto* current = newest();
    if (active.size() <= 1) {
      auto* only = active.empty() ? current : active[0];
      if (only != nullptr) resize(*only, rollout_.replicas);
      return;
    }
    if (current != nullptr && current->available >= rollout_.replicas && current->wanted >= rollout_.replicas) {
      for (auto* set : old_sets()) resize(*set, 0);
      resize(*current, rollout_.replicas);
      return;
    }
    const auto rolling = text_at(d_, {"spec", "strategy", "type"}) != "Recreate";
    const auto allowed = rollout_.replicas > 0 ? rollout_.replicas + (rolling ? rollout_.max_surge : 0) : 0;
    const auto total = total_wanted();
    auto left = allowed - total;
    // The larger first, so that rounding hits those that feel it least.
    std::sort(active.begin(), active.end(), [left](const SetView* a, const SetView* b) {
      if (a->wanted != b->wanted) return a->wanted > b->wanted;
      return left > 0 ? a->created > b->created : a->created < b->created;
    });
    const auto change = left;
    std::vector<std::int64_t> sizes;
    for (const auto* set : active) {
      auto part = total == 0 ? 0 : (set->wanted * change + (change >= 0 ? total / 2 : -total / 2)) / total;
      part = change >= 0 ? std::min(part, left) : std::max(part, left);
      part = std::max(part, -set->wanted);
      left -= part;
      sizes.push_back(set->wanted + part);
    }
    for (std::size_t i = 0; i < active.size() && left != 0; ++i) {
      const auto part = std::max(left, -sizes[i]);
      sizes[i] += part;
      left -= part;
    }
    for (std::size_t i = 0; i < active.size(); ++i) resize(*active[i], sizes[i]);
  }

  bool old_pods_remain() {
    const auto old = old_sets();
    return std::any_of(old.begin(), old.end(), [](const SetView* set) { return set->wanted > 0 || set->present > 0; });
  }

  void recreate() {
    for (auto* set : old_sets()) resize(*set, 0);
    if (old_pods_remain()) return;
    if (auto* current = newest()) resize(*current, rollout_.replicas);
  }

  void roll() {
    auto* current = newest();
    if (current == nullptr) return;  // it was just made; what is old stays until it is there
    const auto has = current->wanted;
    if (has > rollout_.replicas) {
      resize(*current, rollout_.replicas);
    } else {
      // Pods beyond what a set should have are still there until they are told to go.
      std::int64_t others = 0;
      for (const auto* set : old_sets()) others += std::max(set->wanted, set->active);
      resize(*current, next_of_new(has, others));
    }
    shrink_old();
  }

  void shrink_old() {
    auto* current = newest();
    const auto least = rollout_.replicas - rollout_.max_unavailable;
    const auto not_yet = std::max<std::int64_t>(0, current->wanted - current->available);
    auto room = total_wanted() - least - not_yet;
    if (room <= 0) return;
    auto old = old_sets();
    std::sort(old.begin(), old.end(), [](const SetView* a, const SetView* b) { return a->created < b->created; });
    // What does not serve goes at once: it costs nobody anything.
    for (auto* set : old) {
      const auto idle = set->wanted - std::min(set->available, set->wanted);
      const auto count = std::min(idle, room);
      if (count <= 0) continue;
      resize(*set, set->wanted - count);
      room -= count;
    }
    if (std::any_of(rollout_.sets.begin(), rollout_.sets.end(), is_unsettled)) return;
    auto spare = std::min(room, total_available() - least);
    for (auto* set : old) {
      const auto count = std::min(set->wanted, spare);
      if (count <= 0) continue;
      resize(*set, set->wanted - count);
      spare -= count;
    }
  }

  void resize(SetView& set, std::int64_t replicas) {
    if (set.wanted == replicas) return;
    const bool grows = replicas > set.wanted;
    event("ScalingReplicaSet", std::string("Scaled ") + (grows ? "up" : "down") + " replica set " +
                                   kube::name_of(*set.object) + " from " + std::to_string(set.wanted) + " to " +
                                   std::to_string(replicas));
    child(set.patch, "spec")["replicas"] = replicas;
    set.wanted = replicas;
  }

  // Old, empty sets beyond the limit go once the rollout is done.
  void clean_up() {
    if (!is_complete()) return;
    const auto limit = integer_at(d_, {"spec", "revisionHistoryLimit"}).value_or(10);
    std::vector<SetView*> empty;
    for (auto* set : old_sets()) {
      // One that is only now told to shrink, or may still be making a pod, is not empty yet.
      const bool idle = set->observed && integer_at(*set->object, {"spec", "replicas"}) == 0 && set->wanted == 0;
      if (idle && set->present == 0 && !kube::is_being_deleted(*set->object)) empty.push_back(set);
    }
    const auto excess = static_cast<std::int64_t>(empty.size()) - limit;
    std::sort(empty.begin(), empty.end(), [](const SetView* a, const SetView* b) { return a->revision < b->revision; });
    for (std::int64_t i = 0; i < excess; ++i) {
      auto& set = *empty[static_cast<std::size_t>(i)];
      set.patch.clear();
      plan_.actions.push_back(
          Remove{&res::replica_sets, kube::namespace_of(d_), kube::name_of(*set.object), kube::uid_of(*set.object)});
    }
  }

  void write_sets() {
    for (auto& set : rollout_.sets) {
      annotate(set, d_, rollout_);
      if (set.patch.empty()) continue;
      plan_.actions.push_back(Merge{&res::replica_sets, kube::namespace_of(d_), kube::name_of(*set.object),
                                    kube::uid_of(*set.object), set.patch});
    }
  }

  bool is_complete() {
    const auto* current = newest();
    if (current == nullptr || !created_.empty()) return false;
    std::int64_t total = 0;
    for (const auto& set : rollout_.sets) total += set.active;
    return current->wanted == rollout_.replicas && current->active == rollout_.replicas &&
           current->available == rollout_.replicas && total == rollout_.replicas;
  }

  void status() {
    auto next = deployment_status(
        d_, rollout_, {.created = created_, .complete = is_complete(), .collision = collision_}, now_, plan_.again);
    if (object_at(d_, {"status"}) != next) merge_status(plan_.actions, res::deployments, d_, next);
  }

  void event(std::string reason, std::string message) {
    plan_.actions.push_back(Emit{deployment_, "Normal", std::move(reason), std::move(message)});
  }

  const ObjectPtr& deployment_;
  const json::object& d_;
  Time now_;
  Rollout rollout_;
  DeploymentPlan plan_;
  std::string created_;
  std::optional<std::int64_t> collision_;
};

}  // namespace

DeploymentPlan plan_deployment(const ObjectPtr& deployment, const Objects& sets, const Objects& pods, Time now) {
  return Planner(deployment, sets, pods, now).run();
}

}  // namespace workflow::engine
