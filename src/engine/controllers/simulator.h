// src/engine/controllers/simulator.h: a cluster in memory, in virtual time, with random timing from a seed. Tests only.
//   Every controller's plan decides on what it sees; its actions are carried out one by one, whenever the dice say so,
//   and are forgotten when the engine dies. Every history is a function of its seed: a seed that fails replays exactly.
#pragma once
#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <string>
#include <tuple>

#include "engine/apiserver/api_error.h"
#include "engine/apiserver/eviction.h"
#include "engine/apiserver/quota.h"
#include "engine/controllers/autoscaler.h"
#include "engine/controllers/cron_job.h"
#include "engine/controllers/daemon_set.h"
#include "engine/controllers/deployment.h"
#include "engine/controllers/disruption_budget.h"
#include "engine/controllers/endpoints.h"
#include "engine/controllers/garbage.h"
#include "engine/controllers/housekeeping.h"
#include "engine/controllers/job.h"
#include "engine/controllers/replica_set.h"
#include "engine/fields.h"
#include "engine/quantity.h"
#include "engine/store_rules.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

class Simulator {
 public:
  explicit Simulator(std::uint64_t seed) : random_(seed) {}

  // What a broken promise looks like; "" while all hold.
  std::string broken;
  bool check_available = false;  // no pod was lost and nothing was resized: removals may not cost availability
  std::int64_t load = 0;         // millicores that all pods of Deployments share
  Time now{std::chrono::seconds(1'800'000'000)};
  std::map<std::string, std::int64_t> succeeded;  // pods that ended well, by uid of their Job

  std::size_t roll(std::size_t below) { return std::uniform_int_distribution<std::size_t>(0, below - 1)(random_); }
  bool chance(int percent) { return static_cast<int>(roll(100)) < percent; }

  // --- objects

  ObjectPtr find(const kube::Resource& r, const std::string& name) const {
    const auto table = objects_.find(&r);
    if (table == objects_.end()) return nullptr;
    const auto found = table->second.find(name);
    return found == table->second.end() ? nullptr : found->second;
  }
  Objects list(const kube::Resource& r) const {
    Objects result;
    if (const auto table = objects_.find(&r); table != objects_.end()) {
      for (const auto& [name, object] : table->second) result.push_back(object);
    }
    return result;
  }
  void create(const kube::Resource& r, json::object object) {
    const auto number = std::to_string(++serial_);
    if (r.namespaced) child(object, "metadata")["namespace"] = "shop";
    object["apiVersion"] = r.api_version();
    object["kind"] = r.kind;
    auto made = prepared_for_create(r, std::move(object), now, "uid-" + number, number);
    const auto name = kube::name_of(made);
    if (find(r, name)) {
      if (&r == &kube::resources::pods) broken = "two pods want the name " + name;
      return;
    }
    if (&r == &kube::resources::pods && !within_quota(made)) return;  // refused with 403; asked for again later
    put(r, std::move(made));
  }
  void edit(const kube::Resource& r, const std::string& name, const std::function<void(json::object&)>& change) {
    const auto before = find(r, name);
    if (!before) return;
    auto after = *before;
    change(after);
    put(r, prepared_for_update(r, *before, std::move(after)));
  }
  void remove(const kube::Resource& r, const std::string& name, DeleteOptions options = {}) {
    const auto object = find(r, name);
    if (!object) return;
    auto deletion = deletion_of(r, *object, options, now);
    if (deletion.kind == Deletion::Kind::remove) erase(r, name);
    if (deletion.kind == Deletion::Kind::mark) put(r, std::move(deletion.object));
  }

  std::size_t unfinished_pods() const {
    const auto pods = list(kube::resources::pods);
    return static_cast<std::size_t>(
        std::count_if(pods.begin(), pods.end(), [](const ObjectPtr& p) { return !kube::is_pod_finished(*p); }));
  }

  // --- what the machine does

  void start_pod() {
    if (const auto pod =
            pick([](const json::object& p) { return is_placed(p) && is_pod_active(p) && !kube::is_pod_ready(p); }))
      set_ready(*pod, true);
  }
  void finish_pod() {
    const auto pod =
        pick([](const json::object& p) { return runs_once(p) && is_pod_active(p) && kube::is_pod_ready(p); });
    if (pod) finish(*pod, chance(70));
  }
  void lose_pod() {
    const auto pod = pick([](const json::object& p) { return is_pod_active(p) && kube::is_pod_ready(p); });
    if (!pod) return;
    if (chance(50)) {
      set_ready(*pod, false);
    } else {
      end(*pod);
    }
  }
  void end_pod() {
    if (const auto pod = pick([](const json::object& p) { return kube::is_being_deleted(p); })) end(*pod);
  }
  // As pods/eviction does it: the budget is asked, and charged with the pod, before the pod goes.
  void evict_pod() {
    const auto pod = pick([](const json::object& p) { return is_pod_active(p); });
    if (!pod) return;
    const auto budget = budget_of_eviction(*pod, list(kube::resources::pod_disruption_budgets));
    if (budget) {
      try {
        auto charged = *budget;
        take_disruption(charged, kube::name_of(*pod), now);
        put(kube::resources::pod_disruption_budgets, std::move(charged));
      } catch (const ApiError&) {
        return;  // 429: later
      }
    }
    const auto least = budget ? integer_at(*budget, {"status", "desiredHealthy"}).value_or(0) : 0;
    const auto before = budget ? healthy_of_budget(*budget) : std::set<std::string>();
    remove(kube::resources::pods, kube::name_of(*pod));
    evicted_.insert(kube::name_of(*pod));
    const auto after = budget ? healthy_of_budget(*budget) : std::set<std::string>();
    // A budget cannot know of pods that went otherwise since it was counted.
    const bool nothing_else_went = std::ranges::all_of(
        counted_, [&](const auto& name) { return after.contains(name) || evicted_.contains(name); });
    if (nothing_else_went && after.size() < before.size() && std::ssize(after) < least)
      broken = "an eviction left " + std::to_string(after.size()) + " healthy pods, at least " + std::to_string(least) +
               " were promised";
  }
  void delete_pod() {
    if (const auto pod = pick([](const json::object& p) { return is_pod_active(p); }))
      remove(kube::resources::pods, kube::name_of(*pod));
  }

  // --- what the controllers do: decide at once, act bit by bit, each key one decision at a time

  bool step_controllers() {
    std::vector<std::pair<const kube::Resource*, std::string>> ready;
    for (const auto* r : controlled()) {
      for (const auto& object : list(*r)) {
        auto name = kube::name_of(*object);
        if (acting_[{r, name}].empty()) ready.emplace_back(r, std::move(name));
      }
    }
    if (ready.empty()) return false;
    const auto& [r, name] = ready[roll(ready.size())];
    return decide(*r, name);
  }
  bool act() {
    std::vector<const Key*> busy;
    for (const auto& [key, actions] : acting_) {
      if (!actions.empty()) busy.push_back(&key);
    }
    if (busy.empty()) return false;
    const auto key = *busy[roll(busy.size())];
    auto& actions = acting_[key];
    auto action = std::move(actions.front());
    actions.pop_front();
    const bool is_last = actions.empty();
    carry_out(action);
    if (is_last && key.first == &kube::resources::pod_disruption_budgets) counted_ = counting_;
    return true;
  }
  // The engine died: what it decided and did not do is forgotten.
  void crash() {
    acting_.clear();
    histories_.clear();
  }

  // Lets everything run, and time pass, until nothing changes any more. False when it does not come to rest.
  bool settle() {
    for (int round = 0; round < 3000 && broken.empty(); ++round) {
      again_.reset();
      bool changed = false;
      while (act()) changed = true;
      for (const auto& pod : list(kube::resources::pods)) changed = run_pod(*pod) || changed;
      changed = collect_garbage() || changed;
      for (const auto* r : controlled()) {
        for (const auto& object : list(*r)) changed = decide(*r, kube::name_of(*object)) || changed;
      }
      if (changed) {
        now += std::chrono::milliseconds(100);
        continue;
      }
      if (!again_ || *again_ > now + std::chrono::minutes(20)) return true;
      now = std::max(now + std::chrono::milliseconds(1), *again_);
    }
    return false;
  }

 private:
  // By name, not by address: the order must be the same in every build.
  struct ByName {
    bool operator()(const kube::Resource* a, const kube::Resource* b) const { return a->plural < b->plural; }
    bool operator()(const std::pair<const kube::Resource*, std::string>& a,
                    const std::pair<const kube::Resource*, std::string>& b) const {
      return std::tie(a.first->plural, a.second) < std::tie(b.first->plural, b.second);
    }
  };
  using Key = std::pair<const kube::Resource*, std::string>;

  static const std::vector<const kube::Resource*>& controlled() {
    using namespace kube::resources;
    static const std::vector<const kube::Resource*> kinds{&deployments,     &replica_sets,
                                                          &daemon_sets,     &jobs,
                                                          &cron_jobs,       &pod_disruption_budgets,
                                                          &services,        &pods,
                                                          &resource_quotas, &horizontal_pod_autoscalers};
    return kinds;
  }
  static bool is_placed(const json::object& pod) { return !text_at(pod, {"spec", "nodeName"}).empty(); }
  static bool runs_once(const json::object& pod) { return text_at(pod, {"spec", "restartPolicy"}) == "Never"; }

  void erase(const kube::Resource& r, const std::string& name) { objects_[&r].erase(name); }
  void put(const kube::Resource& r, json::object object) {
    child(object, "metadata")["resourceVersion"] = std::to_string(++version_);
    const auto name = kube::name_of(object);
    if (is_ready_to_go(r, object)) {
      erase(r, name);
    } else {
      objects_[&r][name] = std::make_shared<const json::object>(std::move(object));
    }
  }

  bool collect_garbage() {
    OwnerIndex index;
    for (const auto& [r, table] : objects_) {
      for (const auto& [name, object] : table) index.put(*r, *object);
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
    // Pods of a Job that is gone altogether are let go, as the Job's own step does it.
    for (const auto& pod : list(kube::resources::pods)) {
      const auto name = owner_named(*pod, "Job");
      if (name.empty() || find(kube::resources::jobs, name)) continue;
      for (auto& action : plan_lost_job_pods(name, "", {pod})) {
        carry_out(action);
        changed = true;
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
      status["podIP"] = "10.0.0." + kube::uid_of(p).substr(4);
      if (!status.contains("startTime")) status["startTime"] = rfc3339(now);
      status["conditions"] = json::array{
          json::object{{"type", "Ready"}, {"status", ready ? "True" : "False"}, {"lastTransitionTime", rfc3339(now)}}};
    });
  }
  void finish(const json::object& pod, bool well) {
    if (well) ++succeeded[controller_uid(pod)];
    edit(kube::resources::pods, kube::name_of(pod), [&](json::object& p) {
      auto& status = child(p, "status");
      status["phase"] = well ? "Succeeded" : "Failed";
      status["conditions"] =
          json::array{json::object{{"type", "Ready"}, {"status", "False"}, {"lastTransitionTime", rfc3339(now)}}};
      status["containerStatuses"] = json::array{json::object{
          {"name", "c"},
          {"state",
           json::object{{"terminated", json::object{{"exitCode", well ? 0 : 1}, {"finishedAt", rfc3339(now)}}}}}}};
    });
  }
  void end(const json::object& pod) {
    if (runs_once(pod) && is_pod_active(pod) == false && !kube::is_pod_finished(pod)) finish(pod, false);
    remove(kube::resources::pods, kube::name_of(pod), {.grace_period_seconds = 0});
  }
  // One step of a pod that nothing goes wrong with.
  bool run_pod(const json::object& pod) {
    if (kube::is_being_deleted(pod)) {
      const auto version = version_;
      end(pod);
      return version != version_ || !find(kube::resources::pods, kube::name_of(pod));
    }
    if (!is_placed(pod) || kube::is_pod_finished(pod)) return false;
    if (!kube::is_pod_ready(pod)) {
      set_ready(pod, true);
    } else if (runs_once(pod)) {
      finish(pod, true);
    } else {
      return false;
    }
    return true;
  }

  bool within_quota(const json::object& pod) {
    const auto lister = [this](const kube::Resource& of, const std::string&) { return list(of); };
    for (const auto& quota : list(kube::resources::resource_quotas)) {
      if (why_over_quota(*quota, kube::resources::pods, pod, lister)) {
        look_again(now + std::chrono::seconds(1));
        return false;
      }
    }
    return true;
  }

  void look_again(std::optional<Time> time) {
    if (time && (!again_ || *time < *again_)) again_ = time;
  }

  std::set<std::string> healthy_of_budget(const json::object& budget) const {
    std::set<std::string> names;
    for (const auto& pod : list(kube::resources::pods)) {
      if (selects(budget, *pod) && is_pod_active(*pod) && kube::is_pod_ready(*pod)) names.insert(kube::name_of(*pod));
    }
    return names;
  }

  std::int64_t deployed_pods() const {
    const auto pods = list(kube::resources::pods);
    return std::count_if(pods.begin(), pods.end(), [](const ObjectPtr& p) {
      return is_pod_active(*p) && !owner_named(*p, "ReplicaSet").empty();
    });
  }

  AutoscalerPlan plan_autoscaler_of(const ObjectPtr& object) {
    AutoscalerInput in{.autoscaler = object, .target_resource = &kube::resources::deployments};
    const auto target = find(kube::resources::deployments, text_at(*object, {"spec", "scaleTargetRef", "name"}));
    in.target = target;
    in.pods = list(kube::resources::pods);
    const auto pods = std::max<std::int64_t>(1, deployed_pods());
    for (const auto& pod : in.pods) {
      if (!kube::is_pod_ready(*pod)) continue;
      in.usage[kube::name_of(*pod)] = {.ns = "shop",
                                       .pod = kube::name_of(*pod),
                                       .containers = {{"c", {static_cast<std::uint64_t>(load / pods) * 1'000'000, 0}}}};
    }
    in.history = histories_[kube::name_of(*object)];
    auto plan = plan_autoscaler(std::move(in), now);
    // A window that has not passed yet may still change its mind, within the bounds.
    const auto replicas = target ? integer_at(*target, {"spec", "replicas"}).value_or(1) : 0;
    const auto least = integer_at(*object, {"spec", "minReplicas"}).value_or(1),
               most = integer_at(*object, {"spec", "maxReplicas"}).value_or(1);
    for (const auto& [time, wanted] : plan.history.recommendations) {
      const auto end = time + std::chrono::seconds(301);
      if (std::clamp(wanted, least, most) != replicas && end > now) look_again(end);
    }
    return plan;
  }

  Actions plan_of(const kube::Resource& r, const ObjectPtr& object) {
    namespace res = kube::resources;
    const auto pods = list(res::pods);
    const auto timed = [this](auto plan) {
      look_again(plan.again);
      return std::move(plan.actions);
    };
    if (&r == &res::deployments) return timed(plan_deployment(object, list(res::replica_sets), pods, now));
    if (&r == &res::replica_sets) return timed(plan_replica_set(*object, pods, "", now));
    if (&r == &res::daemon_sets) return timed(plan_daemon_set(*object, pods, find(res::nodes, "here"), now));
    if (&r == &res::cron_jobs) return timed(plan_cron_job(object, list(res::jobs), TimeZone(), now));
    if (&r == &res::pods) return plan_placement_of(object, pods);
    if (&r == &res::jobs) {
      auto actions = plan_lost_job_pods(kube::name_of(*object), kube::uid_of(*object), pods);
      for (auto& action : timed(plan_job(object, pods, now))) actions.push_back(std::move(action));
      return actions;
    }
    if (&r == &res::pod_disruption_budgets) {
      const auto replicas_of = [this](const json::object& pod) -> std::optional<std::int64_t> {
        const auto set = find(res::replica_sets, owner_named(pod, "ReplicaSet"));
        const auto deployment = set ? find(res::deployments, owner_named(*set, "Deployment")) : nullptr;
        if (!deployment) return std::nullopt;
        return integer_at(*deployment, {"spec", "replicas"}).value_or(1);
      };
      return timed(plan_disruption_budget(object, pods, replicas_of, now));
    }
    if (&r == &res::services) {
      const auto name = kube::name_of(*object);
      return plan_endpoints("shop", name, object, pods, list(res::endpoint_slices), find(res::endpoints, name));
    }
    if (&r == &res::resource_quotas) {
      return plan_quota(*object,
                        quota_used(*object, [this](const kube::Resource& of, const std::string&) { return list(of); }));
    }
    auto plan = plan_autoscaler_of(object);
    histories_[kube::name_of(*object)] = std::move(plan.history);
    return std::move(plan.actions);
  }

  static bool is_binding(const Merge& m) {
    return m.resource == &kube::resources::pods && value_at(m.patch, {"spec", "nodeName"}) != nullptr;
  }
  Actions plan_placement_of(const ObjectPtr& pod, const Objects& pods) const {
    return is_placed(*pod) ? Actions{} : plan_placement(pod, find(kube::resources::nodes, "here"), pods, now);
  }

  // Whether there is anything to do.
  bool decide(const kube::Resource& r, const std::string& name) {
    const auto object = find(r, name);
    if (!object) return false;
    auto actions = plan_of(r, object);
    std::erase_if(actions, [](const Action& a) { return std::holds_alternative<Emit>(a); });
    if (&r == &kube::resources::pod_disruption_budgets) {
      counting_ = healthy_of_budget(*object);
      if (actions.empty()) counted_ = counting_;
    }
    auto& queue = acting_[{&r, name}];
    for (auto& action : actions) queue.push_back(std::move(action));
    return !actions.empty();
  }

  std::int64_t available() const {
    const auto pods = list(kube::resources::pods);
    return std::count_if(pods.begin(), pods.end(), [this](const ObjectPtr& p) {
      return !owner_named(*p, "ReplicaSet").empty() && is_pod_active(*p) && is_pod_available(*p, 0, now);
    });
  }

  void carry_out(Action& action) {
    const auto before = check_available ? available() : 0;
    if (auto* c = std::get_if<Create>(&action)) {
      create(*c->resource, std::move(c->object));
    } else if (auto* m = std::get_if<Merge>(&action)) {
      const auto object = find(*m->resource, m->name);
      if (!object || (!m->uid.empty() && kube::uid_of(*object) != m->uid)) return;
      // What was decided on room that another pod has taken meanwhile: the store is asked again when a pod is bound.
      if (is_binding(*m) &&
          !std::ranges::any_of(plan_placement_of(object, list(kube::resources::pods)), [](const Action& a) {
            return std::holds_alternative<Merge>(a) && is_binding(std::get<Merge>(a));
          })) {
        return;
      }
      edit(*m->resource, m->name, [&](json::object& o) {
        json::value value = std::move(o);
        merge(value, m->patch);
        o = std::move(value.get_object());
      });
    } else if (auto* r = std::get_if<Remove>(&action)) {
      const auto object = find(*r->resource, r->name);
      if (!object || (!r->uid.empty() && kube::uid_of(*object) != r->uid)) return;
      remove(*r->resource, r->name);
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
    if (!broken.empty()) return;
    if (check_available) check_deployments(available_before);
    check_daemons();
    check_jobs();
    check_node();
    check_quota();
    check_names();
  }

  void check_deployments(std::int64_t available_before) {
    for (const auto& d : list(kube::resources::deployments)) {
      const auto replicas = integer_at(*d, {"spec", "replicas"}).value_or(1);
      auto surge = share_of(value_at(*d, {"spec", "strategy", "rollingUpdate", "maxSurge"}), replicas, Rounding::up);
      auto unavailable =
          share_of(value_at(*d, {"spec", "strategy", "rollingUpdate", "maxUnavailable"}), replicas, Rounding::down);
      if (surge == 0 && unavailable == 0) unavailable = 1;
      const auto least = replicas - unavailable;
      if (available() < least && available() < available_before) {
        broken = std::to_string(available()) + " available, at least " + std::to_string(least) + " were promised";
      }
      if (deployed_pods() > replicas + surge) {
        broken =
            std::to_string(deployed_pods()) + " pods, at most " + std::to_string(replicas + surge) + " were allowed";
      }
    }
  }
  // Two of a kind on one node would want the same port.
  void check_daemons() {
    if (list(kube::resources::daemon_sets).empty()) return;
    std::map<std::string, int> live;
    for (const auto& pod : list(kube::resources::pods)) {
      const auto owner = owner_named(*pod, "DaemonSet");
      if (!owner.empty() && !kube::is_pod_finished(*pod) && ++live[controller_uid(*pod)] > 1)
        broken = "two live pods of DaemonSet " + owner;
    }
  }
  // A pod that ended well is counted once; one of a CronJob that forbids it never runs beside another.
  void check_jobs() {
    std::map<std::string, int> running;
    for (const auto& job : list(kube::resources::jobs)) {
      const auto uid = kube::uid_of(*job);
      const auto counted =
          integer_at(*job, {"status", "succeeded"}).value_or(0) +
          static_cast<std::int64_t>(array_at(*job, {"status", "uncountedTerminatedPods", "succeeded"}).size());
      const auto found = succeeded.find(uid);
      if (counted > (found == succeeded.end() ? 0 : found->second))
        broken = "Job " + kube::name_of(*job) + " counts a pod twice";
      const auto& conditions = array_at(*job, {"status", "conditions"});
      const bool over =
          find_condition(conditions, "Complete") != nullptr || find_condition(conditions, "Failed") != nullptr;
      if (!over && !owner_named(*job, "CronJob").empty() && ++running[controller_uid(*job)] > 1)
        broken = "two Jobs of one CronJob run, which it forbids";
    }
  }
  void check_quota() {
    for (const auto& quota : list(kube::resources::resource_quotas)) {
      const auto used = quota_used(*quota, [this](const kube::Resource& of, const std::string&) { return list(of); });
      const auto pods = used.find("pods");
      const auto hard = thousandths_at(*quota, {"spec", "hard", "pods"});
      if (hard && pods != used.end() && pods->second > *hard) broken = "more pods than the quota grants";
    }
  }
  // A name and an address belong to one live pod, and a live pod to one controller that may have it.
  void check_names() {
    std::map<std::string, std::string> owner_of;
    for (const auto& pod : list(kube::resources::pods)) {
      if (kube::is_pod_finished(*pod)) continue;
      for (auto key : {kube::name_of(*pod), text_at(*pod, {"status", "podIP"})}) {
        if (key.empty()) continue;
        const auto [found, is_new] = owner_of.emplace(std::move(key), kube::uid_of(*pod));
        if (!is_new && found->second != kube::uid_of(*pod)) broken = "two live pods own " + found->first;
      }
      std::int64_t controllers = 0;
      for (const auto& reference : array_at(*pod, {"metadata", "ownerReferences"}))
        controllers += flag_at(reference.as_object(), {"controller"}) ? 1 : 0;
      if (controllers > 1) broken = "pod " + kube::name_of(*pod) + " has two controllers";
    }
  }
  void check_node() {
    const auto node = find(kube::resources::nodes, "here");
    if (!node) return;
    std::int64_t taken = 0;
    for (const auto& pod : list(kube::resources::pods)) {
      if (is_placed(*pod) && !kube::is_pod_finished(*pod)) taken += pod_amount(*pod, "requests", "cpu");
    }
    if (taken > thousandths_at(*node, {"status", "allocatable", "cpu"}).value_or(0))
      broken = "the node has promised more than it has";
  }

  std::mt19937_64 random_;
  std::map<const kube::Resource*, std::map<std::string, ObjectPtr>, ByName> objects_;
  std::map<Key, std::deque<Action>, ByName> acting_;
  std::map<std::string, AutoscalerHistory> histories_;
  // The budget's healthy pods when it was counted last (and that was written), or is being counted; what was evicted.
  std::set<std::string> counted_, counting_, evicted_;
  std::optional<Time> again_;
  std::int64_t serial_ = 0, version_ = 0;
};

}  // namespace workflow::engine
