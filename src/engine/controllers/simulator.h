// src/engine/controllers/simulator.h: a cluster in memory, in virtual time, with random timing from a seed. Tests only.
//   Every history is a function of its seed: a seed that fails replays exactly.
#pragma once
#include <deque>
#include <map>
#include <random>
#include <set>
#include <string>

#include "engine/controllers/deployment.h"
#include "engine/controllers/garbage.h"
#include "engine/controllers/replica_set.h"
#include "engine/fields.h"
#include "engine/store_rules.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

class Simulator {
 public:
  explicit Simulator(std::uint64_t seed) : random_(seed) {}

  // What a broken promise looks like; "" while all hold.
  std::string broken;
  bool check_available = false;  // no pod was lost and nothing was resized: removals may not cost availability

  std::size_t roll(std::size_t below) { return std::uniform_int_distribution<std::size_t>(0, below - 1)(random_); }
  bool chance(int percent) { return static_cast<int>(roll(100)) < percent; }

  // --- objects

  ObjectPtr find(const kube::Resource& r, const std::string& name) const {
    const auto table = objects_.find(r.plural);
    if (table == objects_.end()) return nullptr;
    const auto found = table->second.find(name);
    return found == table->second.end() ? nullptr : found->second;
  }
  Objects list(const kube::Resource& r) const {
    Objects result;
    if (const auto table = objects_.find(r.plural); table != objects_.end()) {
      for (const auto& [name, object] : table->second) result.push_back(object);
    }
    return result;
  }
  void create(const kube::Resource& r, json::object object) {
    const auto number = std::to_string(++serial_);
    child(object, "metadata")["namespace"] = "shop";
    auto made = prepared_for_create(r, std::move(object), now, "uid-" + number, number);
    const auto name = kube::name_of(made);
    if (find(r, name)) return;
    put(r, std::move(made));
  }
  void edit(const kube::Resource& r, const std::string& name, const std::function<void(json::object&)>& change) {
    const auto before = find(r, name);
    if (!before) return;
    auto after = *before;
    change(after);
    put(r, prepared_for_update(r, *before, std::move(after)));
  }
  void erase(const kube::Resource& r, const std::string& name) { objects_[r.plural].erase(name); }

  // --- what the machine does

  void start_pod() {
    if (const auto pod = pick([](const json::object& p) { return is_pod_active(p) && !kube::is_pod_ready(p); })) set_ready(*pod, true);
  }
  void lose_pod() {
    if (const auto pod = pick([](const json::object& p) { return is_pod_active(p) && kube::is_pod_ready(p); })) {
      if (chance(50)) {
        set_ready(*pod, false);
      } else {
        erase(kube::resources::pods, kube::name_of(*pod));
      }
    }
  }
  void end_pod() {
    if (const auto pod = pick([](const json::object& p) { return kube::is_being_deleted(p); })) erase(kube::resources::pods, kube::name_of(*pod));
  }

  // --- what the controllers do: decide at once, act bit by bit, each key one decision at a time

  bool step_controllers() {
    std::vector<std::string> ready;
    for (const auto* r : {&kube::resources::deployments, &kube::resources::replica_sets}) {
      for (const auto& object : list(*r)) {
        const auto key = r->plural + "/" + kube::name_of(*object);
        if (acting_[key].empty()) ready.push_back(key);
      }
    }
    if (ready.empty()) return false;
    return decide(ready[roll(ready.size())]);
  }
  bool act() {
    std::vector<std::string> busy;
    for (const auto& [key, actions] : acting_) {
      if (!actions.empty()) busy.push_back(key);
    }
    if (busy.empty()) return false;
    auto& actions = acting_[busy[roll(busy.size())]];
    auto action = std::move(actions.front());
    actions.pop_front();
    carry_out(action);
    return true;
  }
  void crash() { acting_.clear(); }  // the engine died: what it decided and did not do is forgotten

  // Lets everything run until nothing changes. False when it does not come to rest.
  bool settle() {
    for (int round = 0; round < 2000; ++round) {
      bool changed = false;
      while (act()) changed = true;
      for (const auto& pod : list(kube::resources::pods)) {
        if (kube::is_being_deleted(*pod)) {
          erase(kube::resources::pods, kube::name_of(*pod));
          changed = true;
        } else if (!kube::is_pod_ready(*pod)) {
          set_ready(*pod, true);
          changed = true;
        }
      }
      changed = collect_garbage() || changed;
      for (const auto* r : {&kube::resources::deployments, &kube::resources::replica_sets}) {
        for (const auto& object : list(*r)) changed = decide(r->plural + "/" + kube::name_of(*object)) || changed;
      }
      now += std::chrono::milliseconds(100);
      if (!changed) return true;
    }
    return false;
  }

  Time now{std::chrono::seconds(1'800'000'000)};

 private:
  void put(const kube::Resource& r, json::object object) {
    child(object, "metadata")["resourceVersion"] = std::to_string(++version_);
    const auto name = kube::name_of(object);
    if (is_ready_to_go(r, object)) {
      erase(r, name);
    } else {
      objects_[r.plural][name] = std::make_shared<const json::object>(std::move(object));
    }
  }

  bool collect_garbage() {
    OwnerIndex index;
    for (const auto* r : {&kube::resources::deployments, &kube::resources::replica_sets, &kube::resources::pods}) {
      for (const auto& object : list(*r)) index.put(*r, *object);
    }
    bool changed = false;
    for (const auto& uid : index.missing_owners()) {
      for (const auto& entry : index.dependents(uid)) {
        const auto dependent = find(*entry.resource, entry.name);
        for (auto& action : plan_orphan(*entry.resource, *dependent, uid, index)) {
          carry_out(action);
          changed = true;
        }
      }
    }
    return changed;
  }

  template <typename Wanted>
  ObjectPtr pick(Wanted wanted) {
    Objects found;
    for (const auto& pod : list(kube::resources::pods)) {
      if (wanted(*pod)) found.push_back(pod);
    }
    return found.empty() ? nullptr : found[roll(found.size())];
  }

  void set_ready(const json::object& pod, bool ready) {
    edit(kube::resources::pods, kube::name_of(pod), [&](json::object& p) {
      auto& status = child(p, "status");
      status["phase"] = "Running";
      status["conditions"] =
          json::array{json::object{{"type", "Ready"}, {"status", ready ? "True" : "False"}, {"lastTransitionTime", rfc3339(now)}}};
    });
  }

  bool decide(const std::string& key) {
    const auto slash = key.find('/');
    const auto name = key.substr(slash + 1);
    Actions actions;
    if (key.starts_with("deployments/")) {
      const auto object = find(kube::resources::deployments, name);
      if (!object) return false;
      actions = plan_deployment(object, list(kube::resources::replica_sets), list(kube::resources::pods), now).actions;
    } else {
      const auto object = find(kube::resources::replica_sets, name);
      if (!object) return false;
      actions = plan_replica_set(*object, list(kube::resources::pods), "", now).actions;
    }
    std::erase_if(actions, [](const Action& a) { return std::holds_alternative<Emit>(a); });
    for (auto& action : actions) acting_[key].push_back(std::move(action));
    return !actions.empty();
  }

  std::int64_t available() const {
    const auto pods = list(kube::resources::pods);
    return std::count_if(pods.begin(), pods.end(), [this](const ObjectPtr& p) { return is_pod_active(*p) && is_pod_available(*p, 0, now); });
  }
  std::int64_t active() const {
    const auto pods = list(kube::resources::pods);
    return std::count_if(pods.begin(), pods.end(), [](const ObjectPtr& p) { return is_pod_active(*p); });
  }

  void carry_out(Action& action) {
    const auto before = available();
    if (auto* c = std::get_if<Create>(&action)) {
      create(*c->resource, std::move(c->object));
    } else if (auto* m = std::get_if<Merge>(&action)) {
      const auto object = find(*m->resource, m->name);
      if (!object || (!m->uid.empty() && kube::uid_of(*object) != m->uid)) return;
      edit(*m->resource, m->name, [&](json::object& o) {
        json::value value = std::move(o);
        merge(value, m->patch);
        o = std::move(value.get_object());
      });
    } else if (auto* r = std::get_if<Remove>(&action)) {
      const auto object = find(*r->resource, r->name);
      if (!object || (!r->uid.empty() && kube::uid_of(*object) != r->uid)) return;
      if (r->resource == &kube::resources::pods) {
        auto marked = *find(*r->resource, r->name);
        child(marked, "metadata")["deletionTimestamp"] = rfc3339(now);
        child(marked, "metadata")["deletionGracePeriodSeconds"] = 30;
        objects_[r->resource->plural][r->name] = std::make_shared<const json::object>(std::move(marked));
      } else {
        erase(*r->resource, r->name);
      }
    }
    check(before);
  }

  static void merge(json::value& target, const json::value& patch) {
    if (!patch.is_object()) {
      target = patch;
      return;
    }
    if (!target.is_object()) target.emplace_object();
    for (const auto& [name, value] : patch.get_object()) {
      if (value.is_null()) {
        target.get_object().erase(name);
      } else {
        merge(target.get_object()[name], value);
      }
    }
  }

  void check(std::int64_t available_before) {
    if (!check_available || !broken.empty()) return;
    for (const auto& d : list(kube::resources::deployments)) {
      const auto replicas = integer_at(*d, {"spec", "replicas"}).value_or(1);
      auto surge = share_of(value_at(*d, {"spec", "strategy", "rollingUpdate", "maxSurge"}), replicas, Rounding::up);
      auto unavailable = share_of(value_at(*d, {"spec", "strategy", "rollingUpdate", "maxUnavailable"}), replicas, Rounding::down);
      if (surge == 0 && unavailable == 0) unavailable = 1;
      const auto least = replicas - unavailable;
      if (available() < least && available() < available_before) {
        broken = std::to_string(available()) + " available, at least " + std::to_string(least) + " were promised";
      }
      if (active() > replicas + surge) {
        broken = std::to_string(active()) + " pods, at most " + std::to_string(replicas + surge) + " were allowed";
      }
    }
  }

  std::mt19937_64 random_;
  std::map<std::string, std::map<std::string, ObjectPtr>> objects_;
  std::map<std::string, std::deque<Action>> acting_;
  std::int64_t serial_ = 0, version_ = 0;
};

}  // namespace workflow::engine
