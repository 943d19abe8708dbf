#include <algorithm>

#include "lib/kube/client.h"

namespace workflow::kube {

namespace resources {
namespace {
constexpr bool cluster_wide = false;
}  // namespace
const Resource namespaces{"", "v1", "namespaces", "Namespace", cluster_wide};
const Resource nodes{"", "v1", "nodes", "Node", cluster_wide};
const Resource pods{"", "v1", "pods", "Pod"};
const Resource services{"", "v1", "services", "Service"};
const Resource endpoints{"", "v1", "endpoints", "Endpoints"};
const Resource secrets{"", "v1", "secrets", "Secret"};
const Resource config_maps{"", "v1", "configmaps", "ConfigMap"};
const Resource service_accounts{"", "v1", "serviceaccounts", "ServiceAccount"};
const Resource events{"", "v1", "events", "Event"};
const Resource persistent_volumes{"", "v1", "persistentvolumes", "PersistentVolume", cluster_wide};
const Resource persistent_volume_claims{"", "v1", "persistentvolumeclaims", "PersistentVolumeClaim"};
const Resource resource_quotas{"", "v1", "resourcequotas", "ResourceQuota"};
const Resource limit_ranges{"", "v1", "limitranges", "LimitRange"};
const Resource replication_controllers{"", "v1", "replicationcontrollers", "ReplicationController"};
const Resource deployments{"apps", "v1", "deployments", "Deployment"};
const Resource replica_sets{"apps", "v1", "replicasets", "ReplicaSet"};
const Resource daemon_sets{"apps", "v1", "daemonsets", "DaemonSet"};
const Resource stateful_sets{"apps", "v1", "statefulsets", "StatefulSet"};
const Resource controller_revisions{"apps", "v1", "controllerrevisions", "ControllerRevision"};
const Resource jobs{"batch", "v1", "jobs", "Job"};
const Resource cron_jobs{"batch", "v1", "cronjobs", "CronJob"};
const Resource horizontal_pod_autoscalers{"autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler"};
const Resource endpoint_slices{"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"};
const Resource ingresses{"networking.k8s.io", "v1", "ingresses", "Ingress"};
const Resource network_policies{"networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy"};
const Resource pod_disruption_budgets{"policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"};
const Resource leases{"coordination.k8s.io", "v1", "leases", "Lease"};
const Resource roles{"rbac.authorization.k8s.io", "v1", "roles", "Role"};
const Resource role_bindings{"rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding"};
const Resource cluster_roles{"rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", cluster_wide};
const Resource cluster_role_bindings{"rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding",
                                     cluster_wide};
const Resource storage_classes{"storage.k8s.io", "v1", "storageclasses", "StorageClass", cluster_wide};
const Resource priority_classes{"scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", cluster_wide};
}  // namespace resources

const std::vector<const Resource*>& all_resources() {
  using namespace resources;
  static const std::vector<const Resource*> all{&namespaces,
                                                &nodes,
                                                &pods,
                                                &services,
                                                &endpoints,
                                                &secrets,
                                                &config_maps,
                                                &service_accounts,
                                                &events,
                                                &persistent_volumes,
                                                &persistent_volume_claims,
                                                &resource_quotas,
                                                &limit_ranges,
                                                &replication_controllers,
                                                &deployments,
                                                &replica_sets,
                                                &daemon_sets,
                                                &stateful_sets,
                                                &controller_revisions,
                                                &jobs,
                                                &cron_jobs,
                                                &horizontal_pod_autoscalers,
                                                &endpoint_slices,
                                                &ingresses,
                                                &network_policies,
                                                &pod_disruption_budgets,
                                                &leases,
                                                &roles,
                                                &role_bindings,
                                                &cluster_roles,
                                                &cluster_role_bindings,
                                                &storage_classes,
                                                &priority_classes};
  return all;
}

const Resource* find_resource(std::string_view api_version, std::string_view kind) {
  const auto& all = all_resources();
  const auto found = std::find_if(
      all.begin(), all.end(), [&](const Resource* r) { return r->kind == kind && r->api_version() == api_version; });
  return found == all.end() ? nullptr : *found;
}

}  // namespace workflow::kube
