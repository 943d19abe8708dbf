// src/engine/store.h: the objects of the single-machine Kubernetes, inside the engine's process.
//   Owns    every object: in memory for reading, in SQLite (WAL, synchronous=FULL) before a write is acknowledged.
//   Used by the API server (which adds HTTP, validation of requests, patches and access), the controllers, the node
//           agent and the service proxy. All on the engine's one thread; only the disk write is offloaded (group
//           commit).
//   Rules   resourceVersion is one counter for the whole store. metadata.generation grows when anything outside
//   metadata
//           and status changes (of types that have one). An object with deletionTimestamp goes when its finalizers are
//           empty (and, for pods, when the node agent removes it with grace period 0). What is read is on disk.
#pragma once
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/async/task.h"
#include "lib/base/clock.h"
#include "lib/json/json.h"
#include "lib/kube/client.h"

namespace workflow::engine {

using ObjectPtr = std::shared_ptr<const json::object>;

struct StoreEvent {
  enum class Type { added, modified, deleted } type;
  ObjectPtr object;
  ObjectPtr before;  // null for added
  std::int64_t resource_version = 0;
  std::size_t bytes = 0;  // about what keeping the event keeps in memory
};

// Whether a write is kept, or only answered as if it were (`dryRun=All`).
enum class Persist { yes, dry_run };

struct DeleteOptions {
  std::optional<int> grace_period_seconds;
  std::string propagation;                           // "", Background, Foreground, Orphan
  std::optional<std::string> uid, resource_version;  // preconditions → conflict
};

class Store {
 public:
  // Opens or creates `file`; throws internal with the remedy when it is damaged or the disk is full.
  Store(Executor executor, Clock& clock, const std::filesystem::path& file);
  ~Store();

  // Reading never waits. `ns` "" with list = all namespaces; ignored for cluster-scoped resources.
  ObjectPtr find(const kube::Resource& r, const std::string& ns, const std::string& name) const;
  std::vector<ObjectPtr> list(const kube::Resource& r, const std::string& ns = "") const;
  std::size_t count(const kube::Resource& r) const;
  // Those that the object with this uid controls; of "" those that nobody controls. By an index, so that a namespace of
  // many thousands costs each of their owners no more than its own.
  std::vector<ObjectPtr> list_controlled(const kube::Resource& r, const std::string& ns, const std::string& uid) const;
  // The same as it was when `version` was the newest; nullopt when what has changed since is no longer remembered.
  std::optional<std::vector<ObjectPtr>> list_at(const kube::Resource& r, const std::string& ns,
                                                std::int64_t version) const;
  // With what is still on its way to the disk: for a check that decides about a write that follows at once.
  std::vector<ObjectPtr> list_latest(const kube::Resource& r, const std::string& ns = "") const;
  ObjectPtr find_latest(const kube::Resource& r, const std::string& ns, const std::string& name) const;
  std::int64_t resource_version() const;

  // Writing returns once durable, with the object as stored. Fills in uid, creationTimestamp, generation,
  // resourceVersion, apiVersion, kind; generateName; throws conflict, not_found (also for a missing namespace),
  // forbidden (namespace is terminating). An Error's `detail` is the reason of Kubernetes' Status where the kind does
  // not tell it: AlreadyExists, NamespaceTerminating.
  Task<ObjectPtr> create(const kube::Resource& r, json::object object, Persist persist = Persist::yes);
  // The whole object but its status; metadata.resourceVersion, if present, must match.
  Task<ObjectPtr> update(const kube::Resource& r, json::object object, Persist persist = Persist::yes);
  // Only the status of the object is taken.
  Task<ObjectPtr> update_status(const kube::Resource& r, json::object object, Persist persist = Persist::yes);
  // Reads, lets `change` edit a copy, and writes it, atomically (nothing can come between). Returns null when the
  // object is absent; does not write when `change` returns false, or changed nothing. `change` may edit everything,
  // status included, and may throw.
  Task<ObjectPtr> edit(const kube::Resource& r, std::string ns, std::string name,
                       std::function<bool(json::object&)> change, Persist persist = Persist::yes);
  // Writes `next` in the place of `before`, which find_latest() gave; null when something else came between.
  Task<ObjectPtr> replace(const kube::Resource& r, ObjectPtr before, json::object next, Persist persist = Persist::yes);
  // Begins or completes deletion as Kubernetes does. Absent: not_found. Returns the object as it was left, or as it
  // went.
  Task<ObjectPtr> remove(const kube::Resource& r, std::string ns, std::string name, DeleteOptions options = {},
                         Persist persist = Persist::yes);

  // Calls `on_event` for every change of `r` from now on, in order, on the engine's thread, after it is durable. The
  // subscription ends with the returned object.
  class Subscription {
   public:
    virtual ~Subscription() = default;
  };
  std::unique_ptr<Subscription> subscribe(const kube::Resource& r, std::function<void(const StoreEvent&)> on_event);
  // The events of `r` after `since`, oldest first; nullopt when they are no longer remembered (410 Gone).
  std::optional<std::vector<StoreEvent>> events_since(const kube::Resource& r, std::int64_t since) const;
  // What the remembered events of `r` keep in memory, never more than this.
  static constexpr std::size_t most_remembered_bytes = 4u << 20;
  std::size_t remembered_bytes(const kube::Resource& r) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Records a Kubernetes Event about `object` (aggregating repeats), type Normal or Warning.
Task<> record_event(Store& store, const Clock& clock, ObjectPtr object, std::string type, std::string reason,
                    std::string message, std::string component);

}  // namespace workflow::engine
