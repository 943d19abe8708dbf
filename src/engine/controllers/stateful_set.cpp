#include "engine/controllers/stateful_set.h"

#include <algorithm>
#include <map>
#include <set>

#include "engine/controllers/adoption.h"
#include "engine/fields.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

namespace res = kube::resources;
constexpr const char* revision_label = "controller-revision-hash";

// N of a pod called <set>-N.
std::optional<std::int64_t> ordinal_of(const std::string& set, const std::string& pod) {
  if (!pod.starts_with(set + "-")) return std::nullopt;
  const auto text = std::string_view(pod).substr(set.size() + 1);
  const auto number = parse_integer(text);
  if (!number || *number < 0 || std::to_string(*number) != text) return std::nullopt;
  return number;
}

class Planner {
 public:
  Planner(const ObjectPtr& set, const StatefulSetView& view, Time now)
      : set_(*set), view_(view), now_(now), name_(kube::name_of(set_)), ns_(kube::namespace_of(set_)) {
    start_ = integer_at(set_, {"spec", "ordinals", "start"}).value_or(0);
    wanted_ = integer_at(set_, {"spec", "replicas"}).value_or(1);
    ordered_ = text_at(set_, {"spec", "podManagementPolicy"}) != "Parallel";
    leaving_ = kube::is_being_deleted(set_);
    min_ready_ = integer_at(set_, {"spec", "minReadySeconds"}).value_or(0);
  }

  StatefulSetPlan run() {
    if (!leaving_) choose_revisions();
    sort_pods();
    if (!leaving_ && fill() && shrink()) update();
    if (!leaving_) drop_old_revisions();
    write_status();
    return std::move(plan_);
  }

 private:
  // --- revisions

  static json::value template_of(const json::object& revision) {
    auto data = object_at(revision, {"data", "spec", "template"});
    data.erase("$patch");
    return data;
  }

  const json::object* find_revision(const std::string& name) const {
    const auto found =
        std::ranges::find_if(view_.revisions, [&](const ObjectPtr& one) { return kube::name_of(*one) == name; });
    return found == view_.revisions.end() ? nullptr : found->get();
  }

  void choose_revisions() {
    const json::value own = object_at(set_, {"spec", "template"});
    const auto hash = template_hash(own, integer_at(set_, {"status", "collisionCount"}).value_or(0));
    update_revision_ = name_ + "-" + hash;
    std::int64_t newest = 0;
    for (const auto& one : view_.revisions) newest = std::max(newest, integer_at(*one, {"revision"}).value_or(0));
    if (const auto* known = find_revision(update_revision_); known == nullptr) {
      make_revision(hash, newest + 1);
    } else if (integer_at(*known, {"revision"}).value_or(0) < newest) {  // back to an earlier one
      plan_.actions.push_back(Merge{&res::controller_revisions, ns_, update_revision_, kube::uid_of(*known),
                                    json::object{{"revision", newest + 1}}});
    }
    update_template_ = own;
    current_revision_ = text_at(set_, {"status", "currentRevision"});
    const auto* current = find_revision(current_revision_);
    if (current == nullptr) current_revision_ = update_revision_;
    current_template_ = current == nullptr ? own : template_of(*current);
  }

  void make_revision(const std::string& hash, std::int64_t number) {
    auto data = object_at(set_, {"spec", "template"});
    data["$patch"] = "replace";
    auto labels = object_at(data, {"metadata", "labels"});
    labels["controller.kubernetes.io/hash"] = hash;
    json::object metadata{{"name", update_revision_},
                          {"namespace", ns_},
                          {"labels", std::move(labels)},
                          {"ownerReferences", json::array{kube::owner_reference_to(set_)}}};
    plan_.actions.push_back(Create{&res::controller_revisions,
                                   {{"apiVersion", "apps/v1"},
                                    {"kind", "ControllerRevision"},
                                    {"metadata", std::move(metadata)},
                                    {"data", json::object{{"spec", json::object{{"template", std::move(data)}}}}},
                                    {"revision", number}}});
  }

  // Those that no pod and no status names, the oldest first.
  void drop_old_revisions() {
    std::set<std::string> used{current_revision_, update_revision_};
    for (const auto& pod : view_.pods) used.insert(kube::label_of(*pod, revision_label));
    Objects old;
    std::ranges::copy_if(view_.revisions, std::back_inserter(old),
                         [&](const ObjectPtr& one) { return !used.contains(kube::name_of(*one)); });
    const auto kept = static_cast<std::size_t>(
        std::max<std::int64_t>(integer_at(set_, {"spec", "revisionHistoryLimit"}).value_or(10), 0));
    if (old.size() <= kept) return;
    std::ranges::sort(old, {}, [](const ObjectPtr& one) { return integer_at(*one, {"revision"}).value_or(0); });
    old.resize(old.size() - kept);
    for (const auto& one : old)
      plan_.actions.push_back(Remove{&res::controller_revisions, ns_, kube::name_of(*one), kube::uid_of(*one)});
  }

  // --- pods

  void sort_pods() {
    const auto uid = kube::uid_of(set_);
    for (const auto& pod : view_.pods) {
      const auto owner = controller_uid(*pod);
      const auto ordinal = ordinal_of(name_, kube::name_of(*pod));
      const bool wanted = selects(set_, *pod) && ordinal;
      const bool going = kube::is_being_deleted(*pod);
      if (owner == uid && !wanted && !leaving_ && !going) {
        plan_.actions.push_back(let_go(*pod, uid));
        continue;
      }
      if (owner.empty() && wanted && !leaving_ && is_pod_active(*pod)) {
        plan_.actions.push_back(adopt(*pod, set_));
      } else if (owner != uid || !ordinal) {
        continue;
      }
      pods_[*ordinal] = pod;
    }
  }

  bool is_in_range(std::int64_t ordinal) const { return ordinal >= start_ && ordinal < start_ + wanted_; }
  bool serves(const json::object& pod) {
    return !kube::is_being_deleted(pod) && is_pod_available(pod, min_ready_, now_, &plan_.again);
  }
  void remove(const json::object& pod) {
    plan_.actions.push_back(Remove{&res::pods, ns_, kube::name_of(pod), kube::uid_of(pod)});
  }

  // Every wanted pod, from the first on. False: what comes next waits.
  bool fill() {
    constexpr int most_at_once = 500;
    int made = 0;
    bool settled = true;
    for (auto ordinal = start_; ordinal < start_ + wanted_ && made < most_at_once; ++ordinal) {
      const auto found = pods_.find(ordinal);
      const bool over = found != pods_.end() && kube::is_pod_finished(*found->second);
      if (found == pods_.end()) {
        make(ordinal);
        ++made;
      } else if (over && !kube::is_being_deleted(*found->second)) {
        remove(*found->second);
      }
      settled = settled && found != pods_.end() && !over;
      if (ordered_ && (!settled || !serves(*found->second))) return false;
    }
    return settled;
  }

  // Its claims first: a pod whose claim is not there has to wait on the node.
  void make(std::int64_t ordinal) {
    const auto pod_name = name_ + "-" + std::to_string(ordinal);
    bool missing = false;
    auto volumes = json::array();
    for (const auto& item : array_at(set_, {"spec", "volumeClaimTemplates"})) {
      const auto& claim = item.as_object();
      const auto volume = text_at(claim, {"metadata", "name"});
      const auto claim_name = volume + "-" + pod_name;
      volumes.push_back(
          json::object{{"name", volume}, {"persistentVolumeClaim", json::object{{"claimName", claim_name}}}});
      const auto found =
          std::ranges::find_if(view_.claims, [&](const ObjectPtr& one) { return kube::name_of(*one) == claim_name; });
      if (found == view_.claims.end()) {
        make_claim(claim, claim_name);
        missing = true;
      } else if (kube::is_being_deleted(**found)) {
        plan_.again = now_ + std::chrono::seconds(1);  // nothing tells the set when it has gone
        return;
      }
    }
    if (missing) {
      plan_.again = now_;
      return;
    }
    make_pod(ordinal, pod_name, std::move(volumes));
  }

  void make_claim(const json::object& claim, const std::string& claim_name) {
    auto labels = object_at(claim, {"metadata", "labels"});
    for (const auto& [label, value] : object_at(set_, {"spec", "selector", "matchLabels"})) labels[label] = value;
    json::object metadata{{"name", claim_name}, {"namespace", ns_}, {"labels", std::move(labels)}};
    if (const auto* annotations = value_at(claim, {"metadata", "annotations"})) metadata["annotations"] = *annotations;
    if (text_at(set_, {"spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted"}) == "Delete") {
      auto owner = kube::owner_reference_to(set_);
      owner["controller"] = false;
      owner["blockOwnerDeletion"] = false;
      metadata["ownerReferences"] = json::array{std::move(owner)};
    }
    plan_.actions.push_back(Create{&res::persistent_volume_claims,
                                   {{"apiVersion", "v1"},
                                    {"kind", "PersistentVolumeClaim"},
                                    {"metadata", std::move(metadata)},
                                    {"spec", object_at(claim, {"spec"})}}});
  }

  std::int64_t partition() const {
    return integer_at(set_, {"spec", "updateStrategy", "rollingUpdate", "partition"}).value_or(0);
  }
  bool rolls() const { return text_at(set_, {"spec", "updateStrategy", "type"}) != "OnDelete"; }

  void make_pod(std::int64_t ordinal, const std::string& pod_name, json::array volumes) {
    const bool of_current = rolls() && ordinal < start_ + partition();
    auto owner = set_;
    child(owner, "spec")["template"] = of_current ? current_template_ : update_template_;
    auto pod = pod_from_template(owner, "");
    auto& metadata = child(pod, "metadata");
    metadata.erase("generateName");
    metadata["name"] = pod_name;
    auto& labels = child(metadata, "labels");
    labels[revision_label] = of_current ? current_revision_ : update_revision_;
    labels["statefulset.kubernetes.io/pod-name"] = pod_name;
    labels["apps.kubernetes.io/pod-index"] = std::to_string(ordinal);
    auto& spec = child(pod, "spec");
    spec["hostname"] = pod_name;
    if (const auto service = text_at(set_, {"spec", "serviceName"}); !service.empty()) spec["subdomain"] = service;
    for (const auto& volume : array_at(spec, {"volumes"})) {
      const bool replaced = std::ranges::any_of(
          volumes, [&](const auto& own) { return own.as_object().at("name") == volume.as_object().at("name"); });
      if (!replaced) volumes.push_back(volume);
    }
    if (!volumes.empty()) spec["volumes"] = std::move(volumes);
    plan_.actions.push_back(Create{&res::pods, std::move(pod)});
  }

  // Those that are too many, the last one first. False: what comes next waits.
  bool shrink() {
    const auto first_unwell =
        std::ranges::find_if(pods_, [](const auto& entry) { return !kube::is_pod_ready(*entry.second); });
    for (auto one = pods_.rbegin(); one != pods_.rend(); ++one) {
      if (is_in_range(one->first)) continue;
      const auto& pod = *one->second;
      if (kube::is_being_deleted(pod)) {
        if (ordered_) return false;
        continue;
      }
      // With one unwell the others stay: it may be the one that is missed.
      if (ordered_ && !serves(pod) && first_unwell != pods_.end() && first_unwell->first != one->first) return false;
      remove(pod);
      if (ordered_) return false;
    }
    return true;
  }

  // One after the other, the last one first, each once all behind it serve.
  void update() {
    if (!rolls()) return;
    for (auto ordinal = start_ + wanted_ - 1; ordinal >= start_ + partition(); --ordinal) {
      const auto found = pods_.find(ordinal);
      if (found == pods_.end()) return;
      const auto& pod = *found->second;
      if (kube::label_of(pod, revision_label) != update_revision_) {
        if (!kube::is_being_deleted(pod)) remove(pod);
        return;
      }
      if (!serves(pod)) return;
    }
  }

  // --- status

  void write_status() {
    json::object status = object_at(set_, {"status"});
    std::int64_t count = 0, ready = 0, available = 0, current = 0, updated = 0;
    for (const auto& [ordinal, pod] : pods_) {
      ++count;
      if (kube::is_being_deleted(*pod)) continue;
      if (kube::is_pod_ready(*pod)) ++ready;
      if (serves(*pod)) ++available;
      const auto revision = kube::label_of(*pod, revision_label);
      if (revision == current_revision_) ++current;
      if (revision == update_revision_) ++updated;
    }
    if (!update_revision_.empty()) {
      if (rolls() && updated == count && ready == count && count == wanted_) {
        current_revision_ = update_revision_;
        current = updated;
      }
      status["currentRevision"] = current_revision_;
      status["updateRevision"] = update_revision_;
    }
    status["replicas"] = count;
    status["availableReplicas"] = available;
    set_counter(status, "readyReplicas", ready);
    set_counter(status, "currentReplicas", current);
    set_counter(status, "updatedReplicas", updated);
    if (!status.contains("collisionCount")) status["collisionCount"] = 0;
    status["observedGeneration"] = integer_at(set_, {"metadata", "generation"}).value_or(1);
    merge_status(plan_.actions, res::stateful_sets, set_, status);
  }

  const json::object& set_;
  const StatefulSetView& view_;
  Time now_;
  std::string name_, ns_;
  std::int64_t start_ = 0, wanted_ = 1, min_ready_ = 0;
  bool ordered_ = true, leaving_ = false;
  std::string current_revision_, update_revision_;
  json::value current_template_, update_template_;
  std::map<std::int64_t, ObjectPtr> pods_;  // by ordinal
  StatefulSetPlan plan_;
};

}  // namespace

StatefulSetPlan plan_stateful_set(const ObjectPtr& set, const StatefulSetView& view, Time now) {
  return Planner(set, view, now).run();
}

}  // namespace workflow::engine
