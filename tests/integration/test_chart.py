"""The chart's objects are what an API server accepts: every documented example, asked with dryRun=All and strict about fields."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from chart import documented_examples, objects, render  # noqa: E402
from engine_under_test import Engine  # noqa: E402

EXAMPLES = {"nothing but the defaults": "", **documented_examples()}
# Where objects of a kind are created; `{}` is the namespace.
PLACES = {
    "ConfigMap": "/api/v1/namespaces/{}/configmaps", "Secret": "/api/v1/namespaces/{}/secrets", "Service": "/api/v1/namespaces/{}/services",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts", "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles", "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles", "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "PriorityClass": "/apis/scheduling.k8s.io/v1/priorityclasses", "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies", "Ingress": "/apis/networking.k8s.io/v1/namespaces/{}/ingresses",
}
# What one machine has no use for, and the engine says so.
NOT_ON_ONE_MACHINE = {"spec.loadBalancerSourceRanges"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    engine = Engine(tmp_path_factory.mktemp("engine"))
    assert engine.api.send("POST", "/api/v1/namespaces", {"metadata": {"name": "deis"}})[0] == 201
    yield engine
    engine.stop()


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_api_server_accepts_every_object(engine, title, tmp_path):
    values, without = tmp_path / "values.yaml", tmp_path / "without.yaml"
    values.write_text(EXAMPLES[title] or "{}")
    without.write_text("secrets: {create: false}")
    found = objects(render(without, values))
    refused = {}
    for (kind, name), o in found.items():
        place = PLACES[kind].format(o["metadata"].get("namespace"))
        status, answer = engine.api.send("POST", place + "?dryRun=All&fieldValidation=Strict", o)
        if status != 201 and not {cause["field"] for cause in answer["details"]["causes"]} <= NOT_ON_ONE_MACHINE:
            refused[kind, name] = answer
    assert refused == {}
    assert len(found) > 15
