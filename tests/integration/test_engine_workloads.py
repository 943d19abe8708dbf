"""Workloads that know who they are: StatefulSets with their names, order and claims, and Jobs by index, with a policy about failures."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from engine_with_pods import IMAGE, engine, missing_parts, ns  # noqa: E402, F401
from workflow_testing import wait_for  # noqa: E402

if missing_parts():
    pytest.skip(missing_parts(), allow_module_level=True)


def stateful_set(engine, ns, name, script, replicas=2, **spec):
    pod = {"terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False,
           "containers": [{"name": "c", "image": IMAGE, "command": ["sh", "-c", script], "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]}
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}
    engine.create("services", ns, name, {"clusterIP": "None", "selector": {"app": name}, "ports": [{"name": "web", "port": 8080}]})
    return engine.create("statefulsets", ns, name, {"replicas": replicas, "serviceName": name, "selector": {"matchLabels": {"app": name}},
                                                    "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
                                                    "volumeClaimTemplates": [claim], **spec})


def pods(engine, ns):
    return {p["metadata"]["name"]: p for p in engine.api.get(f"/api/v1/namespaces/{ns}/pods")["items"]}


def settled(engine, ns, name, replicas):
    """All pods serve, and are of the newest template."""
    def look():
        found = engine.find("statefulsets", ns, name)
        status = found["status"]
        done = status.get("observedGeneration") == found["metadata"]["generation"] and status["replicas"] == replicas and \
            status.get("readyReplicas", 0) == replicas and status.get("currentRevision") == status.get("updateRevision")
        return found if done else None
    return wait_for(look, 60, f"{replicas} of {name} serve")


def test_pods_have_names_an_order_and_claims_that_outlive_them(engine, ns):
    stateful_set(engine, ns, "db", "hostname >> /data/log; sleep 1000")
    settled(engine, ns, "db", 2)
    first, second = pods(engine, ns)["db-0"], pods(engine, ns)["db-1"]
    assert second["metadata"]["creationTimestamp"] >= first["status"]["startTime"], "the second waits for the first"
    assert first["spec"]["hostname"] == "db-0" and first["spec"]["subdomain"] == "db"
    claim = engine.find("persistentvolumeclaims", ns, "data-db-1")
    assert claim["metadata"]["labels"] == {"app": "db"}
    # The next one of the name has the same claim, and what is in it.
    engine.delete("pods", ns, "db-1", 0)
    wait_for(lambda: pods(engine, ns).get("db-1", second)["metadata"]["uid"] != second["metadata"]["uid"], 30, "another db-1")
    settled(engine, ns, "db", 2)
    engine.pod(ns, "reads", "cat /data/log", restartPolicy="Never", container={"volumeMounts": [{"name": "d", "mountPath": "/data"}]},
               volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "data-db-1"}}])
    engine.wait_phase(ns, "reads", "Succeeded")
    assert engine.output(ns, "reads") == "db-1\ndb-1\n"
    engine.delete("pods", ns, "reads", 0)
    # Smaller from its end; claims stay.
    status, scale = engine.api.send("PATCH", engine.path("statefulsets", ns, "db") + "/scale", {"spec": {"replicas": 1}}, "application/merge-patch+json")
    assert status == 200 and scale["spec"]["replicas"] == 1
    settled(engine, ns, "db", 1)
    wait_for(lambda: set(pods(engine, ns)) == {"db-0"}, 30, "one pod is left")
    assert engine.find("persistentvolumeclaims", ns, "data-db-1")


def test_pods_find_each_other_by_name(engine, ns):
    stateful_set(engine, ns, "peers", "mkdir /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www", podManagementPolicy="Parallel")
    settled(engine, ns, "peers", 2)
    script = """until wget -qO- http://peers-1.peers:8080/; do sleep 0.2; done; nslookup -type=srv _web._tcp.peers.$NS.svc.cluster.local || true
nslookup $KUBERNETES_SERVICE_HOST || true"""
    text = engine.run(ns, "asks", script, container={"env": [{"name": "NS", "value": ns}]}, limit=60)
    assert "peers-1\n" in text, text
    for host in ("peers-0", "peers-1"):
        assert f"{host}.peers.{ns}.svc.cluster.local" in text, text
    assert "kubernetes.default.svc.cluster.local" in text, text


def test_a_new_template_comes_pod_by_pod_down_to_the_partition_and_goes_back(engine, ns):
    stateful_set(engine, ns, "web", "sleep 1000", replicas=3, podManagementPolicy="Parallel")
    before = settled(engine, ns, "web", 3)["status"]["currentRevision"]
    change = lambda grace, partition: engine.patch("statefulsets", ns, "web", {"spec": {
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}},
        "template": {"spec": {"terminationGracePeriodSeconds": grace}}}})
    revision = lambda name: pods(engine, ns).get(name, {}).get("metadata", {}).get("labels", {}).get("controller-revision-hash")
    change(1, 2)
    wait_for(lambda: revision("web-2") not in (None, before), 30, "the last pod is new")
    status = wait_for(lambda: (lambda s: s if s.get("updatedReplicas") == 1 and s.get("readyReplicas") == 3 else None)(engine.find("statefulsets", ns, "web")["status"]), 30, "one of three is new")
    assert status["currentRevision"] == before and status["currentReplicas"] == 2
    assert revision("web-0") == revision("web-1") == before
    change(1, 0)
    after = settled(engine, ns, "web", 3)["status"]["currentRevision"]
    assert after != before and {revision(name) for name in ("web-0", "web-1", "web-2")} == {after}
    change(0, 0)
    wait_for(lambda: engine.find("statefulsets", ns, "web")["status"].get("currentRevision") == before, 60, "back to the first revision")
    numbers = {r["metadata"]["name"]: r["revision"] for r in engine.api.get(engine.path("controllerrevisions", ns))["items"]}
    assert numbers == {before: 3, after: 2}


def job(engine, ns, name, script, **spec):
    return engine.create("jobs", ns, name, {"template": {"spec": {
        "restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False,
        "containers": [{"name": "c", "image": IMAGE, "command": ["sh", "-c", script]}]}}, **spec})


def condition(engine, ns, name, kind):
    return next((c for c in engine.find("jobs", ns, name)["status"].get("conditions", []) if c["type"] == kind and c["status"] == "True"), None)


def test_a_job_by_index_has_each_of_them_once(engine, ns):
    job(engine, ns, "parts", "echo $JOB_COMPLETION_INDEX on $(hostname)", completionMode="Indexed", completions=4, parallelism=2)
    wait_for(lambda: condition(engine, ns, "parts", "Complete"), 60, "the job is complete")
    status = engine.find("jobs", ns, "parts")["status"]
    assert status["completedIndexes"] == "0-3" and status["succeeded"] == 4
    said = {str(engine.output(ns, name)) for name in pods(engine, ns)}
    assert said == {f"{i} on parts-{i}\n" for i in range(4)}


@pytest.mark.parametrize("rule, reason", [({"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}, "PodFailurePolicy"),
                                          ({"action": "Count", "onExitCodes": {"operator": "In", "values": [42]}}, "BackoffLimitExceeded")])
def test_a_jobs_policy_tells_failures_apart(engine, ns, rule, reason):
    job(engine, ns, "fails", "exit 42", backoffLimit=3 if reason == "PodFailurePolicy" else 0, podFailurePolicy={"rules": [rule]})
    failed = wait_for(lambda: condition(engine, ns, "fails", "Failed"), 60, "the job has failed")
    assert failed["reason"] == reason
    if reason == "PodFailurePolicy":
        assert "exit code 42 matching FailJob rule at index 0" in failed["message"]
        assert engine.find("jobs", ns, "fails")["status"]["failed"] == 1


def test_an_eviction_does_not_count_where_the_policy_says_so(engine, ns):
    job(engine, ns, "moves", "test -e /host/go || sleep 1000", backoffLimit=0,
        podFailurePolicy={"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]})
    first, = wait_for(lambda: [p for p in pods(engine, ns).values() if p["status"].get("phase") == "Running"], 30, "the pod runs")
    name = first["metadata"]["name"]
    status, answer = engine.api.send("POST", engine.path("pods", ns, name) + "/eviction", {"metadata": {"name": name}})
    assert status == 201, answer
    wait_for(lambda: [n for n, p in pods(engine, ns).items() if n != name and p["status"].get("phase") == "Running"], 60, "another pod runs")
    assert engine.find("jobs", ns, "moves")["status"].get("failed", 0) == 0 and not condition(engine, ns, "moves", "Failed")


def test_a_job_takes_back_its_pod_and_lets_go_of_a_strange_one(engine, ns):
    job(engine, ns, "keeps", "sleep 1000")
    name, = wait_for(lambda: [n for n, p in pods(engine, ns).items() if p["status"].get("phase") == "Running"], 30, "the pod runs")
    owner = lambda: next((o["kind"] for o in engine.find("pods", ns, name)["metadata"].get("ownerReferences", [])), None)
    engine.patch("pods", ns, name, {"metadata": {"ownerReferences": None}})
    wait_for(lambda: owner() == "Job", 30, "the pod is the job's again")
    engine.patch("pods", ns, name, {"metadata": {"labels": None}})
    wait_for(lambda: owner() is None, 30, "the pod is nobody's")
    assert engine.find("pods", ns, name)["status"]["phase"] == "Running"


def test_a_limit_range_gives_and_refuses(engine, ns):
    engine.create("limitranges", ns, "limits", {"limits": [{"type": "Container", "default": {"memory": "64Mi"}, "defaultRequest": {"cpu": "10m"}, "max": {"memory": "128Mi"}},
                                                           {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}]})
    resources = engine.pod(ns, "plain")["spec"]["containers"][0]["resources"]
    assert resources == {"limits": {"memory": "64Mi"}, "requests": {"cpu": "10m", "memory": "64Mi"}}
    greedy = {"containers": [{"name": "c", "image": IMAGE, "resources": {"limits": {"memory": "1Gi"}}}]}
    status, answer = engine.api.send("POST", engine.path("pods", ns), {"metadata": {"name": "greedy"}, "spec": greedy})
    assert status == 403 and "maximum memory usage per Container is 128Mi, but limit is more" in answer["message"]
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}
    status, answer = engine.api.send("POST", engine.path("persistentvolumeclaims", ns), {"metadata": {"name": "large"}, "spec": claim})
    assert status == 403 and "maximum storage usage" in answer["message"]
    # Controllers' pods as well.
    job(engine, ns, "made", "true")
    made, = wait_for(lambda: [p for n, p in pods(engine, ns).items() if n.startswith("made-")], 30, "the job's pod")
    assert made["spec"]["containers"][0]["resources"] == resources
