#include "engine/controllers/controllers.h"

#include <algorithm>

#include "engine/apiserver/quota.h"
#include "engine/controllers/clock_watch.h"
#include "engine/controllers/garbage_collector.h"
#include "engine/controllers/housekeeping.h"
#include "engine/controllers/loop.h"
#include "engine/controllers/reconciler.h"
#include "engine/fields.h"
#include "engine/store_rules.h"
#include "lib/async/supervisor.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

namespace res = kube::resources;
constexpr const char* service_label = "kubernetes.io/service-name";

std::string key_of(const json::object& object) { return kube::namespace_of(object) + "/" + kube::name_of(object); }
std::pair<std::string, std::string> split_key(const std::string& key) {
  const auto slash = key.find('/');
  return {key.substr(0, slash), key.substr(slash + 1)};
}

}  // namespace

struct Controllers::State {
  State(Executor e, ControllersConfig c, Store& s, Clock& k)
      : executor(e),
        store(s),
        clock(k),
        supervisor(e),
        reconciler(c, s, k),
        garbage(e, {s, k, "garbage-collector", c.admit}) {
    make_loops();
    subscribe();
  }

  Loop& add_loop(const std::string& name, Reconciler::Step step) {
    auto run = [this, step](std::string key) {
      auto [ns, object] = split_key(key);
      return (reconciler.*step)(std::move(ns), std::move(object));
    };
    return *loops.emplace(name, std::make_unique<Loop>(executor, name, clock, run)).first->second;
  }

  void make_loops() {
    deployments = &add_loop("deployment", &Reconciler::deployment);
    replica_sets = &add_loop("replicaset", &Reconciler::replica_set);
    daemon_sets = &add_loop("daemonset", &Reconciler::daemon_set);
    stateful_sets = &add_loop("statefulset", &Reconciler::stateful_set);
    jobs = &add_loop("job", &Reconciler::job);
    lost_job_pods = &add_loop("job-pod", &Reconciler::lost_job_pod);
    cron_jobs = &add_loop("cronjob", &Reconciler::cron_job);
    autoscalers = &add_loop("autoscaler", &Reconciler::autoscaler);
    budgets = &add_loop("disruption", &Reconciler::disruption_budget);
    endpoints = &add_loop("endpoints", &Reconciler::service_endpoints);
    services = &add_loop("service", &Reconciler::service);
    namespaces = &add_loop("namespace", &Reconciler::name_space);
    claims = &add_loop("claim", &Reconciler::claim);
    volumes = &add_loop("volume", &Reconciler::volume);
    placement = &add_loop("scheduler", &Reconciler::place);
    events = &add_loop("event", &Reconciler::expire_event);
    quotas = &add_loop("resourcequota", &Reconciler::quota);
  }

  // --- what wakes which loop

  void on(const kube::Resource& r, std::function<void(const json::object&)> wake) {
    subscriptions.push_back(store.subscribe(r, [wake](const StoreEvent& event) { wake(*event.object); }));
    for (const auto& object : store.list(r)) wake(*object);
  }

  void subscribe() {
    for (const auto* r : kube::all_resources()) {
      if (!r->namespaced) continue;
      subscriptions.push_back(store.subscribe(*r, [this, r](const StoreEvent& event) {
        if (event.type == StoreEvent::Type::deleted) content_went(kube::namespace_of(*event.object));
        wake_quotas(*r, kube::namespace_of(*event.object));
      }));
    }
    on(res::deployments, [this](const json::object& o) {
      deployments->add(key_of(o));
      wake_all(res::pod_disruption_budgets, kube::namespace_of(o), *budgets);
    });
    on(res::replica_sets, [this](const json::object& o) {
      replica_sets->add(key_of(o));
      wake_owner(o, "Deployment", *deployments);
    });
    on(res::daemon_sets, [this](const json::object& o) { daemon_sets->add(key_of(o)); });
    on(res::stateful_sets, [this](const json::object& o) { stateful_sets->add(key_of(o)); });
    subscriptions.push_back(store.subscribe(res::jobs, [this](const StoreEvent& event) {
      if (event.type != StoreEvent::Type::deleted) return;
      const auto& job = *event.object;
      for (const auto& pod : store.list_controlled(res::pods, kube::namespace_of(job), kube::uid_of(job)))
        lost_job_pods->add(key_of(*pod));
    }));
    on(res::jobs, [this](const json::object& o) {
      jobs->add(key_of(o));
      if (const auto name = owner_named(o, "CronJob"); !name.empty())
        cron_jobs->add(kube::namespace_of(o) + "/" + name);
    });
    on(res::cron_jobs, [this](const json::object& o) { cron_jobs->add(key_of(o)); });
    on(res::pod_disruption_budgets, [this](const json::object& o) { budgets->add(key_of(o)); });
    on(res::services, [this](const json::object& o) {
      services->add(key_of(o));
      endpoints->add(key_of(o));
    });
    on(res::endpoint_slices, [this](const json::object& o) {
      if (const auto name = kube::label_of(o, service_label); !name.empty())
        endpoints->add(kube::namespace_of(o) + "/" + name);
    });
    on(res::endpoints, [this](const json::object& o) { endpoints->add(key_of(o)); });
    on(res::namespaces, [this](const json::object& o) { namespaces->add("/" + kube::name_of(o)); });
    on(res::service_accounts, [this](const json::object& o) { basics_changed(o, "default"); });
    on(res::config_maps, [this](const json::object& o) { basics_changed(o, "kube-root-ca.crt"); });
    on(res::persistent_volume_claims, [this](const json::object& o) {
      claims->add(key_of(o));
      volumes->add("/" + volume_name(o));
    });
    on(res::persistent_volumes, [this](const json::object& o) {
      volumes->add("/" + kube::name_of(o));
      const auto claim = text_at(o, {"spec", "claimRef", "name"});
      if (!claim.empty()) claims->add(text_at(o, {"spec", "claimRef", "namespace"}) + "/" + claim);
    });
    on(res::nodes, [this](const json::object&) { node_changed(); });
    on(res::events, [this](const json::object& o) { events->add(key_of(o)); });
    on(res::resource_quotas, [this](const json::object& o) { quotas->add(key_of(o)); });
    subscriptions.push_back(store.subscribe(res::pods, [this](const StoreEvent& event) {
      pod_changed(*event.object);
      if (event.type == StoreEvent::Type::added && !text_at(*event.object, {"spec", "nodeName"}).empty())
        placement->add(key_of(*event.object));
      if (event.before) endpoints_of(*event.before);  // its labels may have changed
      // Its share of the node is free again.
      const bool over = event.type == StoreEvent::Type::deleted || kube::is_pod_finished(*event.object);
      if (over && !(event.type != StoreEvent::Type::deleted && event.before && kube::is_pod_finished(*event.before)))
        place_waiting_pods();
    }));
    for (const auto& pod : store.list(res::pods)) pod_changed(*pod);
    // Only a new wish: its status changes at every look, which must not be a reason for the next one.
    subscriptions.push_back(store.subscribe(res::horizontal_pod_autoscalers, [this](const StoreEvent& event) {
      const auto generation = [](const json::object& o) { return integer_at(o, {"metadata", "generation"}); };
      if (!event.before || generation(*event.before) != generation(*event.object) ||
          event.type == StoreEvent::Type::deleted) {
        autoscalers->add(key_of(*event.object));
      }
    }));
    wake_all(res::horizontal_pod_autoscalers, "", *autoscalers);
  }

  void wake_all(const kube::Resource& r, const std::string& ns, Loop& loop) {
    for (const auto& object : store.list(r, ns)) loop.add(key_of(*object));
  }
  void wake_quotas(const kube::Resource& r, const std::string& ns) {
    for (const auto& quota : store.list(res::resource_quotas, ns)) {
      if (quota_concerns(*quota, r)) quotas->add(key_of(*quota));
    }
  }

  void wake_owner(const json::object& object, std::string_view kind, Loop& loop) {
    const auto name = owner_named(object, kind);
    if (!name.empty()) {
      loop.add(kube::namespace_of(object) + "/" + name);
    } else if (array_at(object, {"metadata", "ownerReferences"}).empty()) {
      // Nobody's: someone may adopt it.
      const auto& r = kind == "Deployment"    ? res::deployments
                      : kind == "StatefulSet" ? res::stateful_sets
                      : kind == "Job"         ? res::jobs
                                              : res::replica_sets;
      for (const auto& owner : store.list(r, kube::namespace_of(object))) {
        if (selects(*owner, object)) loop.add(key_of(*owner));
      }
    }
  }

  void endpoints_of(const json::object& pod) {
    for (const auto& service : store.list(res::services, kube::namespace_of(pod))) {
      const auto& selector = object_at(*service, {"spec", "selector"});
      const auto& labels = object_at(pod, {"metadata", "labels"});
      const bool selected = !selector.empty() && std::all_of(selector.begin(), selector.end(), [&](const auto& s) {
        const auto* value = labels.if_contains(s.key());
        return value != nullptr && *value == s.value();
      });
      if (selected) endpoints->add(key_of(*service));
    }
  }

  // The Job that it belongs to is gone, or another one by now.
  bool is_of_lost_job(const json::object& pod) const {
    const auto name = owner_named(pod, "Job");
    if (name.empty()) return false;
    const auto job = store.find(res::jobs, kube::namespace_of(pod), name);
    return !job || kube::uid_of(*job) != controller_uid(pod);
  }

  void pod_changed(const json::object& pod) {
    const auto ns = kube::namespace_of(pod);
    wake_owner(pod, "ReplicaSet", *replica_sets);
    if (const auto set = owner_named(pod, "ReplicaSet"); !set.empty()) {
      if (const auto owner = store.find(res::replica_sets, ns, set)) wake_owner(*owner, "Deployment", *deployments);
    }
    if (const auto name = owner_named(pod, "DaemonSet"); !name.empty()) daemon_sets->add(ns + "/" + name);
    wake_owner(pod, "StatefulSet", *stateful_sets);
    if (is_of_lost_job(pod)) {
      lost_job_pods->add(key_of(pod));
    } else {
      wake_owner(pod, "Job", *jobs);
    }
    endpoints_of(pod);
    if (text_at(pod, {"spec", "nodeName"}).empty()) placement->add(key_of(pod));
    for (const auto& volume : array_at(pod, {"spec", "volumes"})) {
      if (!volume.is_object()) continue;
      const auto claim = text_at(volume.get_object(), {"persistentVolumeClaim", "claimName"});
      if (!claim.empty()) claims->add(ns + "/" + claim);
    }
    wake_all(res::pod_disruption_budgets, ns, *budgets);
  }

  void place_waiting_pods() {
    for (const auto& pod : store.list(res::pods)) {
      if (text_at(*pod, {"spec", "nodeName"}).empty()) placement->add(key_of(*pod));
    }
  }
  void node_changed() {
    wake_all(res::daemon_sets, "", *daemon_sets);
    place_waiting_pods();
  }

  void basics_changed(const json::object& object, std::string_view name) {
    if (kube::name_of(object) == name) namespaces->add("/" + kube::namespace_of(object));
  }
  void content_went(const std::string& ns) {
    const auto object = store.find(res::namespaces, "", ns);
    if (object && kube::is_being_deleted(*object)) namespaces->add("/" + ns);
  }

  Executor executor;
  Store& store;
  Clock& clock;
  Supervisor supervisor;
  Reconciler reconciler;
  GarbageCollector garbage;
  std::map<std::string, std::unique_ptr<Loop>> loops;
  Loop *deployments, *replica_sets, *daemon_sets, *stateful_sets, *jobs, *lost_job_pods, *cron_jobs, *autoscalers,
      *budgets, *endpoints, *services, *namespaces, *claims, *volumes, *placement, *events, *quotas;
  std::vector<std::unique_ptr<Store::Subscription>> subscriptions;
};

Controllers::Controllers(Executor executor, ControllersConfig config, Store& store, Clock& clock)
    : state_(std::make_shared<State>(std::move(executor), std::move(config), store, clock)) {}
Controllers::~Controllers() = default;

std::optional<std::string> Controllers::problem() const { return state_->supervisor.problem(); }

Task<> Controllers::run() {
  auto state = state_;
  auto group = std::make_shared<TaskGroup>(state->executor);
  for (auto& [name, loop] : state->loops) {
    group->spawn(name, state->supervisor.forever("controller " + name, [its = loop.get()] { return its->run(); }));
  }
  group->spawn("garbage", state->garbage.run(state->supervisor));
  auto look = [state] {
    for (auto& [name, loop] : state->loops) loop->look_at_clock();
  };
  group->spawn("clock", state->supervisor.forever("clock", [look] { return watch_clock(look); }));
  co_await with_cleanup(group->join(), [group] { return group->stop(); });
}

}  // namespace workflow::engine
