"""An unmodified kubectl, Debian's and the newest, against the engine's API: the transcripts in the folder kubectl/. The
pods are pretended; what needs real ones is in tests/e2e/test_engine_pods.py."""

import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import transcript
from engine_under_test import Engine, PretendedNode
from kubernetes_clients import debian_kubectl, newest_kubectl
from workflow_testing import wait_for

FOLDER = pathlib.Path(__file__).parent / "kubectl"
TRANSCRIPTS = sorted(FOLDER.glob("*.transcript"))


@pytest.fixture(scope="module", params=["old", "new"])
def cluster(request, tmp_path_factory):
    """An engine of its own for each kubectl, with one node."""
    program = debian_kubectl() if request.param == "old" else newest_kubectl()
    folder = tmp_path_factory.mktemp(f"kubectl-{request.param}")
    (folder / "bin").mkdir()
    (folder / "bin/kubectl").symlink_to(program)
    (folder / "state").mkdir()
    engine = Engine(folder / "state")
    node = socket.gethostname().split(".")[0].lower()
    engine.kind = request.param
    engine.folder = folder
    engine.program = program
    engine.env = dict(os.environ, KUBECONFIG=str(engine.state / "kubeconfig"), HOME=str(folder),
                      PATH=f"{folder / 'bin'}:{os.environ['PATH']}", NODE=node)
    capacity = {"cpu": "4", "memory": "8Gi", "pods": "110"}
    made = engine.api.send("POST", "/api/v1/nodes", {
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": {"kubernetes.io/hostname": node}},
        "status": {"capacity": capacity, "allocatable": capacity, "conditions": [{"type": "Ready", "status": "True"}],
                   "addresses": [{"type": "InternalIP", "address": "192.0.2.7"}], "nodeInfo": {"kubeletVersion": "v1.32.0"}}})
    assert made[0] == 201, made
    PretendedNode(engine.api, node).start()
    yield engine
    assert engine.stop() == 0, (engine.state / "engine.log").read_text()


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda p: p.stem)
def test_transcript(cluster, path):
    work = cluster.folder / path.stem
    shutil.copytree(FOLDER / "manifests", work)
    steps = transcript.parse(path)
    record = os.environ.get("WORKFLOW_RECORD")
    problems = []
    for step in steps:
        if step.kind not in ("", cluster.kind):
            continue
        printed = transcript.run(step, cluster.env, work)
        if transcript.matches(step.expected(cluster.kind), printed):
            continue
        if record:
            step.record(cluster.kind, [transcript.recorded(line) for line in printed])
        else:
            problems.append(f"{path.name}:{step.line}: $ {step.command}\n" + "\n".join(printed))
    if record:
        transcript.write(path, steps)
    assert not problems, "\n\n".join(problems)


def test_the_transcripts_are_at_least_sixty_commands(cluster):
    steps = [s for path in TRANSCRIPTS for s in transcript.parse(path) if s.kind in ("", cluster.kind)]
    assert len([s for s in steps if "kubectl" in s.command]) >= 60


def test_a_watch_shows_changes_as_they_happen(cluster):
    watching = subprocess.Popen(["kubectl", "get", "configmaps", "-n", "default", "-w", "-o", "name"], env=cluster.env, text=True, stdout=subprocess.PIPE)
    seen = []
    threading.Thread(target=lambda: seen.extend(iter(watching.stdout.readline, "")), daemon=True).start()
    try:
        wait_for(lambda: seen, 20, "the watch shows what is there")
        cluster.kubectl("create", "configmap", "watched", "-n", "default", program=cluster.program)
        wait_for(lambda: "configmap/watched\n" in seen, 20, "the watch shows the new one")
    finally:
        watching.terminate()
        watching.wait(timeout=10)
