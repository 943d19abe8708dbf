#include <gtest/gtest.h>

#include "engine/apiserver/admission.h"
#include "engine/apiserver/api_error.h"
#include "engine/apiserver/decode.h"
#include "engine/test_support.h"
#include "lib/base/text.h"

namespace workflow::engine {
namespace {

// An object as a request brings it: checked against the schema, with defaults.
json::object prepared(const ResourceType& type, std::string_view yaml, const json::object* before) {
  std::vector<std::string> unknown;
  auto object = checked_against(*type.schema, from_yaml(yaml), unknown);
  EXPECT_TRUE(unknown.empty()) << join(unknown, " ");
  object["apiVersion"] = type.api_version();
  object["kind"] = type.kind();
  set_defaults(type, object, before);
  return object;
}

std::string fields_of_problems(const std::vector<FieldProblem>& problems) {
  std::vector<std::string> fields;
  for (const auto& p : problems) fields.push_back(p.field);
  return join(fields, " ");
}

// The fields that are refused, in one line.
std::string refused(std::string_view group, std::string_view version, std::string_view plural, std::string_view yaml,
                    std::string_view before = "") {
  const auto& type = *find_resource_type(group, version, plural);
  if (before.empty()) return fields_of_problems(problems_of(type, prepared(type, yaml, nullptr), nullptr));
  const auto old = prepared(type, before, nullptr);
  return fields_of_problems(problems_of(type, prepared(type, yaml, &old), &old));
}

struct Case {
  std::string what, yaml, fields;
};

TEST(Decode, takes_whole_numbers_alone) {
  const auto& type = *find_resource_type("apps", "v1", "deployments");
  const auto replicas = [&](const char* number) {
    std::vector<std::string> unknown;
    auto object = parse_json("{\"spec\": {\"replicas\": " + std::string(number) + "}}")->as_object();
    return checked_against(*type.schema, object, unknown).at("spec").at("replicas");
  };
  EXPECT_EQ(replicas("3"), 3);
  EXPECT_EQ(replicas("3.0"), 3);
  for (const auto* bad : {"3.5", "7e75", "-7e75", "1e16", "2147483648", "18446744073709551615"}) {
    EXPECT_THROW(replicas(bad), ApiError) << bad;
  }
}

TEST(Validation, names_labels_and_finalizers) {
  const Case cases[] = {
      {"fine", "{metadata: {name: a.b-c, labels: {app: x, example.com/y: ''}}}", ""},
      {"no name", "{metadata: {}}", "metadata.name"},
      {"a generated name", "{metadata: {generateName: web-}}", ""},
      {"a bad generated name", "{metadata: {generateName: Web-}}", "metadata.generateName"},
      {"capitals", "{metadata: {name: Web}}", "metadata.name"},
      {"too long", "{metadata: {name: " + std::string(254, 'a') + "}}", "metadata.name"},
      {"a label key", "{metadata: {name: a, labels: {'a b': x}}}", "metadata.labels"},
      {"a label value", "{metadata: {name: a, labels: {a: 'x y'}}}", "metadata.labels"},
      {"an annotation key", "{metadata: {name: a, annotations: {'a/b/c': x}}}", "metadata.annotations"},
      {"any annotation value", "{metadata: {name: a, annotations: {a: 'x y z'}}}", ""},
      {"large annotations", "{metadata: {name: a, annotations: {a: '" + std::string(263000, 'x') + "'}}}",
       "metadata.annotations"},
      {"finalizers", "{metadata: {name: a, finalizers: [foregroundDeletion, example.com/f]}}", ""},
      {"a plain finalizer", "{metadata: {name: a, finalizers: [mine]}}", "metadata.finalizers"},
      {"an owner", "{metadata: {name: a, ownerReferences: [{apiVersion: v1, kind: Pod, name: p}]}}",
       "metadata.ownerReferences[0].uid"},
      {"a key", "{metadata: {name: a}, data: {'a/b': x}}", "data[a/b]"}};
  for (const auto& c : cases) EXPECT_EQ(refused("", "v1", "configmaps", c.yaml), c.fields) << c.what;
  EXPECT_EQ(refused("", "v1", "namespaces", "{metadata: {name: a.b}}"), "metadata.name");
  EXPECT_EQ(refused("", "v1", "services", "{metadata: {name: 9a}, spec: {ports: [{port: 1}]}}"), "metadata.name");
  EXPECT_EQ(refused("rbac.authorization.k8s.io", "v1", "clusterroles", "{metadata: {name: 'system:x'}}"), "");
  EXPECT_EQ(refused("rbac.authorization.k8s.io", "v1", "clusterroles", "{metadata: {name: a/b}}"), "metadata.name");
}

TEST(Validation, pods) {
  const auto container = [](std::string_view rest) {
    return "{metadata: {name: p}, spec: {containers: [{name: a, image: x" + std::string(rest) + "}]}}";
  };
  const auto spec = [](std::string_view rest) {
    return "{metadata: {name: p}, spec: {containers: [{name: a, image: x}], " + std::string(rest) + "}}";
  };
  const Case cases[] = {
      {"fine", container(""), ""},
      {"no containers", "{metadata: {name: p}, spec: {}}", "spec.containers"},
      {"no image", "{metadata: {name: p}, spec: {containers: [{name: a}]}}", "spec.containers[0].image"},
      {"twice the same name", "{metadata: {name: p}, spec: {containers: [{name: a, image: x}, {name: a, image: y}]}}",
       "spec.containers[1].name"},
      {"an init container of the same name", spec("initContainers: [{name: a, image: y}]"), "spec.containers[0].name"},
      {"pull policy", container(", imagePullPolicy: Sometimes"), "spec.containers[0].imagePullPolicy"},
      {"port", container(", ports: [{containerPort: 70000}]"), "spec.containers[0].ports[0].containerPort"},
      {"protocol", container(", ports: [{containerPort: 80, protocol: SCTP}]"), "spec.containers[0].ports[0].protocol"},
      {"port name", container(", ports: [{containerPort: 80, name: a-name-that-is-too-long}]"),
       "spec.containers[0].ports[0].name"},
      {"environment", container(", env: [{name: 'A B'}, {name: 'A=B'}, {value: x}]"),
       "spec.containers[0].env[1].name spec.containers[0].env[2].name"},
      {"two sources of a variable",
       container(", env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}, fieldRef: {fieldPath: a}}}]"),
       "spec.containers[0].env[0].valueFrom.secretKeyRef"},
      {"value and source", container(", env: [{name: A, value: x, valueFrom: {secretKeyRef: {name: s, key: k}}}]"),
       "spec.containers[0].env[0].valueFrom"},
      {"request above limit", container(", resources: {requests: {cpu: 2}, limits: {cpu: 1}}"),
       "spec.containers[0].resources.requests"},
      {"a negative limit", container(", resources: {limits: {memory: -1}}"),
       "spec.containers[0].resources.limits[memory] spec.containers[0].resources.requests[memory]"},
      {"a probe without handler", container(", readinessProbe: {periodSeconds: 3}"),
       "spec.containers[0].readinessProbe"},
      {"two handlers", container(", readinessProbe: {exec: {command: [x]}, tcpSocket: {port: 80}}"),
       "spec.containers[0].readinessProbe.tcpSocket"},
      {"a success threshold of liveness", container(", livenessProbe: {tcpSocket: {port: 80}, successThreshold: 2}"),
       "spec.containers[0].livenessProbe.successThreshold"},
      {"hooks", container(", lifecycle: {preStop: {sleep: {seconds: 3}}, postStart: {exec: {command: [x]}}}"), ""},
      {"a mount of nothing", container(", volumeMounts: [{name: v, mountPath: /v}]"),
       "spec.containers[0].volumeMounts[0].name"},
      {"two mounts at one place",
       "{metadata: {name: p}, spec: {volumes: [{name: v}], containers: [{name: a, image: x, volumeMounts: [{name: v, "
       "mountPath: /v}, {name: v, mountPath: /v}]}]}}",
       "spec.containers[0].volumeMounts[1].mountPath"},
      {"a path out of the volume",
       "{metadata: {name: p}, spec: {volumes: [{name: v}], containers: [{name: a, image: x, volumeMounts: [{name: v, "
       "mountPath: /v, subPath: ../x}]}]}}",
       "spec.containers[0].volumeMounts[0].subPath"},
      {"a volume that there is not", spec("volumes: [{name: v, nfs: {server: s, path: /p}}]"), "spec.volumes[0].nfs"},
      {"two kinds of one volume", spec("volumes: [{name: v, emptyDir: {}, secret: {secretName: s}}]"),
       "spec.volumes[0].secret"},
      {"a secret without name", spec("volumes: [{name: v, secret: {}}]"), "spec.volumes[0].secret.secretName"},
      {"restart policy", spec("restartPolicy: Perhaps"), "spec.restartPolicy"},
      {"a scheduler", spec("schedulerName: mine"), "spec.schedulerName"},
      {"a runtime", spec("runtimeClassName: gvisor"), "spec.runtimeClassName"},
      {"a deadline", spec("activeDeadlineSeconds: 0"), "spec.activeDeadlineSeconds"},
      {"probes of an init container",
       spec("initContainers: [{name: i, image: y, readinessProbe: {tcpSocket: {port: 1}}}]"),
       "spec.initContainers[0].readinessProbe"},
      {"probes of a sidecar",
       spec("initContainers: [{name: i, image: y, restartPolicy: Always, readinessProbe: {tcpSocket: {port: 1}}}]"),
       ""},
      {"a gRPC probe without a port", container(", readinessProbe: {grpc: {service: a}}"),
       "spec.containers[0].readinessProbe.grpc.port"},
      {"a sysctl that can be none",
       "{metadata: {name: a}, spec: {securityContext: {sysctls: [{name: foo-, value: a}]}, "
       "containers: [{name: a, image: x}]}}",
       "spec.securityContext.sysctls[0].name"},
      {"devices", container(", volumeDevices: [{name: d, devicePath: /dev/x}]"), "spec.containers[0].volumeDevices"},
      {"claims", spec("resourceClaims: [{name: c}]"), "spec.resourceClaims"},
      {"ephemeral containers", spec("ephemeralContainers: [{name: e, image: y}]"), "spec.ephemeralContainers"}};
  for (const auto& c : cases) EXPECT_EQ(refused("", "v1", "pods", c.yaml), c.fields) << c.what;
}

TEST(Validation, of_a_running_pod_only_little_changes) {
  const auto pod = [](std::string_view image, std::string_view rest) {
    return "{metadata: {name: p}, spec: {containers: [{name: a, image: " + std::string(image) + "}]" +
           std::string(rest) + "}}";
  };
  EXPECT_EQ(refused("", "v1", "pods", pod("y", ""), pod("x", "")), "");
  EXPECT_EQ(refused("", "v1", "pods", pod("x", ", activeDeadlineSeconds: 3"), pod("x", "")), "");
  EXPECT_EQ(refused("", "v1", "pods", pod("x", ", nodeName: here"), pod("x", "")), "");
  EXPECT_EQ(refused("", "v1", "pods", pod("x", ", nodeName: there"), pod("x", ", nodeName: here")), "spec");
  EXPECT_EQ(refused("", "v1", "pods", pod("x", ", hostNetwork: true"), pod("x", "")), "spec");
}

TEST(Validation, deployments) {
  const auto deployment = [](std::string_view rest, std::string_view labels = "{app: a}") {
    return "{metadata: {name: d}, spec: {selector: {matchLabels: {app: a}}, template: {metadata: {labels: " +
           std::string(labels) + "}, spec: {containers: [{name: a, image: x}]}}" + std::string(rest) + "}}";
  };
  const Case cases[] = {
      {"fine", deployment(""), ""},
      {"negative", deployment(", replicas: -1"), "spec.replicas"},
      {"other labels", deployment("", "{app: b}"), "spec.template.metadata.labels"},
      {"no selector", "{metadata: {name: d}, spec: {template: {spec: {containers: [{name: a, image: x}]}}}}",
       "spec.selector"},
      {"an empty selector",
       "{metadata: {name: d}, spec: {selector: {}, template: {spec: {containers: [{name: a, image: x}]}}}}",
       "spec.selector"},
      {"nothing moves", deployment(", strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0}}"),
       "spec.strategy.rollingUpdate.maxUnavailable"},
      {"too many percent", deployment(", strategy: {rollingUpdate: {maxUnavailable: 101%}}"),
       "spec.strategy.rollingUpdate.maxUnavailable"},
      {"surge may be more", deployment(", strategy: {rollingUpdate: {maxSurge: 200%}}"), ""},
      {"no number", deployment(", strategy: {rollingUpdate: {maxSurge: many}}"),
       "spec.strategy.rollingUpdate.maxSurge"},
      {"recreate rolls not", deployment(", strategy: {type: Recreate, rollingUpdate: {maxSurge: 1}}"),
       "spec.strategy.rollingUpdate"},
      {"a strategy", deployment(", strategy: {type: Hope}"), "spec.strategy.type"},
      {"a deadline", deployment(", progressDeadlineSeconds: 5, minReadySeconds: 5"), "spec.progressDeadlineSeconds"}};
  for (const auto& c : cases) EXPECT_EQ(refused("apps", "v1", "deployments", c.yaml), c.fields) << c.what;
  const auto other =
      "{metadata: {name: d}, spec: {selector: {matchLabels: {app: b}}, template: {metadata: {labels: {app: b}}, spec: "
      "{containers: [{name: a, image: x}]}}}}";
  EXPECT_EQ(refused("apps", "v1", "deployments", other, deployment("")), "spec.selector");
}

TEST(Validation, jobs_and_cron_jobs) {
  const auto job = [](std::string_view rest, std::string_view policy = "Never") {
    return "{metadata: {name: j}, spec: {template: {spec: {restartPolicy: " + std::string(policy) +
           ", containers: [{name: a, image: x}]}}" + std::string(rest) + "}}";
  };
  EXPECT_EQ(refused("batch", "v1", "jobs", job("")), "");
  EXPECT_EQ(refused("batch", "v1", "jobs", job("", "Always")), "spec.template.spec.restartPolicy");
  EXPECT_EQ(refused("batch", "v1", "jobs", job(", parallelism: -1, backoffLimit: -2")),
            "spec.parallelism spec.backoffLimit");
  EXPECT_EQ(refused("batch", "v1", "jobs", job(", completionMode: Indexed, parallelism: 1")), "spec.completions");
  EXPECT_EQ(refused("batch", "v1", "jobs", job(", completionMode: Indexed, completions: 2")), "");
  EXPECT_EQ(refused("batch", "v1", "jobs", job(", completionMode: Sideways")), "spec.completionMode");
  EXPECT_EQ(refused("batch", "v1", "jobs",
                    job(", podFailurePolicy: {rules: [{action: FailIndex, onExitCodes: "
                        "{operator: In, values: [1]}}]}")),
            "spec.podFailurePolicy.rules[0].action");
  EXPECT_EQ(refused("batch", "v1", "jobs", job(", successPolicy: {rules: []}")), "spec.successPolicy");
  const auto cron = [](std::string_view schedule, std::string_view rest = "") {
    return "{metadata: {name: c}, spec: {schedule: '" + std::string(schedule) + "'" + std::string(rest) +
           ", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: x}]}}}}}}";
  };
  for (const auto* good :
       {"* * * * *", "*/5 0-6 1,15 JAN-MAR MON", "@hourly", "@daily", "0 0 * * 6", "5/15 * * * ?", "@every 90s"}) {
    EXPECT_EQ(refused("batch", "v1", "cronjobs", cron(good)), "") << good;
  }
  for (const auto* bad : {"", "* * * *", "* * * * * *", "0 0 * * 7", "60 * * * *", "@often", "@every day",
                          "TZ=UTC 0 0 * * *", "CRON_TZ=Europe/Berlin 0 0 * * *"}) {
    EXPECT_EQ(refused("batch", "v1", "cronjobs", cron(bad)), "spec.schedule") << bad;
  }
  EXPECT_EQ(refused("batch", "v1", "cronjobs", cron("@hourly", ", concurrencyPolicy: Maybe")),
            "spec.concurrencyPolicy");
  EXPECT_EQ(refused("batch", "v1", "cronjobs", cron("@hourly", ", timeZone: Etc/UTC")), "");
  EXPECT_EQ(refused("batch", "v1", "cronjobs", cron("@hourly", ", timeZone: Europe/Berlin")), "");
  for (const auto* zone : {"''", "local", "Mars/Olympus", "../../etc/passwd"}) {
    EXPECT_EQ(refused("batch", "v1", "cronjobs", cron("@hourly", ", timeZone: " + std::string(zone))), "spec.timeZone");
  }
  const auto gone = cron("@hourly", ", timeZone: Mars/Olympus");
  EXPECT_EQ(refused("batch", "v1", "cronjobs", gone, gone), "");
  EXPECT_EQ(refused("batch", "v1", "cronjobs",
                    cron("@hourly",
                         ", startingDeadlineSeconds: -1, successfulJobsHistoryLimit: -1, failedJobsHistoryLimit: -1")),
            "spec.startingDeadlineSeconds spec.successfulJobsHistoryLimit spec.failedJobsHistoryLimit");
}

TEST(Validation, services) {
  const auto service = [](std::string_view spec) { return "{metadata: {name: s}, spec: {" + std::string(spec) + "}}"; };
  const Case cases[] = {
      {"fine", service("ports: [{port: 80}]"), ""},
      {"no ports", service("selector: {a: b}"), "spec.ports"},
      {"headless without ports", service("clusterIP: None"), ""},
      {"two ports need names", service("ports: [{port: 80}, {port: 81, name: b}]"), "spec.ports[0].name"},
      {"the same name", service("ports: [{port: 80, name: b}, {port: 81, name: b}]"), "spec.ports[1].name"},
      {"the same port", service("ports: [{port: 80, name: a}, {port: 80, name: b}]"), "spec.ports[1]"},
      {"no port", service("ports: [{port: 0}]"), "spec.ports[0].port spec.ports[0].targetPort"},
      {"a target", service("ports: [{port: 80, targetPort: 99999}]"), "spec.ports[0].targetPort"},
      {"a named target", service("ports: [{port: 80, targetPort: http}]"), ""},
      {"type", service("type: Magic, ports: [{port: 80}]"), "spec.type"},
      {"external name", service("type: ExternalName"), "spec.externalName"},
      {"source ranges", service("type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.0/8], ports: [{port: 80}]"),
       "spec.loadBalancerSourceRanges"},
      {"affinity", service("sessionAffinity: Friend, ports: [{port: 80}]"), "spec.sessionAffinity"},
      {"IPv6", service("ipFamilies: [IPv6], ports: [{port: 80}]"), "spec.ipFamilies[0]"},
      {"headless node port", service("type: NodePort, clusterIP: None, ports: [{port: 80}]"), "spec.clusterIPs[0]"}};
  for (const auto& c : cases) EXPECT_EQ(refused("", "v1", "services", c.yaml), c.fields) << c.what;
}

TEST(Validation, secrets_and_config_maps) {
  EXPECT_EQ(refused("", "v1", "secrets", "{metadata: {name: s}, data: {a: YWJj}}"), "");
  EXPECT_EQ(refused("", "v1", "secrets", "{metadata: {name: s}, type: kubernetes.io/tls, data: {tls.crt: YWJj}}"),
            "data[tls.key]");
  EXPECT_EQ(refused("", "v1", "secrets", "{metadata: {name: s}, type: a}", "{metadata: {name: s}, type: b}"), "type");
  EXPECT_EQ(refused("", "v1", "secrets", "{metadata: {name: s}, immutable: true, data: {a: eA==}}",
                    "{metadata: {name: s}, immutable: true, data: {a: YQ==}}"),
            "data");
  EXPECT_EQ(refused("", "v1", "configmaps", "{metadata: {name: s}, data: {a: x}}",
                    "{metadata: {name: s}, immutable: true, data: {a: x}}"),
            "immutable");
}

TEST(Validation, roles_and_bindings) {
  constexpr std::string_view rbac = "rbac.authorization.k8s.io";
  EXPECT_EQ(refused(rbac, "v1", "roles",
                    "{metadata: {name: r}, rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]}"),
            "");
  EXPECT_EQ(refused(rbac, "v1", "roles", "{metadata: {name: r}, rules: [{resources: [pods], verbs: []}]}"),
            "rules[0].verbs rules[0].apiGroups");
  EXPECT_EQ(refused(rbac, "v1", "roles", "{metadata: {name: r}, rules: [{nonResourceURLs: [/x], verbs: [get]}]}"),
            "rules[0].nonResourceURLs");
  EXPECT_EQ(refused(rbac, "v1", "clusterroles",
                    "{metadata: {name: r}, aggregationRule: {clusterRoleSelectors: [{matchLabels: {a: b}}]}}"),
            "aggregationRule");
  EXPECT_EQ(refused(rbac, "v1", "rolebindings",
                    "{metadata: {name: b}, roleRef: {kind: Robe, name: ''}, subjects: [{kind: Cat, name: x}]}"),
            "roleRef.name roleRef.kind subjects[0].kind");
  EXPECT_EQ(
      refused(
          rbac, "v1", "clusterrolebindings",
          "{metadata: {name: b}, roleRef: {kind: ClusterRole, name: x}, subjects: [{kind: ServiceAccount, name: x}]}"),
      "subjects[0].namespace");
  EXPECT_EQ(refused(rbac, "v1", "rolebindings", "{metadata: {name: b}, roleRef: {kind: Role, name: y}}",
                    "{metadata: {name: b}, roleRef: {kind: Role, name: x}}"),
            "roleRef");
}

TEST(Validation, autoscalers_budgets_claims_and_quotas) {
  const auto hpa = [](std::string_view spec) {
    return "{metadata: {name: h}, spec: {scaleTargetRef: {kind: Deployment, name: d, apiVersion: apps/v1}, " +
           std::string(spec) + "}}";
  };
  EXPECT_EQ(refused("autoscaling", "v2", "horizontalpodautoscalers", hpa("maxReplicas: 3")), "");
  EXPECT_EQ(refused("autoscaling", "v2", "horizontalpodautoscalers", hpa("maxReplicas: 0")),
            "spec.maxReplicas spec.maxReplicas");
  EXPECT_EQ(refused("autoscaling", "v2", "horizontalpodautoscalers", hpa("minReplicas: 5, maxReplicas: 3")),
            "spec.maxReplicas");
  EXPECT_EQ(
      refused(
          "autoscaling", "v2", "horizontalpodautoscalers",
          hpa("maxReplicas: 3, metrics: [{type: Pods, pods: {metric: {name: x}, target: {type: Value, value: 1}}}]")),
      "spec.metrics[0].type");
  EXPECT_EQ(refused("policy", "v1", "poddisruptionbudgets",
                    "{metadata: {name: b}, spec: {minAvailable: 1, maxUnavailable: 1}}"),
            "spec");
  EXPECT_EQ(refused("policy", "v1", "poddisruptionbudgets", "{metadata: {name: b}, spec: {minAvailable: x}}"),
            "spec.minAvailable");
  EXPECT_EQ(refused("", "v1", "persistentvolumeclaims", "{metadata: {name: c}, spec: {}}"),
            "spec.accessModes spec.resources[storage]");
  EXPECT_EQ(
      refused("", "v1", "persistentvolumeclaims",
              "{metadata: {name: c}, spec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 2Gi}}}}",
              "{metadata: {name: c}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}"),
      "spec");
}

TEST(Validation, what_the_engine_does_not_run_is_refused) {
  const auto refusal = [](std::string_view group, std::string_view plural) {
    const auto& type = *find_resource_type(group, "v1", plural);
    try {
      problems_of(type, from_yaml("{metadata: {name: x}, spec: {}}"), nullptr);
    } catch (const ApiError& error) {
      return error.code();
    }
    return 200;
  };
  EXPECT_EQ(refusal("", "replicationcontrollers"), 403);
}

TEST(Warnings, tell_what_has_no_effect) {
  const auto warnings = [](std::string_view group, std::string_view plural, std::string_view yaml) {
    const auto& type = *find_resource_type(group, "v1", plural);
    return warnings_about(type, prepared(type, yaml, nullptr)).size();
  };
  EXPECT_EQ(warnings("", "pods", "{metadata: {name: p}, spec: {containers: [{name: a, image: x}]}}"), 0u);
  EXPECT_EQ(warnings("", "pods", "{metadata: {name: p}, spec: {hostUsers: false, containers: [{name: a, image: x}]}}"),
            1u);
  EXPECT_EQ(warnings("", "pods",
                     "{metadata: {name: p}, spec: {affinity: {podAntiAffinity: {}}, volumes: [{name: v, emptyDir: "
                     "{sizeLimit: 1Gi}}], containers: [{name: a, image: x, securityContext: {procMount: Unmasked}}]}}"),
            3u);
  EXPECT_EQ(warnings("networking.k8s.io", "ingresses", "{metadata: {name: i}}"), 1u);
}

}  // namespace
}  // namespace workflow::engine
