// src/lib/kube/client.h: the Kubernetes API as the components use it: get, list, watch, create, patch, log, exec.
//   Objects travel as JSON so that nothing a newer cluster says is lost; kube/objects.h has typed views and builders.
//   Throws  Error by Status reason: not_found, conflict (AlreadyExists, Conflict), unprocessable (Invalid), forbidden,
//           unauthenticated, unavailable, timeout. The Status message is kept.
#pragma once
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/http/http.h"
#include "lib/json/json.h"

namespace workflow::kube {

// A row of the API's table of resource types.
struct Resource {
  std::string group;    // "" for core
  std::string version;  // "v1"
  std::string plural;   // "pods"
  std::string kind;     // "Pod"
  bool namespaced = true;
  std::string api_version() const { return group.empty() ? version : group + "/" + version; }
  bool operator==(const Resource&) const = default;
};
namespace resources {
extern const Resource namespaces, nodes, pods, services, endpoints, secrets, config_maps, service_accounts, events,
    persistent_volumes, persistent_volume_claims, resource_quotas, limit_ranges, replication_controllers, deployments,
    replica_sets, daemon_sets, stateful_sets, controller_revisions, jobs, cron_jobs, horizontal_pod_autoscalers,
    endpoint_slices, ingresses, network_policies, pod_disruption_budgets, leases, roles, role_bindings, cluster_roles,
    cluster_role_bindings, storage_classes, priority_classes;
}
const std::vector<const Resource*>& all_resources();
const Resource* find_resource(std::string_view api_version, std::string_view kind);

struct Connection {
  http::Url server;
  http::ClientTls tls;
  Secret token;
  std::string token_file;  // re-read every minute (bound tokens expire); wins over `token`
  std::string namespace_ = "default";
  static Connection in_cluster();                              // the service account's files and KUBERNETES_SERVICE_*
  static Connection from_kubeconfig(const std::string& path);  // current context; data or files
  static Connection from_env(const std::map<std::string, std::string>& env);  // KUBECONFIG if set, else in_cluster
};

struct ListOptions {
  std::string label_selector, field_selector;
  std::string resource_version;
};
struct List {
  std::vector<json::object> items;  // apiVersion and kind filled in
  std::string resource_version;
};
enum class WatchEventType { added, modified, deleted, bookmark };
struct WatchEvent {
  WatchEventType type;
  json::object object;
};
// One watch connection. next() returns nullopt when the server ended it, and throws Error{ErrorKind::conflict} with the
// message "resourceVersion too old" on 410 Gone.
class Watch {
 public:
  virtual ~Watch() = default;
  virtual Task<std::optional<WatchEvent>> next() = 0;
};
enum class PatchType { json, merge, strategic, apply };
struct DeleteOptions {
  std::optional<int> grace_period_seconds;
  std::string propagation;  // "", Background, Foreground, Orphan
};
struct LogOptions {
  std::string container;
  bool follow = false, previous = false, timestamps = false;
  std::optional<int> tail_lines, since_seconds;
};

class Client {
 public:
  Client(Executor executor, Connection connection);
  ~Client();
  const std::string& namespace_() const;
  Executor executor() const;

  // `ns` is ignored for cluster-scoped resources; "" lists all namespaces.
  Task<json::object> get(const Resource& r, std::string ns, std::string name);
  Task<std::optional<json::object>> find(const Resource& r, std::string ns, std::string name);
  Task<List> list(const Resource& r, std::string ns, ListOptions options = {});
  Task<json::object> create(const Resource& r, std::string ns, json::object body);
  Task<json::object> replace(const Resource& r, std::string ns, std::string name, json::object body,
                             std::string subresource = "");
  Task<json::object> patch(const Resource& r, std::string ns, std::string name, PatchType type, json::value body,
                           std::string subresource = "");
  // Server-side apply, taking over conflicting fields. Fields that `manager` applied before and leaves out now are
  // removed; so whoever owns a part of an object that is not the component's whole has a name of its own.
  Task<json::object> apply(const Resource& r, std::string ns, json::object body, std::string manager = "workflow");
  Task<> remove(const Resource& r, std::string ns, std::string name, DeleteOptions options = {});  // absent is fine
  Task<std::unique_ptr<Watch>> watch(const Resource& r, std::string ns, ListOptions options);
  // The log as it comes; ends with the container when following.
  Task<std::shared_ptr<http::BodyReader>> log(std::string ns, std::string pod, LogOptions options);
  // Exec by WebSocket, subprotocol v5.channel.k8s.io or v4: frames start with the channel byte.
  Task<std::unique_ptr<http::WebSocket>> exec(std::string ns, std::string pod, std::string container,
                                              std::vector<std::string> command, bool stdin_, bool tty);
  Task<std::string> server_version();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A local copy of a list, kept current by list and watch. Survives broken connections and 410 Gone (lists again, and
// tells the differences). Callbacks run on the client's executor and must not suspend.
class Informer {
 public:
  using Object = std::shared_ptr<const json::object>;
  struct Callbacks {
    std::function<void(const Object&)> added;
    std::function<void(const Object& before, const Object& after)> modified;
    std::function<void(const Object&)> deleted;
  };
  Informer(Client& client, const Resource& resource, std::string ns, ListOptions options, Callbacks callbacks = {});
  ~Informer();
  Task<> run();         // until cancelled; put it into the owner's TaskGroup
  bool synced() const;  // the first list has been told
  Task<> wait_synced();
  const std::map<std::string, Object>& objects() const;  // by "namespace/name"
  Object find(const std::string& ns, const std::string& name) const;
  // Returns the first object state for which `accept` is true (null argument: the object is absent); throws timeout.
  Task<Object> wait_for(std::string ns, std::string name, std::function<bool(const Object&)> accept,
                        std::chrono::milliseconds limit, std::string what);
  Notifier& changes();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace workflow::kube
