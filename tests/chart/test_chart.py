"""The chart, rendered with Helm's own engine."""

import json
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from chart import CHART, documented_examples, objects, render, try_to_render  # noqa: E402
from workflow_testing import ROOT  # noqa: E402

EXAMPLES = documented_examples()
SECRETS = {"database-creds", "builder-key-auth", "django-secret-key", "objectstorage-keyfile", "builder-ssh-private-keys"}
# Why these two are not Pod Security `restricted` is in docs/kubernetes.md.
AS_ROOT = {"deis-builder", "deis-database"}


@pytest.fixture
def rendered(tmp_path):
    """A rendering with values given as YAML. RSA keys take seconds, so secrets are made only where a test is about them."""

    def objects_of(values="", secrets=False):
        file = tmp_path / "values.yaml"
        file.write_text(values)
        without = tmp_path / "without-secrets.yaml"
        without.write_text("{}" if secrets else "secrets: {create: false}")
        return objects(render(without, file))

    return objects_of


def spec_of(found, component):
    return found["Deployment", f"deis-{component}"]["spec"]["template"]["spec"]


def env_of(found, component):
    return {item["name"]: item.get("value") for item in spec_of(found, component)["containers"][0]["env"]}


def test_the_single_machine_manifest_is_the_charts_rendering(tmp_path):
    fresh = tmp_path / "single-machine.yaml"
    subprocess.run([ROOT / "deploy/render", fresh], check=True, timeout=900)
    assert fresh.read_text() == (ROOT / "deploy/single-machine.yaml").read_text(), "run deploy/render and commit"


def test_on_kubernetes_the_chart_makes_the_secrets_and_network_policies_too(rendered):
    machine = objects((ROOT / "deploy/single-machine.yaml").read_text())
    cluster = rendered(secrets=True)
    added = set(cluster) - set(machine)
    assert {name for kind, name in added if kind == "Secret"} == SECRETS
    assert {kind for kind, _ in added} == {"Secret", "NetworkPolicy"}
    assert set(machine) <= set(cluster)
    keys = cluster["Secret", "builder-ssh-private-keys"]["data"]
    assert set(keys) == {"ssh-host-rsa-key", "ssh-host-ecdsa-key"}


def test_a_value_reaches_its_place(rendered):
    found = rendered("domain: apps.example.com\nbuilder: {buildEnv: {PIP_INDEX_URL: 'https://x'}, env: {BUILD_MEMORY_LIMIT: 4Gi}}\n"
                     "resources: {router: {limits: {memory: 64Mi}}}\ncontroller: {replicas: 3, env: {LOGIN_FAILURES: 3}}\n"
                     "logs: {level: debug, format: json}\n")
    assert found["ConfigMap", "workflow-settings"]["data"]["domain"] == "apps.example.com"
    assert found["Deployment", "deis-controller"]["spec"]["replicas"] == 3
    assert env_of(found, "builder")["BUILD_ENV_PIP_INDEX_URL"] == "https://x"
    assert env_of(found, "builder")["BUILD_MEMORY_LIMIT"] == "4Gi"
    assert env_of(found, "controller")["LOGIN_FAILURES"] == "3"
    assert {env_of(found, c)["LOG_LEVEL"] for c in ("controller", "builder", "router", "database")} == {"debug"}
    assert env_of(found, "registry")["LOG_FORMAT"] == "json"
    router = spec_of(found, "router")["containers"][0]
    assert router["resources"] == {"limits": {"memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "32Mi"}}


def test_the_platform_comes_before_apps_and_builds_come_last():
    text = (ROOT / "deploy/single-machine.yaml").read_text()
    found = objects(text)
    assert found["PriorityClass", "deis-platform"]["value"] == 1_000_000_000
    assert found["PriorityClass", "deis-builds"]["value"] < 0
    assert text.index("kind: PriorityClass") < text.index("kind: Deployment")
    deployments = [o for (kind, _), o in found.items() if kind == "Deployment"]
    assert len(deployments) == 6
    for deployment in deployments:
        spec = deployment["spec"]["template"]["spec"]
        assert spec["priorityClassName"] == "deis-platform", deployment["metadata"]["name"]
        requests = spec["containers"][0]["resources"]["requests"]
        assert set(requests) == {"cpu", "memory"}, deployment["metadata"]["name"]


def test_app_pods_could_never_read_platform_secrets(rendered):
    """No ServiceAccount of the platform but the controller's and the router's may read secrets of other namespaces."""
    for (kind, name), o in rendered().items():
        if kind == "ClusterRole" and name not in ("deis:deis-controller", "deis:deis-router"):
            assert all("secrets" not in rule.get("resources", []) for rule in o["rules"]), name


def test_nobody_may_do_everything(rendered):
    for (kind, name), o in rendered().items():
        if kind in ("Role", "ClusterRole"):
            for rule in o["rules"]:
                assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"], name
                assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"]), name


def rights_of(found, component):
    """{resource: verbs} of a component's ServiceAccount, in the whole cluster and in the platform's namespace."""
    rights = {}
    for kind, name in (("ClusterRole", f"deis:deis-{component}"), ("Role", f"deis-{component}")):
        for rule in found.get((kind, name), {}).get("rules", []):
            for resource in rule["resources"]:
                rights.setdefault(resource, set()).update(rule["verbs"])
    return {resource: " ".join(sorted(verbs)) for resource, verbs in rights.items()}


def test_each_component_may_what_its_code_asks_for_and_no_more(rendered):
    """A change of this table is a change of what a component that was taken over could do."""
    found = rendered()
    assert rights_of(found, "controller") == {
        "namespaces": "create delete get list watch",
        "services": "create delete list patch",
        "secrets": "create delete get list patch update",
        "pods": "create delete list patch watch",
        "pods/log": "get",
        "events": "list watch",
        "nodes": "list",
        "resourcequotas": "create patch",
        "deployments": "create delete list patch update watch",
        "replicasets": "list",
        "horizontalpodautoscalers": "create delete list patch",
    }
    assert rights_of(found, "builder") == {
        "pods": "create delete get list watch", "pods/log": "get", "secrets": "create delete get list", "configmaps": "get",
        "namespaces": "list watch",
    }
    assert rights_of(found, "router") == {
        "services": "get list watch", "secrets": "get list watch", "configmaps": "get list watch", "endpointslices": "get list watch",
        "events": "create", "deployments": "get list watch",
    }
    assert [kind for kind, _ in found].count("ServiceAccount") == 3


# Pod Security Standards, profile `restricted`, as far as it concerns what the chart writes.
def restricted_problems(spec):
    pod, problems = spec.get("securityContext", {}), []
    if pod.get("runAsNonRoot") is not True or not pod.get("runAsUser"):
        problems.append("may run as root")
    if pod.get("seccompProfile") != {"type": "RuntimeDefault"}:
        problems.append("has no seccomp profile")
    for container in spec["containers"]:
        own = container.get("securityContext", {})
        if own.get("capabilities", {}) != {"drop": ["ALL"]}:
            problems.append("has capabilities")
        if own.get("allowPrivilegeEscalation") is not False:
            problems.append("may gain rights")
    for volume in spec.get("volumes", []):
        if not {"configMap", "secret", "emptyDir", "persistentVolumeClaim", "projected", "downwardAPI"} & set(volume):
            problems.append(f"volume {volume['name']}")
    if any(spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
        problems.append("uses the node's namespaces")
    return problems


def test_pods_are_restricted_but_for_those_that_the_documentation_names(rendered):
    for (kind, name), o in rendered().items():
        if kind != "Deployment":
            continue
        spec = o["spec"]["template"]["spec"]
        assert spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True, name
        assert spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False, name
        problems = restricted_problems(spec)
        assert bool(problems) == (name in AS_ROOT), (name, problems)
        if name in AS_ROOT:
            # Profile `baseline` allows these and no others.
            allowed = {"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID", "SYS_CHROOT"}
            assert set(spec["containers"][0]["securityContext"]["capabilities"]["add"]) <= allowed, name


def test_whoever_does_not_use_the_api_has_no_token(rendered):
    found = rendered()
    for name in ("database", "objectstore", "registry"):
        assert spec_of(found, name)["automountServiceAccountToken"] is False, name
    for name in ("controller", "builder", "router"):
        assert spec_of(found, name)["serviceAccountName"] == f"deis-{name}"


@pytest.mark.parametrize("title", EXAMPLES)
def test_a_documented_example_renders_on_the_oldest_and_the_newest_kubernetes(title, tmp_path):
    values, without = tmp_path / "values.yaml", tmp_path / "without.yaml"
    values.write_text(EXAMPLES[title])
    without.write_text("secrets: {create: false}")
    for version in ("1.28.0", "1.36.0"):
        found = objects(render(without, values, options=["-kube-version", version]))
        assert ("Deployment", "deis-controller") in found
        for (kind, name), o in found.items():
            assert o["apiVersion"] in ("v1", "apps/v1", "rbac.authorization.k8s.io/v1", "scheduling.k8s.io/v1", "policy/v1",
                                       "networking.k8s.io/v1"), (kind, name)
    notes = render(without, values, options=["-notes"])
    assert notes.count("\n    ") == 3, "the next three commands"
    assert yaml.safe_load(EXAMPLES[title])["domain"] in notes


def test_an_older_kubernetes_is_refused():
    done = try_to_render(options=["-kube-version", "1.27.9"])
    assert done.returncode != 0 and "needs Kubernetes" in done.stderr


def test_replicas_are_kept_apart_and_drained_one_at_a_time(rendered):
    found = rendered("controller: {replicas: 3}\nrouter: {replicas: 2}\n")
    for component in ("controller", "router"):
        spec = spec_of(found, component)
        [rule] = spec["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        assert rule["podAffinityTerm"]["labelSelector"]["matchLabels"] == {"app": f"deis-{component}"}
        assert spec["topologySpreadConstraints"][0]["topologyKey"] == "topology.kubernetes.io/zone"
        assert found["PodDisruptionBudget", f"deis-{component}"]["spec"]["maxUnavailable"] == 1
    required = rendered("router: {replicas: 2}\navailability: {antiAffinity: required, disruptionBudgets: false, spreadZones: false}\n")
    assert "requiredDuringSchedulingIgnoredDuringExecution" in spec_of(required, "router")["affinity"]["podAntiAffinity"]
    assert "topologySpreadConstraints" not in spec_of(required, "router")
    assert not [kind for kind, _ in required if kind == "PodDisruptionBudget"]


def test_a_lone_replica_can_be_drained(rendered):
    found = rendered()
    assert not [kind for kind, _ in found if kind == "PodDisruptionBudget"]
    assert all("affinity" not in o["spec"]["template"]["spec"] for (kind, _), o in found.items() if kind == "Deployment")


def test_what_one_component_sets_of_its_placement_wins(rendered):
    found = rendered("placement: {all: {nodeSelector: {pool: platform}, tolerations: [{key: a, operator: Exists}]},\n"
                     "            router: {nodeSelector: {pool: edge}}}\n")
    assert spec_of(found, "router")["nodeSelector"] == {"pool": "edge"}
    assert spec_of(found, "router")["tolerations"] == [{"key": "a", "operator": "Exists"}]
    assert spec_of(found, "database")["nodeSelector"] == {"pool": "platform"}


def test_state_outside_the_cluster_leaves_nothing_of_it_inside(rendered):
    found = rendered(EXAMPLES["State outside the cluster"])
    for gone in ("database", "objectstore"):
        assert not [key for key in found if key[1] == f"deis-{gone}"], gone
    assert env_of(found, "controller")["DATABASE_HOST"] == "postgres.example.com"
    for component in ("controller", "builder", "registry"):
        assert env_of(found, component)["S3_ENDPOINT"] == "https://s3.eu-central-1.amazonaws.com", component
    assert env_of(found, "builder")["BUILDER_BUCKET"] == env_of(found, "controller")["BUILDER_BUCKET"] == "example-builder"
    assert env_of(found, "registry")["REGISTRY_STORAGE"] == "s3"
    used = {v["secret"]["secretName"] for c in ("controller", "builder", "registry") for v in spec_of(found, c)["volumes"] if "secret" in v}
    assert {"postgres-login", "s3-keys"} <= used and not {"database-creds", "objectstorage-keyfile"} & used
    assert ("PersistentVolumeClaim", "deis-registry") not in found


def test_keys_that_only_their_owner_knows_are_not_invented(rendered):
    found = rendered("database: {location: off-cluster, host: db}\nobjectStorage: {location: off-cluster, endpoint: 'https://s3'}\n"
                     "secrets: {existing: {builder-ssh-private-keys: mine}}\n", secrets=True)
    assert {name for kind, name in found if kind == "Secret"} == {"builder-key-auth", "django-secret-key"}


def test_images_come_from_a_mirror(rendered):
    found = rendered("images: {mirror: 'registry.corp:5000/m/', pullSecrets: [login]}\n")
    for (kind, name), o in found.items():
        if kind == "Deployment":
            spec = o["spec"]["template"]["spec"]
            assert spec["containers"][0]["image"] == "registry.corp:5000/m/workflow/platform:0.1.0"
            assert spec["imagePullSecrets"] == [{"name": "login"}]
    for name in ("slugbuilder-config", "slugrunner-config"):
        assert found["ConfigMap", name]["data"]["image"] == "registry.corp:5000/m/workflow/stack:0.1.0"
    assert env_of(found, "builder")["BUILDER_POD_PULL_SECRETS"] == "login"
    bare = rendered("images: {mirror: mirror.corp, platform: 'team/platform:1', stack: 'stack:2'}\n")
    assert spec_of(bare, "router")["containers"][0]["image"] == "mirror.corp/team/platform:1"
    assert bare["ConfigMap", "slugrunner-config"]["data"]["image"] == "mirror.corp/stack:2"


def test_ways_in(rendered):
    node = rendered("router: {service: {type: NodePort, nodePorts: {http: 30080}}}\n")["Service", "deis-router"]["spec"]
    assert node["type"] == "NodePort"
    assert {p["name"]: p.get("nodePort") for p in node["ports"]} == {"http": 30080, "https": None, "builder": None, "healthz": None}
    host = rendered("router: {replicas: 2, service: {type: ClusterIP}, hostPorts: {http: 80, builder: 22}}\n")
    ports = {p["name"]: p.get("hostPort") for p in spec_of(host, "router")["containers"][0]["ports"]}
    assert ports == {"http": 80, "https": None, "builder": 22, "healthz": None}
    assert host["Deployment", "deis-router"]["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    front = rendered("domain: a.example\ningress: {enabled: true, className: c, tlsSecret: t, hosts: [www.b.example]}\n")
    ingress = front["Ingress", "deis-router"]["spec"]
    assert [rule["host"] for rule in ingress["rules"]] == ["*.a.example", "www.b.example"]
    assert ingress["tls"] == [{"secretName": "t", "hosts": ["*.a.example", "www.b.example"]}]
    native = rendered("domain: a.example\nrouter: {enabled: false}\nnativeIngress: {enabled: true}\nbuilder: {service: {type: LoadBalancer}}\n")
    assert not [key for key in native if "router" in key[1]]
    assert env_of(native, "controller")["NATIVE_INGRESS_HOSTNAME"] == "a.example"
    assert native["Ingress", "deis-controller"]["spec"]["rules"][0]["host"] == "deis.a.example"
    assert native["Service", "deis-builder"]["spec"]["type"] == "LoadBalancer"


def test_only_those_who_must_reach_a_component_may(rendered):
    policies = {name: o["spec"] for (kind, name), o in rendered().items() if kind == "NetworkPolicy"}
    peers = lambda name, port: [rule.get("from", "everybody") for rule in policies[name]["ingress"]
                                if {"protocol": "TCP", "port": port} in rule["ports"]]
    pods = lambda *names: [{"podSelector": {"matchLabels": {"app": name}}} for name in names]
    assert peers("deis-database", 5432) == [pods("deis-controller")]
    assert peers("deis-controller", 8000) == [pods("deis-router", "deis-builder")]
    assert peers("deis-builder", 2223) == [pods("deis-router")]
    assert peers("deis-router", 8080) == ["everybody"]
    assert peers("deis-router", 9091) == [pods("deis-controller", "deis-router")]
    assert peers("deis-objectstore", 9000) == [[{"namespaceSelector": {}}]]
    assert "ingress" not in policies["deis-builds"]
    watched = rendered("networkPolicies: {metricsFrom: [{podSelector: {}}]}\n")
    assert {"podSelector": {}} in watched["NetworkPolicy", "deis-database"]["spec"]["ingress"][1]["from"]


def test_replicas_alone_restart_nothing_else(rendered):
    """A pod's template changes when what it reads changes, and not with any value."""
    template = lambda found, c: found["Deployment", f"deis-{c}"]["spec"]["template"]
    before = rendered()
    after = rendered("controller: {env: {LOGIN_FAILURES: '5'}}\nstorage: {registry: 60Gi}\n")
    changed = {c for c in ("builder", "controller", "database", "objectstore", "registry", "router") if template(before, c) != template(after, c)}
    assert changed == {"controller"}
    moved = rendered("domain: other.example\n")
    assert template(before, "router") != template(moved, "router")


@pytest.mark.parametrize("values, word", [
    ("domian: apps.example.com", "domian"),
    ("domain: 'Apps example'", "domain"),
    ("controller: {replicas: 0}", "replicas"),
    ("controller: {replicas: two}", "replicas"),
    ("controller: {registrationMode: open}", "registrationMode"),
    ("controller: {env: {'1X': y}}", "1X"),
    ("router: {service: {type: External}}", "router.service.type"),
    ("router: {hostPorts: {http: 80000}}", "hostPorts"),
    ("storage: {database: ten}", "storage.database"),
    ("images: {pullPolicy: Sometimes}", "pullPolicy"),
    ("database: {location: off-cluster}", "database.host"),
    ("objectStorage: {location: off-cluster}", "objectStorage.endpoint"),
    ("objectStorage: {endpoint: s3.example.com}", "endpoint"),
    ("registry: {location: elsewhere}", "registry.location"),
    ("secrets: {existing: {passwords: x}}", "passwords"),
    ("resources: {router: {limit: {cpu: 1}}}", "limit"),
    ("availability: {antiAffinity: some}", "antiAffinity"),
    ("router: {enabled: false}", "nativeIngress"),
    ("nativeIngress: {enabled: true}", "router.enabled"),
    ("ingress: {enabled: true}\nrouter: {enabled: false}\nnativeIngress: {enabled: true}", "ingress.enabled"),
])
def test_a_wrong_value_is_an_error_that_names_it(values, word, tmp_path):
    file = tmp_path / "values.yaml"
    file.write_text(values)
    done = try_to_render(file)
    assert done.returncode != 0 and word in done.stderr, done.stderr


def test_the_schema_knows_every_value_and_no_other():
    schema = json.loads((CHART / "values.schema.json").read_text())

    def compare(values, part, path):
        assert part.get("additionalProperties") is not True, path
        if not isinstance(values, dict) or "properties" not in part:
            return
        known = set(part["properties"])
        assert set(values) <= known, f"{path}: {set(values) - known} are not in the schema"
        for name in values:
            compare(values[name], part["properties"][name], f"{path}.{name}")

    values = yaml.safe_load((CHART / "values.yaml").read_text())
    compare(values, schema, "values")
    assert set(schema["properties"]) - {"global"} == set(values)
    for name, part in schema["properties"].items():
        if values.get(name):
            # Maps that are empty by default name their keys in the schema only.
            named = {key for key, of in part.get("properties", {}).items()}
            assert named >= set(values[name] if isinstance(values[name], dict) else ()), name


def test_the_documentation_names_every_group_of_values():
    page = (ROOT / "docs/kubernetes.md").read_text()
    groups = yaml.safe_load((CHART / "values.yaml").read_text())
    for group in groups:
        assert re.search(rf"\b{group}\b", page), group
