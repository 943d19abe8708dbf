// Defaults, as kubernetes/pkg/apis/*/v1/defaults.go sets them.
#include <algorithm>

#include "engine/apiserver/admission.h"
#include "engine/apiserver/limits.h"
#include "engine/fields.h"
#include "lib/base/encoding.h"
#include "lib/base/image_name.h"

namespace workflow::engine {

namespace {

namespace res = kube::resources;

void fill(json::object& object, std::string_view name, json::value value) {
  auto* present = object.if_contains(key(name));
  if (present == nullptr || present->is_null() || (present->is_string() && present->get_string().empty())) {
    object[key(name)] = std::move(value);
  }
}

template <typename F>
void each(json::object& object, std::string_view name, F f) {
  auto* items = object.if_contains(key(name));
  if (items == nullptr || !items->is_array()) return;
  for (auto& item : items->get_array()) {
    if (item.is_object()) f(item.get_object());
  }
}

template <typename F>
void with(json::object& object, std::string_view name, F f) {
  auto* value = object.if_contains(key(name));
  if (value != nullptr && value->is_object()) f(value->get_object());
}

void default_handler(json::object& handler) {
  with(handler, "httpGet", [](json::object& get) {
    fill(get, "path", "/");
    fill(get, "scheme", "HTTP");
  });
}

void default_probe(json::object& probe) {
  fill(probe, "timeoutSeconds", 1);
  fill(probe, "periodSeconds", 10);
  fill(probe, "successThreshold", 1);
  fill(probe, "failureThreshold", 3);
  with(probe, "grpc", [](json::object& grpc) { grpc.emplace("service", ""); });
  default_handler(probe);
}

void default_container(json::object& c, bool host_network) {
  fill(c, "terminationMessagePath", "/dev/termination-log");
  fill(c, "terminationMessagePolicy", "File");
  const std::string image(text_at(c, {"image"}));
  fill(c, "imagePullPolicy", ImageName::split(image).is_fixed() ? "IfNotPresent" : "Always");
  fill(c, "resources", json::object());
  each(c, "ports", [host_network](json::object& port) {
    fill(port, "protocol", "TCP");
    if (host_network) fill(port, "hostPort", integer_at(port, {"containerPort"}).value_or(0));
  });
  each(c, "env", [](json::object& env) {
    with(env, "valueFrom",
         [](json::object& from) { with(from, "fieldRef", [](json::object& f) { fill(f, "apiVersion", "v1"); }); });
  });
  for (const auto* probe : {"livenessProbe", "readinessProbe", "startupProbe"}) with(c, probe, default_probe);
  with(c, "lifecycle", [](json::object& l) {
    for (const auto* hook : {"postStart", "preStop"}) with(l, hook, default_handler);
  });
  // A limit without a request asks for as much.
  with(c, "resources", [](json::object& resources) {
    const auto limits = object_at(resources, {"limits"});
    for (const auto& limit : limits) fill(child(resources, "requests"), limit.key(), limit.value());
  });
}

void default_volume(json::object& v) {
  for (const auto* source : {"secret", "configMap", "projected", "downwardAPI"}) {
    with(v, source, [](json::object& s) { fill(s, "defaultMode", 420); });
  }
  with(v, "hostPath", [](json::object& h) {
    if (!h.contains("type")) h["type"] = "";
  });
  const auto fields = [](json::object& items) {
    each(items, "items",
         [](json::object& i) { with(i, "fieldRef", [](json::object& f) { fill(f, "apiVersion", "v1"); }); });
  };
  with(v, "downwardAPI", fields);
  with(v, "projected", [&](json::object& p) {
    each(p, "sources", [&](json::object& s) {
      with(s, "downwardAPI", fields);
      with(s, "serviceAccountToken", [](json::object& t) { fill(t, "expirationSeconds", 3600); });
    });
  });
  if (v.size() == 1) v["emptyDir"] = json::object();  // only its name
}

void default_pod_spec(json::object& spec) {
  fill(spec, "restartPolicy", "Always");
  fill(spec, "dnsPolicy", "ClusterFirst");
  fill(spec, "schedulerName", "default-scheduler");
  fill(spec, "terminationGracePeriodSeconds", 30);
  fill(spec, "securityContext", json::object());
  if (const auto account = text_at(spec, {"serviceAccountName"}); !account.empty()) spec["serviceAccount"] = account;
  if (const auto account = text_at(spec, {"serviceAccount"}); !account.empty())
    fill(spec, "serviceAccountName", json::value(account));
  const bool host_network = flag_at(spec, {"hostNetwork"});
  for (const auto* list : {"initContainers", "containers"}) {
    each(spec, list, [&](json::object& c) { default_container(c, host_network); });
  }
  each(spec, "volumes", default_volume);
}

void default_template(json::object& spec) {
  auto& pod = child(spec, "template");
  default_pod_spec(child(pod, "spec"));
}

std::string quality_of_service(const json::object& spec) {
  bool any = false, guaranteed = true;
  for (const auto* list : {"initContainers", "containers"}) {
    for (const auto& item : array_at(spec, {list})) {
      if (!item.is_object()) continue;
      const auto& c = item.get_object();
      for (const auto* resource : {"cpu", "memory"}) {
        const auto limit = text_at(c, {"resources", "limits", resource}),
                   request = text_at(c, {"resources", "requests", resource});
        if (!limit.empty() || !request.empty()) any = true;
        if (limit.empty() || limit != request) guaranteed = false;
      }
    }
  }
  return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

void default_service(json::object& service) {
  auto& spec = child(service, "spec");
  fill(spec, "type", "ClusterIP");
  fill(spec, "sessionAffinity", "None");
  const auto type = text_at(spec, {"type"});
  if (text_at(spec, {"sessionAffinity"}) == "ClientIP") {
    fill(child(child(spec, "sessionAffinityConfig"), "clientIP"), "timeoutSeconds", 10800);
  }
  each(spec, "ports", [](json::object& port) {
    fill(port, "protocol", "TCP");
    const auto* target = port.if_contains("targetPort");
    if (target == nullptr || *target == 0 || *target == "") port["targetPort"] = integer_at(port, {"port"}).value_or(0);
  });
  if (type != "ExternalName") {
    fill(spec, "internalTrafficPolicy", "Cluster");
    fill(spec, "ipFamilies", json::array{"IPv4"});
    fill(spec, "ipFamilyPolicy", "SingleStack");
  }
  if (type == "NodePort" || type == "LoadBalancer") fill(spec, "externalTrafficPolicy", "Cluster");
  if (type == "LoadBalancer") fill(spec, "allocateLoadBalancerNodePorts", true);
  fill(child(service, "status"), "loadBalancer", json::object());
}

void default_secret(json::object& secret) {
  fill(secret, "type", "Opaque");
  if (secret.contains("stringData")) {
    for (const auto& [name, value] : object_at(secret, {"stringData"})) {
      if (value.is_string()) child(secret, "data")[name] = to_base64(view(value.get_string()));
    }
    secret.erase("stringData");
  }
}

void default_deployment(json::object& object) {
  auto& spec = child(object, "spec");
  fill(spec, "replicas", 1);
  fill(spec, "revisionHistoryLimit", 10);
  fill(spec, "progressDeadlineSeconds", 600);
  auto& strategy = child(spec, "strategy");
  fill(strategy, "type", "RollingUpdate");
  if (strategy["type"] == "RollingUpdate") {
    auto& rolling = child(strategy, "rollingUpdate");
    fill(rolling, "maxSurge", "25%");
    fill(rolling, "maxUnavailable", "25%");
  }
  default_template(spec);
}

void default_claim(json::object& claim) {
  fill(child(claim, "spec"), "volumeMode", "Filesystem");
  fill(child(claim, "status"), "phase", "Pending");
}

void default_stateful_set(json::object& object) {
  auto& spec = child(object, "spec");
  fill(spec, "podManagementPolicy", "OrderedReady");
  fill(spec, "replicas", 1);
  fill(spec, "revisionHistoryLimit", 10);
  auto& strategy = child(spec, "updateStrategy");
  fill(strategy, "type", "RollingUpdate");
  if (strategy["type"] == "RollingUpdate") fill(child(strategy, "rollingUpdate"), "partition", 0);
  auto& retention = child(spec, "persistentVolumeClaimRetentionPolicy");
  fill(retention, "whenDeleted", "Retain");
  fill(retention, "whenScaled", "Retain");
  default_template(spec);
  each(spec, "volumeClaimTemplates", [](json::object& claim) {
    fill(claim, "apiVersion", "v1");
    fill(claim, "kind", "PersistentVolumeClaim");
    default_claim(claim);
  });
  auto& status = child(object, "status");
  fill(status, "replicas", 0);
  fill(status, "availableReplicas", 0);
}

void default_job_spec(json::object& spec) {
  fill(spec, "backoffLimit", 6);
  fill(spec, "completionMode", "NonIndexed");
  fill(spec, "suspend", false);
  const bool has_policy = spec.contains("podFailurePolicy");
  fill(spec, "podReplacementPolicy", has_policy ? "Failed" : "TerminatingOrFailed");
  with(spec, "podFailurePolicy", [](json::object& policy) {
    each(policy, "rules", [](json::object& rule) {
      each(rule, "onPodConditions", [](json::object& pattern) { fill(pattern, "status", "True"); });
    });
  });
  if (!spec.contains("completions") && !spec.contains("parallelism")) spec["completions"] = 1;
  fill(spec, "parallelism", 1);
  default_template(spec);
}

// A job finds its pods by a label of its own.
void select_job_pods(json::object& job) {
  auto& spec = child(job, "spec");
  if (flag_at(spec, {"manualSelector"}) || spec.contains("selector")) return;
  const auto uid = random_uuid();
  child(spec, "selector")["matchLabels"] = json::object{{"batch.kubernetes.io/controller-uid", uid}};
  auto& labels = child(child(child(spec, "template"), "metadata"), "labels");
  const auto name = text_at(job, {"metadata", "name"});
  labels["batch.kubernetes.io/controller-uid"] = uid;
  labels["controller-uid"] = uid;
  labels["batch.kubernetes.io/job-name"] = name;
  labels["job-name"] = name;
}

void default_binding(json::object& binding) {
  constexpr std::string_view rbac = "rbac.authorization.k8s.io";
  with(binding, "roleRef", [&](json::object& r) { fill(r, "apiGroup", key(rbac)); });
  each(binding, "subjects", [&](json::object& s) {
    const auto kind = text_at(s, {"kind"});
    if (kind == "User" || kind == "Group") fill(s, "apiGroup", key(rbac));
  });
}

void default_policy(json::object& policy) {
  auto& spec = child(policy, "spec");
  if (!spec.contains("policyTypes")) {
    spec["policyTypes"] = json::array{"Ingress"};
    if (!array_at(spec, {"egress"}).empty()) list(spec, "policyTypes").emplace_back("Egress");
  }
  for (const auto* direction : {"ingress", "egress"}) {
    each(spec, direction,
         [](json::object& rule) { each(rule, "ports", [](json::object& port) { fill(port, "protocol", "TCP"); }); });
  }
}

using Setter = void (*)(json::object& object, bool is_new);
const std::map<const kube::Resource*, Setter>& setters() {
  static const std::map<const kube::Resource*, Setter> table{
      {&res::pods,
       [](json::object& pod, bool is_new) {
         default_pod_spec(child(pod, "spec"));
         fill(child(pod, "spec"), "enableServiceLinks", true);
         if (!is_new) return;
         auto& status = child(pod, "status");
         fill(status, "phase", "Pending");
         status["qosClass"] = quality_of_service(object_at(pod, {"spec"}));
       }},
      {&res::services, [](json::object& o, bool) { default_service(o); }},
      {&res::secrets, [](json::object& o, bool) { default_secret(o); }},
      {&res::deployments,
       [](json::object& o, bool is_new) {
         default_deployment(o);
         if (is_new) child(o, "status");
       }},
      {&res::replica_sets,
       [](json::object& o, bool) {
         auto& spec = child(o, "spec");
         fill(spec, "replicas", 1);
         default_template(spec);
         const auto labels = object_at(spec, {"template", "metadata", "labels"});
         if (!labels.empty()) fill(child(o, "metadata"), "labels", labels);
         fill(child(o, "status"), "replicas", 0);
       }},
      {&res::daemon_sets,
       [](json::object& o, bool) {
         auto& spec = child(o, "spec");
         fill(spec, "revisionHistoryLimit", 10);
         auto& strategy = child(spec, "updateStrategy");
         fill(strategy, "type", "RollingUpdate");
         if (strategy["type"] == "RollingUpdate") {
           fill(child(strategy, "rollingUpdate"), "maxUnavailable", 1);
           fill(child(strategy, "rollingUpdate"), "maxSurge", 0);
         }
         default_template(spec);
         auto& status = child(o, "status");
         for (const auto* counter :
              {"currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady"}) {
           fill(status, counter, 0);
         }
       }},
      {&res::stateful_sets, [](json::object& o, bool) { default_stateful_set(o); }},
      {&res::jobs,
       [](json::object& o, bool is_new) {
         default_job_spec(child(o, "spec"));
         if (!is_new) return;
         select_job_pods(o);
         child(o, "status");
       }},
      {&res::cron_jobs,
       [](json::object& o, bool) {
         auto& spec = child(o, "spec");
         fill(spec, "concurrencyPolicy", "Allow");
         fill(spec, "suspend", false);
         fill(spec, "successfulJobsHistoryLimit", 3);
         fill(spec, "failedJobsHistoryLimit", 1);
         auto& job = child(child(spec, "jobTemplate"), "spec");
         default_job_spec(job);
         child(o, "status");
       }},
      {&res::persistent_volume_claims,
       [](json::object& o, bool is_new) {
         auto& spec = child(o, "spec");
         if (is_new && !spec.contains("storageClassName")) spec["storageClassName"] = "local";
         default_claim(o);
       }},
      {&res::persistent_volumes,
       [](json::object& o, bool) {
         auto& spec = child(o, "spec");
         fill(spec, "persistentVolumeReclaimPolicy", "Retain");
         fill(spec, "volumeMode", "Filesystem");
         fill(child(o, "status"), "phase", "Available");
       }},
      {&res::horizontal_pod_autoscalers,
       [](json::object& o, bool) {
         auto& spec = child(o, "spec");
         fill(spec, "minReplicas", 1);
         if (array_at(spec, {"metrics"}).empty()) {
           spec["metrics"] = json::array{json::parse(R"({"type":"Resource","resource":{"name":"cpu","target":)"
                                                     R"({"type":"Utilization","averageUtilization":80}}})")};
         }
       }},
      {&res::endpoints,
       [](json::object& o, bool) {
         each(o, "subsets",
              [](json::object& s) { each(s, "ports", [](json::object& p) { fill(p, "protocol", "TCP"); }); });
       }},
      {&res::endpoint_slices,
       [](json::object& o, bool) { each(o, "ports", [](json::object& p) { fill(p, "protocol", "TCP"); }); }},
      {&res::role_bindings, [](json::object& o, bool) { default_binding(o); }},
      {&res::cluster_role_bindings, [](json::object& o, bool) { default_binding(o); }},
      {&res::network_policies, [](json::object& o, bool) { default_policy(o); }},
      {&res::limit_ranges, [](json::object& o, bool) { default_limit_range(o); }},
      {&res::resource_quotas, [](json::object& o, bool) { child(o, "status"); }},
      {&res::priority_classes, [](json::object& o, bool) { fill(o, "preemptionPolicy", "PreemptLowerPriority"); }},
      {&res::storage_classes, [](json::object& o, bool) {
         fill(o, "reclaimPolicy", "Delete");
         fill(o, "volumeBindingMode", "Immediate");
       }}};
  return table;
}

}  // namespace

void set_defaults(const ResourceType& type, json::object& object, const json::object* before) {
  const auto found = setters().find(type.stored);
  if (found != setters().end()) found->second(object, before == nullptr);
}

}  // namespace workflow::engine
