"""The Kubernetes client libraries, from their registries, against the engine's API: informers, a deployment's life, leader
election. The node is pretended."""

import os
import pathlib
import socket
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from engine_under_test import Engine, PretendedNode
from kubernetes_clients import go_program, python_with_kubernetes

PYTHON_LIFE = pathlib.Path(__file__).resolve().parents[1] / "support/kubernetes/life.py"


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    built = Engine(tmp_path_factory.mktemp("clients"))
    node = socket.gethostname().split(".")[0].lower()
    made = built.api.send("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})
    assert made[0] == 201, made
    PretendedNode(built.api, node).start()
    yield built
    assert built.stop() == 0


@pytest.fixture(scope="module", params=["go", "python"])
def life(request, engine):
    """The program of a language, called with a part's name and a namespace of its own."""
    program = [go_program("life")] if request.param == "go" else [python_with_kubernetes(), PYTHON_LIFE]

    def called(part):
        ns = f"{request.param}-{part}"
        made = engine.api.send("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns}})
        assert made[0] == 201, made
        done = subprocess.run([*program, part, ns], env=dict(os.environ, KUBECONFIG=str(engine.state / "kubeconfig")), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()

    return called


def test_an_informer_sees_every_change(life):
    assert life("informer") == ["added early-699 ", "added late 1", "updated late 2", "updated late 3", "deleted late 3",
                                "deleted early-699 ", "done"]


def test_a_deployments_life(life):
    settled = "updated web replicas={} image=example.com/web:{} settled=true"
    assert life("deployment") == [settled.format(2, 1), settled.format(3, 1), settled.format(3, 2), "deleted web", "pods left: 0",
                                  "done"]


def test_leader_election(life):
    assert life("leader") == ["first leads", "second leads", "done"]
