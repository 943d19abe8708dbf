#include "engine/apiserver/admission.h"

#include "engine/apiserver/quota.h"
#include "engine/fields.h"
#include "engine/placement.h"
#include "lib/base/encoding.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

namespace res = kube::resources;
constexpr std::string_view token_folder = "/var/run/secrets/kubernetes.io/serviceaccount";

bool mounts_token(const json::object& container) {
  for (const auto& mount : array_at(container, {"volumeMounts"})) {
    if (mount.is_object() && text_at(mount.get_object(), {"mountPath"}) == token_folder) return true;
  }
  return false;
}

void mount_token(json::object& spec) {
  const auto name = "kube-api-access-" + random_hex(5);
  bool used = false;
  for (const auto* kind : {"initContainers", "containers"}) {
    if (!spec.contains(kind)) continue;
    for (auto& item : list(spec, kind)) {
      if (!item.is_object() || mounts_token(item.get_object())) continue;
      list(item.get_object(), "volumeMounts")
          .push_back(json::object{{"name", name}, {"readOnly", true}, {"mountPath", key(token_folder)}});
      used = true;
    }
  }
  if (!used) return;
  json::object token{{"serviceAccountToken", json::object{{"expirationSeconds", 3607}, {"path", "token"}}}};
  json::object authority{
      {"configMap", json::object{{"name", "kube-root-ca.crt"},
                                 {"items", json::array{json::object{{"key", "ca.crt"}, {"path", "ca.crt"}}}}}}};
  json::object where{
      {"downwardAPI",
       json::object{
           {"items", json::array{json::object{
                         {"path", "namespace"},
                         {"fieldRef", json::object{{"apiVersion", "v1"}, {"fieldPath", "metadata.namespace"}}}}}}}}};
  json::array sources;
  sources.push_back(std::move(token));
  sources.push_back(std::move(authority));
  sources.push_back(std::move(where));
  list(spec, "volumes")
      .push_back(json::object{{"name", name},
                              {"projected", json::object{{"defaultMode", 420}, {"sources", std::move(sources)}}}});
}

// The class of a pod that names none: of several that say so, the lowest, as Kubernetes.
ObjectPtr default_class(const Store& store) {
  ObjectPtr lowest;
  for (auto& found : store.list(res::priority_classes)) {
    if (!flag_at(*found, {"globalDefault"})) continue;
    if (!lowest || integer_at(*found, {"value"}) < integer_at(*lowest, {"value"})) lowest = std::move(found);
  }
  return lowest;
}

}  // namespace

std::vector<json::object> built_in_priority_classes() {
  std::vector<json::object> classes;
  for (const auto& [name, value, use] :
       {std::tuple("system-cluster-critical", 2'000'000'000, "what the cluster cannot do without, on whichever node"),
        std::tuple("system-node-critical", 2'000'001'000, "what its node cannot do without")}) {
    auto object = kube::make_object(res::priority_classes, "", name);
    object["value"] = value;
    object["preemptionPolicy"] = "PreemptLowerPriority";
    object["description"] = std::string("Used for ") + use + ".";
    classes.push_back(std::move(object));
  }
  return classes;
}

void set_priority(const Store& store, json::object& pod) {
  auto& spec = child(pod, "spec");
  const auto name = text_at(spec, {"priorityClassName"});
  const auto found = name.empty() ? default_class(store) : store.find(res::priority_classes, "", name);
  if (!found && !name.empty()) {
    throw forbidden(res::pods, kube::name_of(pod), "no PriorityClass with name " + name + " was found");
  }
  const auto value = found ? integer_at(*found, {"value"}).value_or(0) : 0;
  if (const auto claimed = integer_at(spec, {"priority"}); claimed && *claimed != value) {
    throw forbidden(res::pods, kube::name_of(pod),
                    "the integer value of priority (" + std::to_string(*claimed) +
                        ") must not be provided in pod spec; priority admission controller computed " +
                        std::to_string(value) + " from the given PriorityClass name");
  }
  spec["priority"] = value;
  if (found) spec["priorityClassName"] = kube::name_of(*found);
  const auto policy = found ? text_at(*found, {"preemptionPolicy"}) : std::string();
  if (text_at(spec, {"preemptionPolicy"}).empty()) {
    spec["preemptionPolicy"] = policy.empty() ? std::string("PreemptLowerPriority") : policy;
  }
}

void admit_pod(const Store& store, const AdmissionConfig& config, json::object& pod) {
  auto& spec = child(pod, "spec");
  const auto ns = kube::namespace_of(pod);
  auto account_name = text_at(spec, {"serviceAccountName"});
  if (account_name.empty()) account_name = "default";
  spec["serviceAccountName"] = account_name;
  spec["serviceAccount"] = account_name;
  const auto account = store.find(res::service_accounts, ns, account_name);
  if (!account) {
    throw forbidden(res::pods, kube::name_of(pod),
                    "error looking up service account " + ns + "/" + account_name + ": serviceaccount \"" +
                        account_name + "\" not found");
  }
  const bool wanted = spec.contains("automountServiceAccountToken")
                          ? flag_at(spec, {"automountServiceAccountToken"})
                          : flag_at(*account, {"automountServiceAccountToken"}, true);
  if (wanted) mount_token(spec);
  if (array_at(spec, {"imagePullSecrets"}).empty() && !array_at(*account, {"imagePullSecrets"}).empty()) {
    spec["imagePullSecrets"] = array_at(*account, {"imagePullSecrets"});
  }
  set_priority(store, pod);
  // There is one node: a pod that may run there is bound at once, others wait for the scheduler.
  if (text_at(spec, {"nodeName"}).empty() && array_at(spec, {"schedulingGates"}).empty()) {
    const auto node = store.find(res::nodes, "", config.node_name);
    if (node && !why_not_placed(*node, pod, store.list_latest(res::pods))) {
      spec["nodeName"] = config.node_name;
      json::object condition{{"type", "PodScheduled"},
                             {"status", "True"},
                             {"lastProbeTime", nullptr},
                             {"lastTransitionTime", rfc3339(config.now)}};
      list(child(pod, "status"), "conditions").push_back(std::move(condition));
    }
  }
}

void check_quota(const Store& store, const kube::Resource& r, const json::object& object) {
  if (!r.namespaced) return;
  const auto list = [&store](const kube::Resource& of, const std::string& ns) { return store.list_latest(of, ns); };
  for (const auto& quota : store.list(res::resource_quotas, kube::namespace_of(object))) {
    if (const auto why = why_over_quota(*quota, r, object, list)) throw forbidden(r, kube::name_of(object), *why);
  }
}

}  // namespace workflow::engine
