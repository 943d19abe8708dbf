"""kill -9 of the engine at random moments while pods come and go, and in the middle of a start. WORKFLOW_KILLS says how often (default 30), WORKFLOW_SEED
which history."""

import http.client
import json
import os
import pathlib
import random
import shutil
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from engine_with_pods import IMAGE, PodEngine, container, fetch, is_ready, missing_parts  # noqa: E402
from workflow_testing import wait_for  # noqa: E402

if missing_parts():
    pytest.skip(missing_parts(), allow_module_level=True)

KILLS = int(os.environ.get("WORKFLOW_KILLS", "30"))
SERVE = "mkdir -p /tmp/www && echo $HOSTNAME > /tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"


def deployment(name, replicas, version=0):
    return {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "revisionHistoryLimit": 1, "template": {
        "metadata": {"labels": {"app": name}, "annotations": {"version": str(version)}},
        "spec": {"terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False, "containers": [
            {"name": "c", "image": IMAGE, "command": ["sh", "-c", SERVE], "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}]}}}


class Churn:
    """Changes that somebody makes all the while; what was acknowledged must be true in the end."""

    def __init__(self, engine, seed):
        self.engine, self.random = engine, random.Random(seed)
        self.replicas, self.versions = 2, 0
        self.bare = {}  # name → whether it must be there; absent: nobody knows
        self.count = 0

    def step(self):
        try:
            self.change()
        except (OSError, http.client.HTTPException):
            pass  # the engine died under the request

    def change(self):
        what = self.random.randrange(4)
        if what == 0:
            replicas = self.random.randrange(4)
            self.replicas = None
            self.engine.patch("deployments", "churn", "moving", {"spec": {"replicas": replicas}})
            self.replicas = replicas
        elif what == 1:
            self.versions += 1
            self.engine.patch("deployments", "churn", "moving", {"spec": {"template": {"metadata": {"annotations": {"version": str(self.versions)}}}}})
        elif (what == 2 or not any(self.bare.values())) and sum(self.bare.values()) < 6:
            self.count += 1
            name = f"bare-{self.count}"
            self.engine.pod("churn", name, terminationGracePeriodSeconds=0)
            self.bare[name] = True
        else:
            name = self.random.choice(sorted(name for name, there in self.bare.items() if there))
            self.bare.pop(name)
            if self.engine.delete("pods", "churn", name)[0] == 200:
                self.bare[name] = False


@pytest.fixture
def engine(tmp_path_factory):
    engine = PodEngine(tmp_path_factory.mktemp("kills"))  # a test's own folder has too long a name for sockets
    yield engine
    engine.close()


def test_nothing_is_lost_or_doubled_when_the_engine_is_killed(engine):
    engine.namespace("churn")
    engine.create("deployments", "churn", "steady", deployment("steady", 2))
    engine.create("deployments", "churn", "moving", deployment("moving", 2))
    service = engine.create("services", "churn", "steady", {"selector": {"app": "steady"}, "ports": [{"port": 80, "targetPort": 8080}]})
    address = service["spec"]["clusterIP"]
    wait_for(lambda: engine.find("deployments", "churn", "steady")["status"].get("readyReplicas") == 2, 30, "the steady pods run")
    pods = lambda app: [p for p in engine.api.get("/api/v1/namespaces/churn/pods")["items"] if p["metadata"]["labels"]["app"].startswith(app)]
    before = {p["metadata"]["name"]: container(p)["containerID"] for p in pods("steady")}
    wait_for(lambda: fetch(address, 80) in before, 10, "the service answers")

    over, failures = threading.Event(), []

    def ask():
        while not over.is_set():
            answer = fetch(address, 80)
            if answer not in before:
                failures.append(answer)

    client = threading.Thread(target=ask)
    client.start()
    seed = int(os.environ.get("WORKFLOW_SEED", "1"))
    churn = Churn(engine, seed)
    dice = random.Random(seed)
    try:
        for _ in range(KILLS):
            for _ in range(dice.randrange(1, 12)):
                churn.step()
            engine.kill()
            answer = fetch(address, 80)
            assert answer in before, f"the containers and the Service need no engine: {answer}"
            engine.launch()
            engine.wait_ready()
    finally:
        over.set()
        client.join()
    assert not failures

    wanted = churn.replicas
    if wanted is None:  # a change that was not acknowledged may have been made or not
        wanted = engine.find("deployments", "churn", "moving")["spec"]["replicas"]

    def settled():
        moving = engine.find("deployments", "churn", "moving")
        status = moving["status"]
        if status.get("observedGeneration") != moving["metadata"]["generation"]:
            return False
        if any(status.get(count, 0) != wanted for count in ("replicas", "updatedReplicas", "readyReplicas")):
            return False
        everything = pods("")
        return all("deletionTimestamp" not in p["metadata"] and is_ready(p) for p in everything) and len(pods("moving")) == wanted

    wait_for(settled, 60, "everything comes to rest")
    after = {p["metadata"]["name"]: container(p)["containerID"] for p in pods("steady")}
    assert after == before, "no container was stopped"
    assert all(container(p)["restartCount"] == 0 for p in pods("")), "no container ended, so none was started again"
    names = {p["metadata"]["name"] for p in pods("bare")}
    assert {n for n, there in churn.bare.items() if there} <= names
    assert not {n for n, there in churn.bare.items() if not there} & names
    # Nothing is left in the runtime: a sandbox and a container for each pod.
    expected = 2 * len(pods(""))
    held = lambda: engine.ctr("containers", "ls", "-q").split()
    try:
        wait_for(lambda: len(held()) == expected, 20, "the runtime holds what it should")
    except AssertionError:
        labels = [json.loads(engine.ctr("containers", "info", c))["Labels"] for c in held()]
        told = sorted(f"{l['io.kubernetes.pod.name']} {l['io.cri-containerd.kind']}" for l in labels)
        raise AssertionError(f"{expected} containers expected, not {len(told)}: {told}") from None
    uids = lambda: {p["metadata"]["uid"] for p in pods("")}
    wait_for(lambda: {f.name for f in (engine.state / "pods").iterdir()} == uids(), 90, "no folder of a pod that is gone is left")


def test_a_start_that_the_engine_did_not_finish_is_no_restart(tmp_path, tmp_path_factory, monkeypatch):
    """kill -9 while the runtime makes the container's process; afterwards there is one container, started once."""
    slow, begun = tmp_path / "slow", tmp_path / "begun"
    wrapper = tmp_path / "bin" / "runc"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\ncase " $* " in *" create "*) [ ! -e {slow} ] || {{ touch {begun}; sleep 2; }} ;; esac\n'
                       f'exec {shutil.which("runc", path="/usr/sbin:/usr/bin:/sbin:/bin")} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    engine = PodEngine(tmp_path_factory.mktemp("cut"))
    try:
        engine.namespace("cut")
        data = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
        first = {"name": "first", "image": IMAGE, "command": ["sh", "-c", "until [ -e /data/go ]; do sleep 0.05; done"], **data}
        engine.pod("cut", "pod", "echo ran >> /data/runs; sleep 1000", container=data, initContainers=[first],
                   volumes=[{"name": "data", "hostPath": {"path": str(tmp_path)}}])
        wait_for(lambda: "running" in (container(engine.find("pods", "cut", "pod"), "first") or {"state": {}})["state"], 30, "the first runs")
        slow.touch()
        (tmp_path / "go").touch()
        wait_for(begun.exists, 20, "the runtime makes the process")
        engine.kill()
        slow.unlink()
        engine.start()
        pod = engine.wait_running("cut", "pod")
        assert container(pod)["restartCount"] == 0 and container(pod)["lastState"] == {}
        labels = lambda: [json.loads(engine.ctr("containers", "info", c))["Labels"] for c in engine.ctr("containers", "ls", "-q").split()]
        names = lambda: sorted(l.get("io.kubernetes.container.name", "(sandbox)") for l in labels())
        wait_for(lambda: names() == ["(sandbox)", "c", "first"], 10, f"one container of each name: {names()}")
        assert (tmp_path / "runs").read_text() == "ran\n"
    finally:
        engine.close()
