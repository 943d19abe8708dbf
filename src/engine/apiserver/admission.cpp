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

}  // namespace

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
  // A class that is missing was refused by nobody before; it counts as none.
  if (const auto priority_class = text_at(spec, {"priorityClassName"}); !priority_class.empty()) {
    const auto found = store.find(res::priority_classes, "", priority_class);
    if (found) spec["priority"] = integer_at(*found, {"value"}).value_or(0);
  }
  if (!spec.contains("priority")) spec["priority"] = 0;
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
