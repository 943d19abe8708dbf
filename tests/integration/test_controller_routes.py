"""Done means served: what a command changes is in effect at every router when it answers. A real router with its nginx, which is asked
what it has in effect; pods are pretended."""

import concurrent.futures
import os
import pathlib
import signal
import subprocess
import sys
import threading

import pytest
import requests

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from controller_under_test import (  # noqa: E402, F401
    admin, alice, app, build, cluster, deployed, postgres, said, start_controller)
from workflow_testing import WORKFLOW, free_port, wait_for  # noqa: E402

DOMAIN = "apps.example.net"


class Router:
    def __init__(self, folder, cluster):  # noqa: F811
        self.folder, self.api, self.health = folder, cluster.engine.api, free_port()
        env = dict(os.environ, KUBECONFIG=str(cluster.kubeconfig), POD_NAMESPACE="deis", PLATFORM_DOMAIN=DOMAIN,
                   ROUTER_STATE_DIR=str(folder / "state"), ROUTER_STOP_DELAY="0s", ROUTER_HEALTH_PORT=str(self.health),
                   ROUTER_MODULE=str(pathlib.Path(WORKFLOW).parent / "ngx_http_router_module.so"))
        for name in ("HTTP", "HTTPS", "BUILDER", "STATUS"):
            env[f"ROUTER_{name}_PORT"] = str(free_port())
        self.log = open(folder / "router.log", "ab")
        self.process = subprocess.Popen([WORKFLOW, "router"], env=env, stdout=self.log, stderr=self.log)

    def start(self):
        wait_for(self.ready, 30, "the router is ready")
        self.show()
        return self

    def ready(self):
        assert self.process.poll() is None, f"the router ended:\n{(self.folder / 'router.log').read_text()}"
        return self.answers("/readiness")

    def answers(self, path):
        try:
            return requests.get(f"http://127.0.0.1:{self.health}{path}", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def show(self):
        """The router's pod, as the cluster of a platform shows it."""
        self.api.send("POST", "/api/v1/namespaces", {"metadata": {"name": "deis"}})
        pod = {"metadata": {"name": "deis-router-1", "labels": {"app": "deis-router"}},
               "spec": {"nodeSelector": {"of": "nobody"}, "containers": [{"name": "deis-router", "image": "x"}]}}
        wait_for(lambda: self.api.send("POST", "/api/v1/namespaces/deis/pods", pod)[0] in (201, 409), 20, "the namespace takes pods")
        status = {"phase": "Running", "podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
        answer = self.api.send("PATCH", "/api/v1/namespaces/deis/pods/deis-router-1/status", {"status": status},
                               "application/merge-patch+json")
        assert answer[0] == 200, answer

    def routes(self, service):
        return requests.get(f"http://127.0.0.1:{self.health}/v1/routes/{service}/{service}", timeout=30).json()

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        self.signal(signal.SIGCONT)
        self.api.send("DELETE", "/api/v1/namespaces/deis/pods/deis-router-1?gracePeriodSeconds=0")
        self.process.terminate()
        self.process.wait(timeout=60)


@pytest.fixture(scope="module")
def router(tmp_path_factory, cluster):  # noqa: F811
    router = Router(tmp_path_factory.mktemp("router"), cluster)
    try:
        yield router.start()
    finally:
        router.stop()


@pytest.fixture(scope="module")
def controller(start_controller, cluster, router):  # noqa: F811
    return start_controller(cluster.kubeconfig, PLATFORM_DOMAIN=DOMAIN, ROUTER_HEALTH_PORT=str(router.health))


def addresses(cluster, app, **labels):  # noqa: F811
    """Of the pods that are not going: those that may get requests."""
    return sorted(f"{pod['status']['podIP']}:5000" for pod in pods_of(cluster, app)
                  if "podIP" in pod.get("status", {}) and "deletionTimestamp" not in pod["metadata"] and labels.items() <= pod["metadata"]["labels"].items())


def pods_of(cluster, app):  # noqa: F811
    return cluster.engine.api.get(f"/api/v1/namespaces/{app}/pods")["items"]


class Witness(threading.Thread):
    """Watches the app's pods: whoever is told to stop must not be in the router's routes at that moment."""

    def __init__(self, cluster, router, app):  # noqa: F811
        super().__init__(daemon=True)
        self.cluster, self.router, self.app = cluster, router, app
        self.over, self.stopped, self.served_while_stopping = threading.Event(), set(), []
        self.known = set(addresses(cluster, app))

    def run(self):
        while not self.over.is_set():
            there = set(addresses(self.cluster, self.app))
            for address in self.known - there - self.stopped:
                self.stopped.add(address)
                if address in self.router.routes(self.app)["addresses"]:
                    self.served_while_stopping.append(address)
            self.known |= there

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()
        assert not self.served_while_stopping


def test_a_first_deploy_is_done_when_the_router_serves_it(app, alice, cluster, router):  # noqa: F811
    answer = build(alice, app, cluster.image, sha="a" * 40)
    assert answer.status_code == 201, answer.text
    assert router.routes(app)["addresses"] == addresses(cluster, app, type="web") != []


@pytest.mark.parametrize("change", ["config", "rollback", "build", "restart", "down", "up"])
def test_no_pod_stops_while_the_router_leads_requests_to_it(deployed, alice, cluster, router, change):  # noqa: F811
    assert alice.post(f"/v2/apps/{deployed}/scale/", {"web": 3}).status_code == 204
    assert router.routes(deployed)["addresses"] == addresses(cluster, deployed, type="web")
    requests_ = {"config": ("config/", {"values": {"A": "1"}}), "rollback": ("releases/rollback/", {"version": 3}),
                 "build": ("builds/", {"image": cluster.image, "procfile": {"web": "other"}}),
                 "restart": ("pods/restart/", None), "down": ("scale/", {"web": 1}), "up": ("scale/", {"web": 4})}
    with Witness(cluster, router, deployed) as witness:
        answer = alice.post(f"/v2/apps/{deployed}/{requests_[change][0]}", requests_[change][1])
        assert answer.status_code in (200, 201, 204), answer.text
        serving = router.routes(deployed)["addresses"]
        expected = addresses(cluster, deployed, type="web", **{"router.deis.io/serving": "true"})
        assert serving == expected and len(serving) == {"down": 1, "up": 4}.get(change, 3)
        gone = {"down": 2, "up": 0}.get(change, 3)
        wait_for(lambda: len(witness.stopped) >= gone, 30, "the old pods stop")


def test_while_a_router_cannot_look_nothing_is_stopped(deployed, alice, cluster, router):  # noqa: F811
    """As on a machine whose processors are busy with something else, and for longer than any drain."""
    before = router.routes(deployed)["addresses"]
    router.signal(signal.SIGSTOP)
    with concurrent.futures.ThreadPoolExecutor(1) as other:
        deploying = other.submit(alice.post, f"/v2/apps/{deployed}/config/", {"values": {"B": "2"}})
        try:
            wait_for(lambda: len(addresses(cluster, deployed, type="web")) == 2, 30, "the new pod is there beside the old one")
            # Twice the drain that a fixed time would have given: what is asserted is that nothing happened in it.
            threading.Event().wait(4)
            assert not deploying.done()
            assert set(before) < set(addresses(cluster, deployed, type="web"))
        finally:
            router.signal(signal.SIGCONT)
        assert deploying.result().status_code == 201
    after = router.routes(deployed)["addresses"]
    assert len(after) == 1 and after != before


def test_a_deploy_that_its_controller_does_not_live_to_end_is_ended_by_the_next(deployed, alice, cluster, router, controller):  # noqa: F811
    before = router.routes(deployed)["addresses"]
    router.signal(signal.SIGSTOP)
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as other:
            lost = other.submit(alice.post, f"/v2/apps/{deployed}/config/", {"values": {"C": "3"}})
            wait_for(lambda: len(addresses(cluster, deployed, type="web")) == 2, 30, "the new pod is there beside the old one")
            controller.kill()
            assert isinstance(lost.exception(), requests.ConnectionError)
        controller.start()
        assert set(before) < set(addresses(cluster, deployed, type="web"))
    finally:
        router.signal(signal.SIGCONT)
    wait_for(lambda: controller.sql("select count(*) from jobs where state = 'running'") == "0", 60, "the deploy has ended")
    releases = alice.get(f"/v2/apps/{deployed}/releases/").json()["results"]
    assert not releases[0]["failed"] and releases[0]["summary"] == "alice added C"
    after = router.routes(deployed)["addresses"]
    assert len(after) == 1 and after != before
    wait_for(lambda: addresses(cluster, deployed, type="web") == after, 30, "the old pod stops")


def test_a_domain_answers_when_its_command_does(deployed, alice, router):  # noqa: F811
    for name in (f"www.{deployed}.example.com", "bücher.example"):
        assert alice.post(f"/v2/apps/{deployed}/domains/", {"domain": name}).status_code == 201
    hosts = router.routes(deployed)["hosts"]
    assert {f"{deployed}.{DOMAIN}", f"www.{deployed}.example.com", "xn--bcher-kva.example"} <= set(hosts)


def test_a_release_that_fails_leaves_the_routes_as_they_were(deployed, alice, cluster, router):  # noqa: F811
    before = router.routes(deployed)["addresses"]
    refused = build(alice, deployed, cluster.missing_image)
    assert refused.status_code == 400 and "not found" in refused.json()["detail"]
    assert "has a problem, too" not in refused.json()["detail"]
    assert router.routes(deployed)["addresses"] == before
