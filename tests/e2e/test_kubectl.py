"""An unmodified kubectl against the engine, with the whole platform on it."""

import os
import subprocess

from kubernetes_clients import kubectl
from workflow_testing import wait_for

CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: notes, namespace: default}
data: {colour: COLOUR}
"""


def test_get_pods_of_all_namespaces_shows_the_platform_and_the_apps(platform, app):
    table = platform.kubectl("get", "pods", "-A")
    assert table.splitlines()[0].split() == ["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    for name in ("deis-controller", "deis-database", "deis-builder", "deis-router", "deis-objectstore", app):
        assert name in table


def test_describe_tells_images_and_events(platform, app):
    described = platform.kubectl("describe", "pod", "-n", app)
    assert "Image:" in described and "Events:" in described and "Started" in described


def test_logs_of_a_component(platform):
    assert "component=controller" in platform.kubectl("logs", "-n", "deis", "deployment/deis-controller")


def test_apply_creates_changes_and_deletes(platform):
    for colour in ("red", "blue"):
        platform.kubectl("apply", "-f", "-", input=CONFIG.replace("COLOUR", colour))
        assert platform.kubectl("get", "configmap", "notes", "-o", "jsonpath={.data.colour}") == colour
    platform.kubectl("delete", "configmap", "notes")
    assert "notes" not in platform.kubectl("get", "configmaps")


def test_watch_shows_changes_as_they_happen(platform):
    env = dict(os.environ, KUBECONFIG=str(platform.state / "kubeconfig"))
    watching = subprocess.Popen([kubectl(), "get", "configmaps", "-w"], env=env, text=True, stdout=subprocess.PIPE)
    try:
        platform.kubectl("create", "configmap", "watched", "--from-literal=a=1")
        wait_for(lambda: "watched" in watching.stdout.readline(), 10, "the watch shows it")
    finally:
        watching.terminate()
        watching.wait(timeout=10)
        platform.kubectl("delete", "configmap", "watched", "--ignore-not-found")


def test_deleting_a_pod_brings_another(platform, app):
    before = {pod["metadata"]["name"] for pod in platform.pods(app)}
    platform.kubectl("delete", "pod", "-n", app, *before, timeout=90)

    def replaced():
        pods = platform.pods(app)
        ready = [p for p in pods if any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"]["conditions"])]
        return ready and before.isdisjoint({pod["metadata"]["name"] for pod in pods})

    wait_for(replaced, 20, "another pod is ready")
