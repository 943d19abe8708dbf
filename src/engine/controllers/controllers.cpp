#include "engine/controllers/controllers.h"

#include <algorithm>

#include "engine/controllers/daemon_set.h"
#include "engine/controllers/deployment.h"
#include "engine/controllers/endpoints.h"
#include "engine/controllers/garbage.h"
#include "engine/controllers/housekeeping.h"
#include "engine/controllers/job.h"
#include "engine/controllers/loop.h"
#include "engine/controllers/replica_set.h"
#include "engine/fields.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

namespace res = kube::resources;
namespace fs = std::filesystem;
constexpr const char* service_label = "kubernetes.io/service-name";

std::string key_of(const json::object& object) { return kube::namespace_of(object) + "/" + kube::name_of(object); }
std::pair<std::string, std::string> split_key(const std::string& key) {
  const auto slash = key.find('/');
  return {key.substr(0, slash), key.substr(slash + 1)};
}

// Owner of a kind, by name; "" when it has none.
std::string owner_named(const json::object& object, std::string_view kind) {
  for (const auto& owner : array_at(object, {"metadata", "ownerReferences"})) {
    if (!owner.is_object() || text_at(owner.get_object(), {"kind"}) != kind) continue;
    return text_at(owner.get_object(), {"name"});
  }
  return "";
}

}  // namespace

struct Controllers::State : std::enable_shared_from_this<Controllers::State> {
  State(Executor e, ControllersConfig c, Store& s, Clock& k) : executor(e), config(std::move(c)), store(s), clock(k) {
    make_loops();
    subscribe();
  }

  ControllerContext context(std::string component) { return {store, clock, std::move(component), config.admit}; }

  using Reconcile = Task<std::optional<Time>> (State::*)(std::string ns, std::string name);
  Loop& add_loop(const std::string& name, Reconcile reconcile) {
    auto run = [this, reconcile](std::string key) {
      auto [ns, object] = split_key(key);
      return (this->*reconcile)(std::move(ns), std::move(object));
    };
    return *loops.emplace(name, std::make_unique<Loop>(executor, name, clock, run)).first->second;
  }

  void make_loops() {
    deployments = &add_loop("deployment", &State::deployment);
    replica_sets = &add_loop("replicaset", &State::replica_set);
    daemon_sets = &add_loop("daemonset", &State::daemon_set);
    jobs = &add_loop("job", &State::job);
    endpoints = &add_loop("endpoints", &State::service_endpoints);
    services = &add_loop("service", &State::service);
    namespaces = &add_loop("namespace", &State::name_space);
    claims = &add_loop("claim", &State::claim);
    volumes = &add_loop("volume", &State::volume);
    placement = &add_loop("scheduler", &State::place);
    events = &add_loop("event", &State::expire_event);
    quotas = &add_loop("resourcequota", &State::quota);
    waiting_owners = std::make_unique<Loop>(executor, "garbage-owner", clock,
                                            [this](std::string uid) { return waiting_owner(uid); });
    orphans = std::make_unique<Loop>(executor, "garbage", clock, [this](std::string uid) { return orphaned(uid); });
  }

  // --- what wakes which loop

  void on(const kube::Resource& r, std::function<void(const json::object&)> wake) {
    subscriptions.push_back(store.subscribe(r, [wake](const StoreEvent& event) { wake(*event.object); }));
    for (const auto& object : store.list(r)) wake(*object);
  }

  void subscribe() {
    for (const auto* r : kube::all_resources()) {
      for (const auto& object : store.list(*r)) index.put(*r, *object);
    }
    for (const auto* r : kube::all_resources()) {
      subscriptions.push_back(store.subscribe(*r, [this, r](const StoreEvent& event) { owners_changed(*r, event); }));
      if (!r->namespaced) continue;
      subscriptions.push_back(store.subscribe(*r, [this](const StoreEvent& event) {
        if (event.type == StoreEvent::Type::deleted) content_went(kube::namespace_of(*event.object));
      }));
    }
    for (const auto& uid : index.missing_owners()) orphans->add(uid);
    on(res::deployments, [this](const json::object& o) { deployments->add(key_of(o)); });
    on(res::replica_sets, [this](const json::object& o) {
      replica_sets->add(key_of(o));
      wake_owner(o, "Deployment", *deployments);
    });
    on(res::daemon_sets, [this](const json::object& o) { daemon_sets->add(key_of(o)); });
    on(res::jobs, [this](const json::object& o) { jobs->add(key_of(o)); });
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
    }));
    for (const auto& pod : store.list(res::pods)) pod_changed(*pod);
  }

  void wake_owner(const json::object& object, std::string_view kind, Loop& loop) {
    const auto name = owner_named(object, kind);
    if (!name.empty()) {
      loop.add(kube::namespace_of(object) + "/" + name);
    } else if (array_at(object, {"metadata", "ownerReferences"}).empty()) {
      // Nobody's: someone may adopt it.
      const auto& r = kind == "Deployment" ? res::deployments : res::replica_sets;
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

  void pod_changed(const json::object& pod) {
    const auto ns = kube::namespace_of(pod);
    wake_owner(pod, "ReplicaSet", *replica_sets);
    if (const auto set = owner_named(pod, "ReplicaSet"); !set.empty()) {
      if (const auto owner = store.find(res::replica_sets, ns, set)) wake_owner(*owner, "Deployment", *deployments);
    }
    if (const auto name = owner_named(pod, "DaemonSet"); !name.empty()) daemon_sets->add(ns + "/" + name);
    if (const auto name = owner_named(pod, "Job"); !name.empty()) jobs->add(ns + "/" + name);
    endpoints_of(pod);
    if (text_at(pod, {"spec", "nodeName"}).empty()) placement->add(key_of(pod));
    for (const auto& volume : array_at(pod, {"spec", "volumes"})) {
      if (!volume.is_object()) continue;
      const auto claim = text_at(volume.get_object(), {"persistentVolumeClaim", "claimName"});
      if (!claim.empty()) claims->add(ns + "/" + claim);
    }
    for (const auto& quota : store.list(res::resource_quotas, ns)) quotas->add(key_of(*quota));
  }

  void node_changed() {
    for (const auto& set : store.list(res::daemon_sets)) daemon_sets->add(key_of(*set));
    for (const auto& pod : store.list(res::pods)) {
      if (text_at(*pod, {"spec", "nodeName"}).empty()) placement->add(key_of(*pod));
    }
  }

  void basics_changed(const json::object& object, std::string_view name) {
    if (kube::name_of(object) == name) namespaces->add("/" + kube::namespace_of(object));
  }
  void content_went(const std::string& ns) {
    const auto object = store.find(res::namespaces, "", ns);
    if (object && kube::is_being_deleted(*object)) namespaces->add("/" + ns);
  }

  void owners_changed(const kube::Resource& r, const StoreEvent& event) {
    const auto uid = kube::uid_of(*event.object);
    if (event.type == StoreEvent::Type::deleted) {
      index.drop(r, *event.object);
      if (!index.dependents(uid).empty()) orphans->add(uid);
      for (const auto& owner : array_at(*event.object, {"metadata", "ownerReferences"})) {
        if (owner.is_object()) waiting_owners->add(text_at(owner.get_object(), {"uid"}));
      }
      return;
    }
    index.put(r, *event.object);
    if (kube::is_being_deleted(*event.object)) {
      waiting.insert_or_assign(uid,
                               OwnerIndex::Entry{&r, kube::namespace_of(*event.object), kube::name_of(*event.object)});
      waiting_owners->add(uid);
    }
    for (const auto& owner : array_at(*event.object, {"metadata", "ownerReferences"})) {
      if (!owner.is_object()) continue;
      const auto owner_uid = text_at(owner.get_object(), {"uid"});
      if (!index.is_alive(owner_uid)) orphans->add(owner_uid);
      if (waiting.contains(owner_uid)) waiting_owners->add(owner_uid);
    }
  }

  bool is_leaving(const std::string& ns) const {
    const auto object = store.find(res::namespaces, "", ns);
    return !object || kube::is_being_deleted(*object);
  }

  // --- the loops

  Task<std::optional<Time>> deployment(std::string ns, std::string name) {
    const auto object = store.find(res::deployments, ns, name);
    if (!object) co_return std::nullopt;
    auto plan = plan_deployment(object, store.list(res::replica_sets, ns), store.list(res::pods, ns), clock.now());
    co_await perform(context("deployment-controller"), std::move(plan.actions));
    co_return plan.again;
  }

  Task<std::optional<Time>> replica_set(std::string ns, std::string name) {
    const auto object = store.find(res::replica_sets, ns, name);
    if (!object) co_return std::nullopt;
    const auto key = ns + "/" + name;
    const auto failed = creation_failures.find(key);
    auto plan = plan_replica_set(*object, store.list(res::pods, ns),
                                 failed == creation_failures.end() ? "" : failed->second, clock.now());
    std::vector<std::string> removed;
    for (const auto& action : plan.actions) {
      const auto* r = std::get_if<Remove>(&action);
      if (r != nullptr && r->resource == &res::pods) removed.push_back(r->name);
    }
    const auto results = co_await perform(context("replicaset-controller"), std::move(plan.actions));
    const auto failure = co_await tell_creations(object, results, removed, "replicaset-controller");
    if (failure.empty() || is_leaving(ns)) {
      if (creation_failures.erase(key) > 0) replica_sets->add(key);
      co_return plan.again;
    }
    if (creation_failures[key] != failure) {
      creation_failures[key] = failure;
      replica_sets->add(key);  // the condition
    }
    throw Error{ErrorKind::unavailable, failure};  // tried again, later each time
  }

  // Events about pods made and removed; returns why the first refused one was refused.
  Task<std::string> tell_creations(ObjectPtr owner, std::vector<Created> results, std::vector<std::string> removed,
                                   std::string who) {
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

  Task<std::optional<Time>> daemon_set(std::string ns, std::string name) {
    const auto object = store.find(res::daemon_sets, ns, name);
    if (!object) co_return std::nullopt;
    auto plan =
        plan_daemon_set(*object, store.list(res::pods, ns), store.find(res::nodes, "", config.node_name), clock.now());
    const auto results = co_await perform(context("daemonset-controller"), std::move(plan.actions));
    const auto failure = co_await tell_creations(object, results, {}, "daemonset-controller");
    if (!failure.empty() && !is_leaving(ns)) throw Error{ErrorKind::unavailable, failure};
    co_return plan.again;
  }

  Task<std::optional<Time>> job(std::string ns, std::string name) {
    const auto object = store.find(res::jobs, ns, name);
    const auto pods = store.list(res::pods, ns);
    if (!object) {
      Actions actions;
      for (const auto& pod : pods) {
        const auto& finalizers = array_at(*pod, {"metadata", "finalizers"});
        if (owner_named(*pod, "Job") != name || finalizers.empty()) continue;
        actions.push_back(Merge{&res::pods, ns, kube::name_of(*pod), kube::uid_of(*pod),
                                json::object{{"metadata", json::object{{"finalizers", nullptr}}}}});
      }
      co_await perform(context("job-controller"), std::move(actions));
      co_return std::nullopt;
    }
    auto plan = plan_job(object, pods, clock.now());
    const auto results = co_await perform(context("job-controller"), std::move(plan.actions));
    const auto failure = co_await tell_creations(object, results, {}, "job-controller");
    if (!failure.empty() && !is_leaving(ns)) throw Error{ErrorKind::unavailable, failure};
    co_return plan.again;
  }

  Task<std::optional<Time>> service_endpoints(std::string ns, std::string name) {
    Objects slices;
    for (auto& slice : store.list(res::endpoint_slices, ns)) {
      if (kube::label_of(*slice, service_label) == name) slices.push_back(std::move(slice));
    }
    const auto present = store.find(res::endpoints, ns, name);
    const auto service = store.find(res::services, ns, name);
    auto actions = ns == "default" && name == "kubernetes"
                       ? plan_api_endpoints(config.api_addresses, config.api_port, slices, present)
                       : plan_endpoints(ns, name, service, store.list(res::pods, ns), slices, present);
    if (is_leaving(ns)) std::erase_if(actions, [](const Action& a) { return std::holds_alternative<Create>(a); });
    const auto results = co_await perform(context("endpoint-slice-controller"), std::move(actions));
    for (const auto& result : results) {
      if (result.error) throw *result.error;
    }
    co_return std::nullopt;
  }

  Task<std::optional<Time>> service(std::string ns, std::string name) {
    const auto object = store.find(res::services, ns, name);
    if (object)
      co_await perform(context("service-controller"), plan_service_status(*object, config.load_balancer_address));
    co_return std::nullopt;
  }

  std::vector<Dependent> contents_of(const std::string& ns) {
    std::vector<Dependent> contents;
    for (const auto* r : kube::all_resources()) {
      if (!r->namespaced) continue;
      for (auto& object : store.list(*r, ns)) contents.push_back({r, std::move(object)});
    }
    return contents;
  }

  Task<std::optional<Time>> name_space(std::string, std::string name) {
    const auto object = store.find(res::namespaces, "", name);
    if (!object) co_return std::nullopt;
    auto actions = kube::is_being_deleted(*object)
                       ? plan_namespace(*object, contents_of(name), clock.now())
                       : plan_namespace_basics(*object, store.find(res::service_accounts, name, "default"),
                                               store.find(res::config_maps, name, "kube-root-ca.crt"), config.root_ca);
    const auto results = co_await perform(context("namespace-controller"), std::move(actions));
    for (const auto& result : results) {
      if (result.error && result.error->detail() != "AlreadyExists") throw *result.error;
    }
    co_return std::nullopt;
  }

  Task<std::optional<Time>> claim(std::string ns, std::string name) {
    const auto object = store.find(res::persistent_volume_claims, ns, name);
    if (!object) co_return std::nullopt;
    auto actions = plan_claim(*object, store.find(res::persistent_volumes, "", volume_name(*object)),
                              store.list(res::pods, ns), config.state / "volumes");
    co_await perform(context("persistentvolume-controller"), std::move(actions));
    co_return std::nullopt;
  }

  Task<std::optional<Time>> volume(std::string, std::string name) {
    const auto object = store.find(res::persistent_volumes, "", name);
    if (!object) co_return std::nullopt;
    const auto ns = text_at(*object, {"spec", "claimRef", "namespace"}),
               claim = text_at(*object, {"spec", "claimRef", "name"});
    auto plan = plan_volume(*object, claim.empty() ? nullptr : store.find(res::persistent_volume_claims, ns, claim));
    if (plan.remove_folder && plan.remove_folder->parent_path() == config.state / "volumes") {
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

  Task<std::optional<Time>> place(std::string ns, std::string name) {
    const auto pod = store.find(res::pods, ns, name);
    if (pod) {
      co_await perform(context("default-scheduler"),
                       plan_placement(pod, store.find(res::nodes, "", config.node_name), clock.now()));
    }
    co_return std::nullopt;
  }

  Task<std::optional<Time>> expire_event(std::string ns, std::string name) {
    const auto event = store.find(res::events, ns, name);
    if (!event) co_return std::nullopt;
    const auto end = event_expires(*event);
    if (!end) co_return std::nullopt;
    if (*end > clock.now()) co_return *end;
    co_await perform(context("event-ttl"), {Remove{&res::events, ns, name, kube::uid_of(*event)}});
    co_return std::nullopt;
  }

  Task<std::optional<Time>> quota(std::string ns, std::string name) {
    const auto object = store.find(res::resource_quotas, ns, name);
    if (!object) co_return std::nullopt;
    std::map<std::string, std::int64_t> used;
    for (const auto* r : kube::all_resources()) {
      if (!r->namespaced) continue;
      std::int64_t count = 0;
      for (const auto& o : store.list(*r, ns)) count += r == &res::pods && kube::is_pod_finished(*o) ? 0 : 1;
      used[r->plural] = count;
      used["count/" + r->plural + (r->group.empty() ? "" : "." + r->group)] = count;
    }
    co_await perform(context("resourcequota-controller"), plan_quota(*object, used));
    co_return std::nullopt;
  }

  std::vector<Dependent> dependents_of(const std::string& uid) {
    std::vector<Dependent> dependents;
    for (const auto& entry : index.dependents(uid)) {
      if (auto object = store.find(*entry.resource, entry.ns, entry.name))
        dependents.push_back({entry.resource, std::move(object)});
    }
    return dependents;
  }

  Task<std::optional<Time>> orphaned(std::string uid) {
    if (index.is_alive(uid)) co_return std::nullopt;
    Actions actions;
    for (const auto& d : dependents_of(uid)) {
      for (auto& action : plan_orphan(*d.resource, *d.object, uid, index)) actions.push_back(std::move(action));
    }
    co_await perform(context("garbage-collector"), std::move(actions));
    co_return std::nullopt;
  }

  Task<std::optional<Time>> waiting_owner(std::string uid) {
    const auto entry = waiting.find(uid);
    if (entry == waiting.end()) co_return std::nullopt;
    const auto owner = store.find(*entry->second.resource, entry->second.ns, entry->second.name);
    if (!owner || kube::uid_of(*owner) != uid) {
      waiting.erase(entry);
      co_return std::nullopt;
    }
    co_await perform(context("garbage-collector"),
                     plan_waiting_owner(*entry->second.resource, *owner, dependents_of(uid)));
    co_return std::nullopt;
  }

  Executor executor;
  ControllersConfig config;
  Store& store;
  Clock& clock;
  std::map<std::string, std::unique_ptr<Loop>> loops;
  Loop *deployments, *replica_sets, *daemon_sets, *jobs, *endpoints, *services, *namespaces, *claims, *volumes,
      *placement, *events, *quotas;
  std::unique_ptr<Loop> waiting_owners, orphans;
  std::vector<std::unique_ptr<Store::Subscription>> subscriptions;
  OwnerIndex index;
  std::map<std::string, OwnerIndex::Entry> waiting;      // owners with a deletionTimestamp, by uid
  std::map<std::string, std::string> creation_failures;  // of replica sets, by key
};

Controllers::Controllers(Executor executor, ControllersConfig config, Store& store, Clock& clock)
    : state_(std::make_shared<State>(std::move(executor), std::move(config), store, clock)) {}
Controllers::~Controllers() = default;

Task<> Controllers::run() {
  auto state = state_;
  auto group = std::make_shared<TaskGroup>(state->executor);
  for (auto& [name, loop] : state->loops) group->spawn(name, loop->run());
  group->spawn("garbage-owner", state->waiting_owners->run());
  group->spawn("garbage", state->orphans->run());
  co_await with_cleanup(group->join(), [group] { return group->stop(); });
}

}  // namespace workflow::engine
