"""The engine's pods as they really run: containerd, runc, nftables. One engine for all tests; each has a namespace of its own."""

import hashlib
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from engine_with_pods import IMAGE, container, engine, fetch, is_ready, missing_parts, ns  # noqa: E402, F401
from workflow_testing import WORKFLOW, free_port, run, wait_for  # noqa: E402

if missing_parts():
    pytest.skip(missing_parts(), allow_module_level=True)

SERVE = "mkdir -p /tmp/www && echo $HOSTNAME > /tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"


def test_a_pod_runs_to_its_end_and_says_how(engine, ns):
    engine.pod(ns, "good", "echo out; echo err >&2", restartPolicy="Never")
    engine.pod(ns, "bad", "echo -n 'it is broken' > /dev/termination-log; exit 3", restartPolicy="Never")
    engine.pod(ns, "told", "echo last words; exit 4", container={"terminationMessagePolicy": "FallbackToLogsOnError"}, restartPolicy="Never")
    engine.pod(ns, "killed", "sh -c 'kill -9 $$$$'; exit $?", restartPolicy="Never")
    engine.pod(ns, "fat", "tail /dev/zero", container={"resources": {"limits": {"memory": "16Mi"}}}, restartPolicy="Never")
    end = lambda name, phase: container(engine.wait_phase(ns, name, phase))["state"]["terminated"]
    good = end("good", "Succeeded")
    assert (good["exitCode"], good["reason"]) == (0, "Completed")
    assert sorted(str(engine.output(ns, "good")).split()) == ["err", "out"]
    bad = end("bad", "Failed")
    assert (bad["exitCode"], bad["reason"], bad["message"]) == (3, "Error", "it is broken")
    assert end("told", "Failed")["message"] == "last words\n"
    assert end("killed", "Failed")["exitCode"] == 137
    fat = end("fat", "Failed")
    assert (fat["exitCode"], fat["reason"]) == (137, "OOMKilled")


def test_init_containers_and_sidecars_keep_their_order(engine, ns):
    mount = [{"name": "work", "mountPath": "/work"}]
    step = lambda name, script, **more: {"name": name, "image": IMAGE, "command": ["sh", "-c", script], "volumeMounts": mount, **more}
    engine.pod(ns, "p", "echo main >> /work/order; cat /work/order", container={"volumeMounts": mount}, restartPolicy="Never",
               volumes=[{"name": "work", "emptyDir": {}}],
               initContainers=[step("first", "echo first >> /work/order"),
                               step("beside", "echo beside >> /work/order; trap 'exit 0' TERM; while :; do sleep 0.1; done", restartPolicy="Always"),
                               step("second", "echo second >> /work/order")])
    pod = engine.wait_phase(ns, "p", "Succeeded")
    assert engine.output(ns, "p", container="c").split() == ["first", "beside", "second", "main"]
    assert container(pod, "beside")["state"]["terminated"]["exitCode"] == 0
    engine.pod(ns, "stuck", restartPolicy="Never", initContainers=[{"name": "i", "image": IMAGE, "command": ["false"]}])
    stuck = engine.wait_phase(ns, "stuck", "Failed")
    assert container(stuck)["state"]["waiting"]["reason"] == "PodInitializing"


def test_hooks_run_after_the_start_and_before_the_end(engine, ns, tmp_path):
    mount = {"volumeMounts": [{"name": "host", "mountPath": "/host"}]}
    write = lambda word: {"exec": {"command": ["sh", "-c", f"echo {word} >> /host/order"]}}
    engine.pod(ns, "p", "trap 'echo term >> /host/order; exit 0' TERM; while :; do sleep 0.1; done", terminationGracePeriodSeconds=10,
               container={**mount, "lifecycle": {"postStart": write("started"), "preStop": write("stopping")}},
               volumes=[{"name": "host", "hostPath": {"path": str(tmp_path)}}])
    engine.wait_running(ns, "p")
    engine.delete("pods", ns, "p")
    engine.gone("pods", ns, "p")
    assert (tmp_path / "order").read_text().split() == ["started", "stopping", "term"]
    engine.pod(ns, "q", container={"lifecycle": {"postStart": {"exec": {"command": ["false"]}}}}, restartPolicy="Never")
    engine.wait_event(ns, "q", "FailedPostStartHook")


def test_probes_of_all_kinds_decide(engine, ns, tmp_path):
    fast = {"annotations": {"engine.deis.io/probe-interval": "50ms"}}
    host = {"volumes": [{"name": "host", "hostPath": {"path": str(tmp_path)}}]}
    mount = {"volumeMounts": [{"name": "host", "mountPath": "/host"}]}
    (tmp_path / "index.html").write_text("well")
    engine.pod(ns, "ready", "exec httpd -f -p 8080 -h /host", metadata=fast, **host,
               container={**mount, "ports": [{"name": "web", "containerPort": 8080}],
                          "readinessProbe": {"httpGet": {"port": "web", "path": "/index.html"}, "failureThreshold": 1}})
    engine.pod(ns, "live", "touch /tmp/alive; sleep 1000",
               container={"livenessProbe": {"exec": {"command": ["cat", "/tmp/alive"]}, "periodSeconds": 1, "failureThreshold": 1,
                                            "initialDelaySeconds": 1}})
    engine.pod(ns, "slow", "sleep 1; " + SERVE, metadata=fast,
               container={"startupProbe": {"tcpSocket": {"port": 8080}, "failureThreshold": 100},
                          "livenessProbe": {"tcpSocket": {"port": 8080}, "failureThreshold": 1, "periodSeconds": 1}})
    engine.wait_running(ns, "ready")
    (tmp_path / "index.html").unlink()
    engine.wait_pod(ns, "ready", lambda pod: not is_ready(pod))
    engine.wait_event(ns, "ready", "Unhealthy")
    (tmp_path / "index.html").write_text("well again")
    engine.wait_running(ns, "ready")
    assert container(engine.wait_running(ns, "slow"))["restartCount"] == 0
    engine.wait_running(ns, "live")
    pid = container(engine.find("pods", ns, "live"))["containerID"].removeprefix("containerd://")
    engine.ctr("tasks", "exec", "--exec-id", "x", pid, "rm", "/tmp/alive")
    engine.wait_pod(ns, "live", lambda pod: container(pod)["restartCount"] == 1 and is_ready(pod))
    engine.wait_event(ns, "live", "Killing")


def test_a_startup_probe_ends_with_its_first_good_answer(engine, ns, tmp_path):
    host = {"volumes": [{"name": "host", "hostPath": {"path": str(tmp_path)}}]}
    engine.pod(ns, "begun", "sleep 1000", **host,
               container={"volumeMounts": [{"name": "host", "mountPath": "/host"}],
                          "startupProbe": {"exec": {"command": ["sh", "-c", "echo >>/host/startup"]}, "periodSeconds": 1,
                                           "failureThreshold": 2147483647},
                          "readinessProbe": {"exec": {"command": ["sh", "-c", "echo >>/host/readiness"]}, "periodSeconds": 1}})
    engine.wait_running(ns, "begun")
    wait_for(lambda: (tmp_path / "readiness").read_text().count("\n") >= 4, 60, "asked again and again")
    assert (tmp_path / "startup").read_text() == "\n"


def test_what_cannot_start_says_why_and_heals(engine, ns):
    env = {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "late", "key": "a"}}}]}
    engine.pod(ns, "waits", 'echo "A is $A"; sleep 1000', container=env)
    engine.pod(ns, "nowhere", container={"image": "127.0.0.1:9/no/such:1"})
    engine.pod(ns, "never", container={"image": "localhost/no/such:1"})
    engine.pod(ns, "program", container={"command": ["/no/such/program"]})
    engine.pod(ns, "crashes", "exit 1")
    engine.pod(ns, "large", container={"resources": {"requests": {"cpu": "1000"}}})
    engine.pod(ns, "root", container={"securityContext": {"runAsNonRoot": True}})
    reason = lambda name, wanted: engine.wait_pod(ns, name, lambda pod: (container(pod) or {}).get("state", {}).get("waiting", {}).get("reason") in wanted)
    reason("waits", ["CreateContainerConfigError"])
    reason("nowhere", ["ErrImagePull", "ImagePullBackOff"])
    reason("never", ["ErrImageNeverPull"])
    reason("program", ["RunContainerError", "CreateContainerError"])
    reason("root", ["CreateContainerConfigError"])
    crashed = reason("crashes", ["CrashLoopBackOff"])
    assert container(crashed)["lastState"]["terminated"]["exitCode"] == 1
    assert engine.wait_event(ns, "large", "FailedScheduling")["message"].startswith("0/1 nodes are available: 1 Insufficient cpu.")
    engine.create("secrets", ns, "late", stringData={"a": "here"})
    engine.wait_running(ns, "waits")
    assert engine.output(ns, "waits") == "A is here\n"
    assert "previous=true" and engine.output(ns, "crashes", previous="true") == ""


def test_requests_and_limits_reach_the_kernel(engine, ns):
    pod = engine.pod(ns, "p", container={"resources": {"requests": {"cpu": "250m"}, "limits": {"cpu": "500m", "memory": "32Mi"}}})
    running = engine.wait_running(ns, "p")
    assert running["status"]["qosClass"] == "Burstable"
    cid = container(running)["containerID"].removeprefix("containerd://")
    group = next(pathlib.Path("/sys/fs/cgroup").glob(f"**/pod{pod['metadata']['uid']}/{cid}"), None)
    assert group, "no cgroup"
    if pathlib.Path("/sys/fs/cgroup/cgroup.controllers").exists():
        assert (group / "memory.max").read_text().strip() == str(32 << 20)
        assert (group / "cpu.max").read_text().split() == ["50000", "100000"]
    else:
        value = lambda controller, file: next(pathlib.Path("/sys/fs/cgroup", controller).glob(f"*/pod{pod['metadata']['uid']}/{cid}/{file}")).read_text().strip()
        assert value("memory", "memory.limit_in_bytes") == str(32 << 20)
        assert (value("cpu", "cpu.cfs_quota_us"), value("cpu", "cpu.shares")) == ("50000", "256")
        shares = next(pathlib.Path("/sys/fs/cgroup/cpu").glob(f"*/pod{pod['metadata']['uid']}/cpu.shares"))
        assert shares.read_text().strip() == "256"
    engine.delete("pods", ns, "p")
    engine.gone("pods", ns, "p")
    assert not list(pathlib.Path("/sys/fs/cgroup").glob(f"*/*/pod{pod['metadata']['uid']}"))


def test_volumes_of_all_kinds(engine, ns):
    engine.create("secrets", ns, "s", stringData={"key": "hidden"})
    engine.create("configmaps", ns, "m", data={"a": "one"})
    engine.create("persistentvolumeclaims", ns, "data", {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}})
    volumes = [{"name": "s", "secret": {"secretName": "s", "defaultMode": 0o400}}, {"name": "m", "configMap": {"name": "m"}},
               {"name": "d", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
               {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}},
                                                       {"configMap": {"name": "kube-root-ca.crt"}}]}},
               {"name": "p", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "e", "emptyDir": {"medium": "Memory"}}]
    mounts = [{"name": v["name"], "mountPath": "/" + v["name"]} for v in volumes]
    mounts.append({"name": "p", "mountPath": "/sub", "subPath": "below/here"})
    script = "cat /s/key /m/a /d/labels; stat -Lc %a /s/key; ls /t; grep -c ' /e tmpfs ' /proc/mounts; echo kept > /sub/file; touch /m/x 2>&1 || echo refused"
    text = engine.run(ns, "first", script, container={"volumeMounts": [{**m, "readOnly": True} if m["name"] == "m" else m for m in mounts]}, volumes=volumes)
    assert text.split() == ["hiddenoneapp=\"first\"", "400", "ca.crt", "token", "1", "touch:", "/m/x:", "Read-only", "file", "system", "refused"]
    # The claim's data are there for the next pod, and a mounted ConfigMap follows its object.
    engine.pod(ns, "second", "cat /p/below/here/file; while [ $(cat /m/a) = one ]; do sleep 0.1; done; echo changed", restartPolicy="Never",
               container={"volumeMounts": mounts}, volumes=volumes)
    engine.wait_pod(ns, "second", lambda pod: "running" in (container(pod) or {}).get("state", {}))
    engine.patch("configmaps", ns, "m", {"data": {"a": "two"}})
    engine.wait_phase(ns, "second", "Succeeded")
    assert str(engine.output(ns, "second")).split() == ["kept", "changed"]


def test_security_settings_hold(engine, ns):
    script = ("id -u; id -G; grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status; touch /x 2>/dev/null || echo read-only; "
              "stat -c %g /work; touch /work/mine && stat -c %g /work/mine")
    text = engine.run(ns, "p", script, securityContext={"runAsUser": 1000, "runAsGroup": 1001, "fsGroup": 2000},
                      volumes=[{"name": "work", "emptyDir": {}}],
                      container={"volumeMounts": [{"name": "work", "mountPath": "/work"}],
                                 "securityContext": {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}})
    assert text.split() == ["1000", "1001", "2000", "CapEff:", "0000000000000000", "NoNewPrivs:", "1", "Seccomp:", "2", "read-only", "2000", "2000"]


def test_services_reach_their_pods(engine, ns):
    for name in ("a", "b"):
        engine.pod(ns, name, SERVE, labels={"app": "web"})
    node_port, host_port = 30000 + free_port() % 2000, free_port()
    engine.create("services", ns, "web", {"selector": {"app": "web"}, "type": "NodePort", "ports": [{"port": 80, "targetPort": 8080, "nodePort": node_port}]})
    engine.create("services", ns, "sticky", {"selector": {"app": "web"}, "sessionAffinity": "ClientIP", "ports": [{"port": 80, "targetPort": 8080}]})
    engine.create("services", ns, "direct", {"selector": {"app": "web"}, "clusterIP": "None", "ports": [{"port": 8080}]})
    engine.pod(ns, "host", SERVE, container={"ports": [{"containerPort": 8080, "hostPort": host_port}]})
    ips = {engine.wait_running(ns, name)["status"]["podIP"] for name in ("a", "b")}
    wait_for(lambda: {fetch("127.0.0.1", node_port) for _ in range(10)} == {"a", "b"}, 10, "both pods answer through the node port")
    engine.wait_running(ns, "host")
    wait_for(lambda: fetch("127.0.0.1", host_port) == "host", 10, "the host port answers")
    text = engine.run(ns, "client", "for i in 1 2 3 4 5 6 7 8; do wget -qO- http://sticky; done; wget -qO- http://web.$NS.svc.cluster.local; nslookup direct.$NS.svc.cluster.local",
                      container={"env": [{"name": "NS", "value": ns}]})
    lines = text.split("\n")
    assert len(set(lines[:8])) == 1 and lines[8] in ("a", "b"), text
    assert ips <= set(re.findall(r"Address:\s+([0-9.]+)", text))
    # Nobody is behind it any more: refused at once, not timed out.
    engine.patch("services", ns, "web", {"spec": {"selector": {"app": "nobody"}}})
    wait_for(lambda: "(7)" in fetch("127.0.0.1", node_port), 10, "the connection is refused")


def test_network_policies_keep_others_out(engine, ns):
    other = engine.namespace(ns + "-other")
    engine.pod(ns, "web", SERVE)
    engine.pod(ns, "friend")
    ip = engine.wait_running(ns, "web")["status"]["podIP"]
    engine.create("services", ns, "web", {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]})
    engine.create("networkpolicies", ns, "own-only", {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": {}}]}]})
    ask = f"timeout 3 wget -qO- http://{ip}:8080 || echo refused; timeout 3 wget -qO- http://web.{ns} || echo refused"
    assert engine.run(ns, "inside", ask).split() == ["web", "web"]
    refused = engine.run(other, "outside", ask)
    assert [line for line in refused.split("\n") if line in ("web", "refused")] == ["refused", "refused"]
    assert fetch(ip, 8080) == "web"  # the machine itself: probes and the router
    engine.patch("networkpolicies", ns, "own-only", {"spec": {"ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"name": other}}}]}]}})
    assert engine.run(other, "let-in", f"until timeout 2 wget -qO- http://{ip}:8080 2>/dev/null; do sleep 0.1; done").split() == ["web"]
    engine.api.send("DELETE", f"/api/v1/namespaces/{other}")


def test_jobs_and_cron_jobs_run_to_their_end(engine, ns):
    once = lambda script: {"metadata": {"labels": {"app": "job"}}, "spec": {"restartPolicy": "Never", "containers": [
        {"name": "c", "image": IMAGE, "command": ["sh", "-c", script]}]}}
    engine.create("jobs", ns, "good", {"completions": 3, "parallelism": 2, "template": once("true")})
    engine.create("jobs", ns, "bad", {"backoffLimit": 0, "template": once("exit 1")})
    engine.create("cronjobs", ns, "tick", {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": once("true")}}})
    engine.patch("cronjobs", ns, "tick", {"status": {"lastScheduleTime": "2020-01-01T00:00:00Z"}}, "/status")
    condition = lambda name, kind: next((c for c in engine.find("jobs", ns, name)["status"].get("conditions", []) if c["type"] == kind), None)
    wait_for(lambda: condition("good", "Complete"), 30, "the job completes")
    assert engine.find("jobs", ns, "good")["status"]["succeeded"] == 3
    assert wait_for(lambda: condition("bad", "Failed"), 30, "the job fails")["reason"] == "BackoffLimitExceeded"
    wait_for(lambda: engine.find("cronjobs", ns, "tick")["status"].get("lastSuccessfulTime"), 30, "the cron job's job completes")


def test_an_autoscaler_follows_the_load(engine, ns):
    engine.create("deployments", ns, "busy", {"replicas": 1, "selector": {"matchLabels": {"app": "busy"}}, "template": {
        "metadata": {"labels": {"app": "busy"}}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [
            {"name": "c", "image": IMAGE, "command": ["sh", "-c", "while :; do :; done"],
             "resources": {"requests": {"cpu": "50m"}, "limits": {"cpu": "200m"}}}]}}})
    wait_for(lambda: engine.find("deployments", ns, "busy")["status"].get("readyReplicas") == 1, 30, "the pod runs")
    engine.create("horizontalpodautoscalers", ns, "busy", {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "busy"}, "minReplicas": 1, "maxReplicas": 2,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]})
    wait_for(lambda: engine.find("deployments", ns, "busy")["spec"]["replicas"] == 2, 30, "the autoscaler adds a pod")
    current = engine.find("horizontalpodautoscalers", ns, "busy")["status"]["currentMetrics"][0]["resource"]["current"]
    assert current["averageUtilization"] > 50
    usage = engine.api.get(f"/apis/metrics.k8s.io/v1beta1/namespaces/{ns}/pods")["items"]
    assert usage and usage[0]["containers"][0]["usage"]["cpu"].endswith("n")


def test_logs_are_rotated_while_they_are_followed(engine, ns):
    engine.pod(ns, "loud", "yes 0123456789012345678901234567890123456789 | head -n 260000; sleep 13; echo the end", restartPolicy="Never")
    engine.wait_pod(ns, "loud", lambda pod: "running" in (container(pod) or {}).get("state", {}))
    uid = engine.find("pods", ns, "loud")["metadata"]["uid"]
    folder = engine.state / "logs/pods" / f"{ns}_loud_{uid}" / "c"
    follow = subprocess.Popen(["curl", "-sk", "--cert", engine.state / "test-client.crt", "--key", engine.state / "test-client.key",
                               f"https://127.0.0.1:{engine.port}" + engine.path("pods", ns, "loud") + "/log?follow=true&tailLines=1"],
                              stdout=subprocess.PIPE, text=True)
    wait_for(lambda: len(list(folder.glob("0.log.*"))) == 1, 30, "the log is rotated")
    engine.wait_phase(ns, "loud", "Succeeded")
    assert follow.communicate(timeout=20)[0].endswith("the end\n")
    assert engine.output(ns, "loud", tailLines=1) == "the end\n"


def test_quota_and_budget_are_kept(engine, ns):
    engine.create("resourcequotas", ns, "q", {"hard": {"pods": "2"}})
    engine.create("deployments", ns, "web", {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {
        "metadata": {"labels": {"app": "web"}}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [
            {"name": "c", "image": IMAGE, "command": ["sleep", "1000"]}]}}})
    engine.create("poddisruptionbudgets", ns, "web", {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}})
    wait_for(lambda: engine.find("deployments", ns, "web")["status"].get("readyReplicas") == 2, 30, "as many as the quota allows")
    failure = wait_for(lambda: next((c for c in engine.find("deployments", ns, "web")["status"]["conditions"] if c["type"] == "ReplicaFailure"), None), 10, "the refusal is told")
    assert "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2" in failure["message"]
    wait_for(lambda: engine.find("resourcequotas", ns, "q").get("status", {}).get("used") == {"pods": "2"}, 10, "the quota is counted")
    wait_for(lambda: engine.find("poddisruptionbudgets", ns, "web").get("status", {}).get("currentHealthy") == 2, 10, "the budget is counted")
    pod = engine.api.get(f"/api/v1/namespaces/{ns}/pods")["items"][0]["metadata"]["name"]
    status, answer = engine.api.send("POST", engine.path("pods", ns, pod) + "/eviction", {"metadata": {"name": pod}})
    assert status == 429 and "needs 2 healthy pods and has 2" in answer["details"]["causes"][0]["message"], answer


def test_an_eviction_uses_up_its_budget_and_a_dry_run_evicts_nothing(engine, ns):
    engine.create("deployments", ns, "web", {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {
        "metadata": {"labels": {"app": "web"}}, "spec": {"terminationGracePeriodSeconds": 30, "containers": [
            {"name": "c", "image": IMAGE, "command": ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]}]}}})
    engine.create("poddisruptionbudgets", ns, "web", {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}})
    budget = lambda: engine.find("poddisruptionbudgets", ns, "web").get("status", {})
    wait_for(lambda: budget().get("disruptionsAllowed") == 1, 30, "one pod may go")
    first, second, third = (pod["metadata"] for pod in engine.api.get(f"/api/v1/namespaces/{ns}/pods")["items"])
    evict = lambda pod, **options: engine.api.send("POST", engine.path("pods", ns, pod["name"]) + "/eviction", {
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod["name"]}, "deleteOptions": options})

    assert evict(first, dryRun=["All"])[0] == 201
    assert evict(first, preconditions={"uid": "another"})[0] == 409
    assert not any("deletionTimestamp" in pod["metadata"] for pod in engine.api.get(f"/api/v1/namespaces/{ns}/pods")["items"])
    wait_for(lambda: budget().get("disruptionsAllowed") == 1, 10, "one pod may still go")

    assert evict(second, gracePeriodSeconds=20)[0] == 201
    assert engine.find("pods", ns, second["name"])["metadata"]["deletionGracePeriodSeconds"] == 20
    assert evict(third)[0] == 429  # also before the budget is counted again
    engine.delete("pods", ns, second["name"], grace=0)
    wait_for(lambda: budget().get("disruptionsAllowed") == 1 and "disruptedPods" not in budget(), 30, "another pod has come")
    assert evict(third)[0] == 201


def test_a_pod_has_its_deadline_and_its_grace(engine, ns):
    engine.pod(ns, "late", activeDeadlineSeconds=1)
    late = engine.wait_phase(ns, "late", "Failed")
    assert late["status"]["reason"] == "DeadlineExceeded"
    engine.pod(ns, "stubborn", "trap '' TERM; while :; do sleep 0.1; done", terminationGracePeriodSeconds=300)
    engine.wait_running(ns, "stubborn")
    engine.delete("pods", ns, "stubborn")
    engine.delete("pods", ns, "stubborn", grace=1)
    engine.gone("pods", ns, "stubborn")


def test_what_runs_outlives_containerd(engine, ns):
    engine.pod(ns, "web", SERVE)
    before = engine.wait_running(ns, "web")
    pid = int((engine.state / "containerd/containerd.pid").read_text())
    subprocess.run(["kill", "-9", str(pid)], check=True)
    assert fetch(before["status"]["podIP"], 8080) == "web"
    engine.pod(ns, "next")
    engine.wait_running(ns, "next")
    after = engine.find("pods", ns, "web")
    assert container(after)["containerID"] == container(before)["containerID"] and container(after)["restartCount"] == 0
    assert is_ready(after)


def test_an_engine_is_ready_only_when_it_knows_what_ended_while_it_was_away(engine, ns):
    probe = {"readinessProbe": {"tcpSocket": {"port": 8080}, "initialDelaySeconds": 5, "periodSeconds": 1}}
    engine.pod(ns, "lost", SERVE, container=probe)
    engine.pod(ns, "kept", SERVE)
    engine.wait_running(ns, "lost")
    engine.wait_running(ns, "kept")
    uid = engine.find("pods", ns, "lost")["metadata"]["uid"]
    parts = engine.ctr("containers", "ls", "-q", f'labels."io.kubernetes.pod.uid"=={uid}').split()
    assert len(parts) == 2, parts  # the container and the sandbox
    pids = dict(line.split()[:2] for line in engine.ctr("tasks", "ls").splitlines()[1:])
    engine.kill()
    for part in parts:
        os.kill(int(pids[part]), signal.SIGKILL)
    engine.start()
    assert not is_ready(engine.find("pods", ns, "lost")) and is_ready(engine.find("pods", ns, "kept"))
    engine.wait_running(ns, "lost")


def test_a_new_engine_takes_over_the_rules_in_place(engine, ns):
    """Chains that hang on the kernel's hooks must not be replaced: packets on their way would pass none of them."""
    engine.pod(ns, "web", SERVE)
    engine.create("services", ns, "web", {"selector": {"app": "web"}, "sessionAffinity": "ClientIP", "ports": [{"port": 80, "targetPort": 8080}]})
    engine.wait_running(ns, "web")
    address = engine.find("services", ns, "web")["spec"]["clusterIP"]
    wait_for(lambda: fetch(address, 80) == "web", 10, "the Service answers")
    name = "workflow_" + hashlib.sha256(str(engine.state).encode()).hexdigest()[:6]
    table = lambda *more: run("nft", "-a", *more, "list", "table", "ip", name).stdout
    hooks = lambda: re.findall(r"chain (\w+) { # handle (\d+)\n\t\ttype", table())
    before = hooks()
    assert len(before) == 5, table()
    engine.kill()
    run("nft", "add", "chain", "ip", name, "service_gone")
    run("nft", "add", "rule", "ip", name, "service_gone", "accept")
    run("nft", "add", "element", "ip", name, "services", "{ 10.9.9.9 . tcp . 80 : goto service_gone }")
    engine.start()
    assert hooks() == before
    assert "service_gone" not in table() and "10.9.9.9" not in table()
    assert fetch(address, 80) == "web"


def test_a_state_folder_with_too_long_a_path_is_refused(tmp_path):
    state = tmp_path / ("long" * 20)
    done = run(WORKFLOW, "engine", "--state", state, check=False)
    assert done.returncode == 1 and "workflow engine: state: the path may have 71 characters" in done.stdout, done.stdout
    assert not state.exists()
