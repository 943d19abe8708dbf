#include "engine/controllers/reconciler.h"

#include <algorithm>

#include "engine/apiserver/quota.h"
#include "engine/controllers/cron_job.h"
#include "engine/controllers/daemon_set.h"
#include "engine/controllers/deployment.h"
#include "engine/controllers/disruption_budget.h"
#include "engine/controllers/endpoints.h"
#include "engine/controllers/housekeeping.h"
#include "engine/controllers/job.h"
#include "engine/controllers/replica_set.h"
#include "engine/controllers/stateful_set.h"
#include "engine/fields.h"
#include "engine/object_bytes.h"
#include "engine/turns.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

namespace res = kube::resources;
namespace fs = std::filesystem;
using namespace std::chrono_literals;
constexpr auto autoscaler_period = 15s;
constexpr const char* service_label = "kubernetes.io/service-name";

// What a plan is about: it runs on the pool where that is much. `others` are looked at, each for a moment.
struct Extent {
  std::size_t bytes = 0, others = 0;
};
template <typename F>
Task<std::invoke_result_t<F>> planned(Extent extent, F plan) {
  constexpr std::size_t bytes_per_look = 2048;  // about as much work as the look at a pod
  co_return co_await worked_on(extent.bytes + extent.others * bytes_per_look, std::move(plan));
}

}  // namespace

Reconciler::Reconciler(ControllersConfig config, Store& store, Clock& clock)
    : config_(std::move(config)), store_(store), clock_(clock) {}

ControllerContext Reconciler::context(std::string component) const {
  return {store_, clock_, std::move(component), config_.admit};
}

bool Reconciler::is_leaving(const std::string& ns) const {
  const auto object = store_.find(res::namespaces, "", ns);
  return !object || kube::is_being_deleted(*object);
}

Objects Reconciler::within_reach(const kube::Resource& r, const json::object& owner) const {
  const auto ns = kube::namespace_of(owner);
  auto objects = store_.list_controlled(r, ns, kube::uid_of(owner));
  for (auto& orphan : store_.list_controlled(r, ns, "")) objects.push_back(std::move(orphan));
  return objects;
}

Task<std::optional<Time>> Reconciler::deployment(std::string ns, std::string name) {
  const auto object = store_.find(res::deployments, ns, name);
  if (!object) co_return std::nullopt;
  const auto sets = within_reach(res::replica_sets, *object);
  Objects pods;
  for (const auto& set : sets) {
    for (auto& pod : store_.list_controlled(res::pods, ns, kube::uid_of(*set))) pods.push_back(std::move(pod));
  }
  std::size_t bytes = bytes_of(*object);
  for (const auto& set : sets) bytes += bytes_of(*set);
  const auto now = clock_.now();
  auto look = [&] { return plan_deployment(object, sets, pods, now); };
  auto plan = co_await planned({bytes, pods.size()}, look);
  const auto results = co_await perform(context("deployment-controller"), std::move(plan.actions));
  const auto is_taken = [](const Created& c) { return c.error && c.error->detail() == "AlreadyExists"; };
  if (!std::any_of(results.begin(), results.end(), is_taken)) co_return plan.again;
  // A set of somebody else has the name that the new one was to have: only now all of the namespace matter.
  const auto current = store_.find(res::deployments, ns, name);
  if (!current) co_return std::nullopt;
  const auto all_sets = store_.list(res::replica_sets, ns);
  auto look_again = [&] { return plan_deployment(current, all_sets, pods, now); };
  plan = co_await planned({bytes, pods.size() + all_sets.size()}, look_again);
  co_await perform(context("deployment-controller"), std::move(plan.actions));
  co_return plan.again;
}

Task<std::optional<Time>> Reconciler::replica_set(std::string ns, std::string name) {
  const auto object = store_.find(res::replica_sets, ns, name);
  const auto key = ns + "/" + name;
  if (!object) {
    creation_failures_.erase(key);
    co_return std::nullopt;
  }
  const auto failed = creation_failures_.find(key);
  const auto known = failed == creation_failures_.end() ? std::string() : failed->second;
  const auto pods = within_reach(res::pods, *object);
  const auto now = clock_.now();
  auto look = [&] { return plan_replica_set(*object, pods, known, now); };
  auto plan = co_await planned({bytes_of(*object), pods.size()}, look);
  std::vector<std::string> removed;
  for (const auto& action : plan.actions) {
    const auto* r = std::get_if<Remove>(&action);
    if (r != nullptr && r->resource == &res::pods) removed.push_back(r->name);
  }
  const auto results = co_await perform(context("replicaset-controller"), std::move(plan.actions));
  const auto failure = co_await tell_creations(object, results, removed, "replicaset-controller");
  if (failure.empty() || is_leaving(ns)) {
    if (creation_failures_.erase(key) > 0) co_return clock_.now();  // the condition goes
    co_return plan.again;
  }
  creation_failures_[key] = failure;
  if (failure != known) {
    if (const auto current = store_.find(res::replica_sets, ns, name)) {
      auto told = plan_replica_set(*current, within_reach(res::pods, *current), failure, clock_.now()).actions;
      std::erase_if(told, [](const Action& a) { return !std::holds_alternative<Merge>(a); });
      co_await perform(context("replicaset-controller"), std::move(told));
    }
  }
  throw Error{ErrorKind::unavailable, failure};  // tried again, later each time
}

// Events about pods made and removed; returns why the first refused one was refused.
Task<std::string> Reconciler::tell_creations(ObjectPtr owner, std::vector<Created> results,
                                             std::vector<std::string> removed, std::string who) {
  Actions told;
  std::string failure;
  for (const auto& result : results) {
    if (result.object) {
      told.push_back(Emit{owner, "Normal", "SuccessfulCreate", "Created pod: " + kube::name_of(*result.object)});
    } else if (failure.empty()) {
      failure = result.error->message();
      told.push_back(Emit{owner, "Warning", "FailedCreate", "Error creating: " + failure});
    }
  }
  for (const auto& name : removed) told.push_back(Emit{owner, "Normal", "SuccessfulDelete", "Deleted pod: " + name});
  co_await perform(context(std::move(who)), std::move(told));
  co_return failure;
}

Task<std::optional<Time>> Reconciler::daemon_set(std::string ns, std::string name) {
  const auto object = store_.find(res::daemon_sets, ns, name);
  if (!object) co_return std::nullopt;
  auto plan = plan_daemon_set(*object, within_reach(res::pods, *object), store_.find(res::nodes, "", config_.node_name),
                              clock_.now());
  const auto results = co_await perform(context("daemonset-controller"), std::move(plan.actions));
  const auto failure = co_await tell_creations(object, results, {}, "daemonset-controller");
  if (!failure.empty() && !is_leaving(ns)) throw Error{ErrorKind::unavailable, failure};
  co_return plan.again;
}

Task<std::optional<Time>> Reconciler::stateful_set(std::string ns, std::string name) {
  const auto object = store_.find(res::stateful_sets, ns, name);
  if (!object) co_return std::nullopt;
  const StatefulSetView view{.pods = within_reach(res::pods, *object),
                             .claims = store_.list(res::persistent_volume_claims, ns),
                             .revisions = store_.list_controlled(res::controller_revisions, ns, kube::uid_of(*object))};
  auto plan = plan_stateful_set(object, view, clock_.now());
  std::vector<std::string> removed;
  for (const auto& action : plan.actions) {
    const auto* r = std::get_if<Remove>(&action);
    if (r != nullptr && r->resource == &res::pods) removed.push_back(r->name);
  }
  auto results = co_await perform(context("statefulset-controller"), std::move(plan.actions));
  // What is there already was made by the last look; claims and revisions are not worth an event.
  std::erase_if(results, [](const Created& c) {
    return c.error ? c.error->detail() == "AlreadyExists" : text_at(*c.object, {"kind"}) != "Pod";
  });
  const auto failure = co_await tell_creations(object, results, removed, "statefulset-controller");
  if (!failure.empty() && !is_leaving(ns)) throw Error{ErrorKind::unavailable, failure};
  co_return plan.again;
}

Task<std::optional<Time>> Reconciler::job(std::string ns, std::string name) {
  const auto object = store_.find(res::jobs, ns, name);
  if (!object) co_return std::nullopt;
  const auto pods = within_reach(res::pods, *object);
  const auto now = clock_.now();
  auto look = [&] { return plan_job(object, pods, now); };
  auto plan = co_await planned({bytes_of(*object), pods.size()}, look);
  const auto results = co_await perform(context("job-controller"), std::move(plan.actions));
  const auto failure = co_await tell_creations(object, results, {}, "job-controller");
  if (!failure.empty() && !is_leaving(ns)) throw Error{ErrorKind::unavailable, failure};
  co_return plan.again;
}

Task<std::optional<Time>> Reconciler::lost_job_pod(std::string ns, std::string name) {
  const auto pod = store_.find(res::pods, ns, name);
  if (!pod) co_return std::nullopt;
  const auto owner = owner_named(*pod, "Job");
  const auto job = store_.find(res::jobs, ns, owner);
  co_await perform(context("job-controller"), plan_lost_job_pods(owner, job ? kube::uid_of(*job) : "", {pod}));
  co_return std::nullopt;
}

Task<std::optional<Time>> Reconciler::service_endpoints(std::string ns, std::string name) {
  Objects slices;
  for (auto& slice : store_.list(res::endpoint_slices, ns)) {
    if (kube::label_of(*slice, service_label) == name) slices.push_back(std::move(slice));
  }
  const auto present = store_.find(res::endpoints, ns, name);
  const auto service = store_.find(res::services, ns, name);
  const auto pods = store_.list(res::pods, ns);
  auto look = [&] {
    return ns == "default" && name == "kubernetes"
               ? plan_api_endpoints(config_.api_addresses, config_.api_port, slices, present)
               : plan_endpoints(ns, name, service, pods, slices, present);
  };
  auto actions = co_await planned({0, pods.size()}, look);
  if (is_leaving(ns)) std::erase_if(actions, [](const Action& a) { return std::holds_alternative<Create>(a); });
  const auto results = co_await perform(context("endpoint-slice-controller"), std::move(actions));
  for (const auto& result : results) {
    if (result.error) throw *result.error;
  }
  co_return std::nullopt;
}

Task<std::optional<Time>> Reconciler::service(std::string ns, std::string name) {
  const auto object = store_.find(res::services, ns, name);
  if (object)
    co_await perform(context("service-controller"), plan_service_status(*object, config_.load_balancer_address));
  co_return std::nullopt;
}

std::vector<Dependent> Reconciler::contents_of(const std::string& ns) {
  std::vector<Dependent> contents;
  for (const auto* r : kube::all_resources()) {
    if (!r->namespaced) continue;
    for (auto& object : store_.list(*r, ns)) contents.push_back({r, std::move(object)});
  }
  return contents;
}

Task<std::optional<Time>> Reconciler::name_space(std::string, std::string name) {
  const auto object = store_.find(res::namespaces, "", name);
  if (!object) co_return std::nullopt;
  Actions actions;
  if (kube::is_being_deleted(*object)) {
    const auto contents = contents_of(name);
    const auto now = clock_.now();
    auto look = [&] { return plan_namespace(*object, contents, now); };
    actions = co_await planned({0, contents.size()}, look);
  } else {
    actions = plan_namespace_basics(*object, store_.find(res::service_accounts, name, "default"),
                                    store_.find(res::config_maps, name, "kube-root-ca.crt"), config_.root_ca);
  }
  const auto results = co_await perform(context("namespace-controller"), std::move(actions));
  for (const auto& result : results) {
    if (result.error && result.error->detail() != "AlreadyExists") throw *result.error;
  }
  co_return std::nullopt;
}

Task<std::optional<Time>> Reconciler::claim(std::string ns, std::string name) {
  const auto object = store_.find(res::persistent_volume_claims, ns, name);
  if (!object) co_return std::nullopt;
  auto actions = plan_claim(*object, store_.find(res::persistent_volumes, "", volume_name(*object)),
                            store_.list(res::pods, ns), config_.state / "volumes");
  co_await perform(context("persistentvolume-controller"), std::move(actions));
  co_return std::nullopt;
}

Task<std::optional<Time>> Reconciler::volume(std::string, std::string name) {
  const auto object = store_.find(res::persistent_volumes, "", name);
  if (!object) co_return std::nullopt;
  const auto ns = text_at(*object, {"spec", "claimRef", "namespace"}),
             claim = text_at(*object, {"spec", "claimRef", "name"});
  auto plan = plan_volume(*object, claim.empty() ? nullptr : store_.find(res::persistent_volume_claims, ns, claim));
  if (plan.remove_folder && plan.remove_folder->parent_path() == config_.state / "volumes") {
    auto remove = [folder = *plan.remove_folder] {
      std::error_code failed;
      fs::remove_all(folder, failed);
      return failed;
    };
    const auto failed = co_await offload(remove);
    if (failed)
      throw Error{ErrorKind::unavailable, "cannot remove " + plan.remove_folder->string() + ": " + failed.message()};
  }
  co_await perform(context("persistentvolume-controller"), std::move(plan.actions));
  co_return std::nullopt;
}

// Decided inside the write, so that two pods cannot be given the same room.
Task<std::optional<Time>> Reconciler::place(std::string ns, std::string name) {
  Actions told;
  auto bind = [this, &told](json::object& pod) {
    const auto before = std::make_shared<const json::object>(pod);
    bool changed = false;
    for (auto& action : plan_placement(before, store_.find(res::nodes, "", config_.node_name),
                                       store_.list_latest(res::pods), clock_.now())) {
      if (const auto* merge = std::get_if<Merge>(&action)) {
        apply_merge(pod, *merge);
        changed = true;
      } else {
        told.push_back(std::move(action));
      }
    }
    return changed;
  };
  co_await store_.edit(res::pods, ns, name, bind);
  co_await perform(context("default-scheduler"), std::move(told));
  co_return std::nullopt;
}

Task<std::optional<Time>> Reconciler::expire_event(std::string ns, std::string name) {
  const auto event = store_.find(res::events, ns, name);
  if (!event) co_return std::nullopt;
  const auto end = event_expires(*event);
  if (!end) co_return std::nullopt;
  if (*end > clock_.now()) co_return *end;
  co_await perform(context("event-ttl"), {Remove{&res::events, ns, name, kube::uid_of(*event)}});
  co_return std::nullopt;
}

Task<std::optional<Time>> Reconciler::quota(std::string ns, std::string name) {
  const auto object = store_.find(res::resource_quotas, ns, name);
  if (!object) co_return std::nullopt;
  std::map<const kube::Resource*, Objects> counted;
  std::size_t count = 0;
  for (const auto* r : kube::all_resources()) {
    if (!r->namespaced || !quota_concerns(*object, *r)) continue;
    counted[r] = store_.list(*r, ns);
    count += counted[r].size();
  }
  const auto list = [&counted](const kube::Resource& r, const std::string&) { return counted[&r]; };
  auto look = [&] { return plan_quota(*object, quota_used(*object, list)); };
  co_await perform(context("resourcequota-controller"), co_await planned({0, count}, look));
  co_return std::nullopt;
}

Task<std::optional<Time>> Reconciler::cron_job(std::string ns, std::string name) {
  const auto object = store_.find(res::cron_jobs, ns, name);
  if (!object) co_return std::nullopt;
  const auto name_of_zone = text_at(*object, {"spec", "timeZone"});
  const auto zone = name_of_zone.empty() ? TimeZone() : find_time_zone(name_of_zone);
  auto plan = plan_cron_job(object, store_.list_controlled(res::jobs, ns, kube::uid_of(*object)), zone, clock_.now());
  const auto results = co_await perform(context("cronjob-controller"), std::move(plan.actions));
  for (const auto& result : results) {
    // A Job of that name: the last plan got no further than to make it.
    if (result.error && result.error->detail() != "AlreadyExists" && !is_leaving(ns)) throw *result.error;
  }
  co_return plan.again;
}

Task<std::optional<Time>> Reconciler::disruption_budget(std::string ns, std::string name) {
  const auto object = store_.find(res::pod_disruption_budgets, ns, name);
  if (!object) co_return std::nullopt;
  const auto replicas_of = [this, &ns](const json::object& pod) -> std::optional<std::int64_t> {
    if (const auto stateful = store_.find(res::stateful_sets, ns, owner_named(pod, "StatefulSet")))
      return integer_at(*stateful, {"spec", "replicas"}).value_or(1);
    const auto set = store_.find(res::replica_sets, ns, owner_named(pod, "ReplicaSet"));
    if (!set) return std::nullopt;
    const auto deployment = store_.find(res::deployments, ns, owner_named(*set, "Deployment"));
    return integer_at(deployment ? *deployment : *set, {"spec", "replicas"}).value_or(1);
  };
  auto plan = plan_disruption_budget(object, store_.list(res::pods, ns), replicas_of, clock_.now());
  co_await perform(context("disruption-controller"), std::move(plan.actions));
  co_return plan.again;
}

Task<std::optional<Time>> Reconciler::autoscaler(std::string ns, std::string name) {
  const auto key = ns + "/" + name;
  const auto object = store_.find(res::horizontal_pod_autoscalers, ns, name);
  if (!object) {
    histories_.erase(key);
    co_return std::nullopt;
  }
  AutoscalerInput input{.autoscaler = object};
  for (const auto* r : {&res::deployments, &res::replica_sets, &res::stateful_sets}) {
    if (text_at(*object, {"spec", "scaleTargetRef", "kind"}) == r->kind) input.target_resource = r;
  }
  if (config_.pod_usage) {
    for (auto& usage : co_await config_.pod_usage()) {
      if (usage.ns == ns) input.usage[usage.pod] = std::move(usage);
    }
  }
  if (input.target_resource != nullptr) {
    input.target = store_.find(*input.target_resource, ns, text_at(*object, {"spec", "scaleTargetRef", "name"}));
  }
  input.pods = store_.list(res::pods, ns);
  input.history = histories_[key];
  auto plan = plan_autoscaler(std::move(input), clock_.now());
  histories_[key] = std::move(plan.history);
  co_await perform(context("horizontal-pod-autoscaler"), std::move(plan.actions));
  co_return clock_.now() + autoscaler_period;  // nothing tells how busy a pod is: it must be asked
}

}  // namespace workflow::engine
