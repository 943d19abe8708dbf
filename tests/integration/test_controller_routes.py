"""Done means served: what a command changes is in effect at every router when it answers. A real router with its nginx, which is asked
what it has in effect; pods are pretended."""

import concurrent.futures
import contextlib
import http.server
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading

import pytest
import requests

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from controller_under_test import (  # noqa: E402, F401
    Api, Controller, admin, alice, app, build, cluster, deployed, postgres, said, start_controller)
from workflow_testing import DEIS, WORKFLOW, free_port, run, wait_for  # noqa: E402

DOMAIN = "apps.example.net"


class Router:
    def __init__(self, folder, cluster):  # noqa: F811
        self.folder, self.api, self.health = folder, cluster.engine.api, free_port()
        env = dict(os.environ, KUBECONFIG=str(cluster.kubeconfig), POD_NAMESPACE="deis", PLATFORM_DOMAIN=DOMAIN,
                   ROUTER_STATE_DIR=str(folder / "state"), ROUTER_STOP_DELAY="0s", ROUTER_HEALTH_PORT=str(self.health),
                   ROUTER_MODULE=str(pathlib.Path(WORKFLOW).parent / "ngx_http_router_module.so"))
        self.http, self.https = free_port(), free_port()
        for name, port in (("HTTP", self.http), ("HTTPS", self.https), ("BUILDER", free_port()), ("STATUS", free_port())):
            env[f"ROUTER_{name}_PORT"] = str(port)
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

    def answer(self, host):
        """Of nginx: status, and the first line of what it says."""
        answer = requests.get(f"http://127.0.0.1:{self.http}/", headers={"Host": host}, timeout=30, allow_redirects=False)
        return answer.status_code, "maintenance" if "aintenance" in answer.text else ""

    def certificate_of(self, host):
        """The name in the certificate that a client gets who asks for `host`."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.https), 30) as plain, context.wrap_socket(plain, server_hostname=host) as connection:
            shown = ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True))
        return run("openssl", "x509", "-noout", "-subject", "-nameopt", "multiline", input=shown).stdout.split("commonName")[-1].strip(" =\n")

    @contextlib.contextmanager
    def away(self):
        """The router's process cannot look, as on a machine whose processors are busy; nginx goes on."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

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


def versions(cluster, app):  # noqa: F811
    """What a router has to look at again after a change of the app."""
    listed = [cluster.engine.api.get(f"/api/v1/namespaces/{app}/{kind}")["items"] for kind in ("services", "secrets")]
    return {(item["kind"], item["metadata"]["name"]): item["metadata"]["resourceVersion"] for items in listed for item in items}


@pytest.fixture
def change(alice, app, cluster, router):  # noqa: F811
    """change(method, path, body): while its router is away, a command that changes routes is not done; it is when it answers."""
    def change(method, path, body=None, status=None):
        before = versions(cluster, app)
        with concurrent.futures.ThreadPoolExecutor(1) as other:
            with router.away():
                changing = other.submit(alice.call, method, path.format(app=app), body)
                wait_for(lambda: versions(cluster, app) != before or changing.done(), 30, "the cluster has the change")
                assert not changing.done(), changing.result().text
            answer = changing.result()
        assert answer.status_code == (status or {"POST": 201, "DELETE": 204}[method]) and "Workflow-Notice" not in answer.headers, answer.text
    return change


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def serving(alice, app, cluster, router):  # noqa: F811
    """An app with a pod that really answers: its address is that of a server of ours."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert alice.post(f"/v2/apps/{app}/config/", {"values": {"PORT": str(server.server_port)}}).status_code == 201
        assert build(alice, app, cluster.image).status_code == 201
        name = pods_of(cluster, app)[0]["metadata"]["name"]
        answer = cluster.engine.api.send("PATCH", f"/api/v1/namespaces/{app}/pods/{name}/status", {"status": {"podIP": "127.0.0.1"}},
                                         "application/merge-patch+json")
        assert answer[0] == 200, answer
        wait_for(lambda: router.answer(f"{app}.{DOMAIN}") == (200, ""), 30, "the app answers")
        yield app
        server.shutdown()


def test_settings_are_in_effect_when_their_commands_answer(change, serving, router):
    host = f"{serving}.{DOMAIN}"
    steps = [("POST", "settings", {"maintenance": True}, (503, "maintenance")), ("POST", "settings", {"maintenance": False}, (200, "")),
             ("POST", "whitelist", {"addresses": ["192.0.2.1"]}, (403, "")), ("DELETE", "whitelist", {"addresses": ["192.0.2.1"]}, (200, "")),
             ("POST", "tls", {"https_enforced": True}, (301, "")), ("POST", "tls", {"https_enforced": False}, (200, "")),
             ("POST", "settings", {"routable": False}, (404, "")), ("POST", "settings", {"routable": True}, (200, ""))]
    for method, what, body, expected in steps:
        change(method, "/v2/apps/{app}/" + what + "/", body)
        assert router.answer(host) == expected, (method, what, body)


def test_domains_and_paths_are_in_effect_when_their_commands_answer(change, app, router):  # noqa: F811
    other = f"www.{app}.example.com"
    for method, path, expected in (("POST", "/v2/apps/{app}/domains/", 503), ("DELETE", "/v2/apps/{app}/domains/" + other + "/", 404)):
        change(method, path, {"domain": other})
        assert router.answer(other)[0] == expected, method
    api = f"{app}/{app}-api"
    for method, path, known in (("POST", "/v2/apps/{app}/services/", True), ("DELETE", "/v2/apps/{app}/services/", False)):
        change(method, path, {"procfile_type": "api", "path_pattern": "/api"})
        assert (requests.get(f"http://127.0.0.1:{router.health}/v1/routes/{api}", timeout=30).json()["version"] > 0) == known, method


def test_certificates_are_in_effect_when_their_commands_answer(change, app, alice, router, tmp_path):  # noqa: F811
    host = f"www.{app}.example.com"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", f"/CN={host}",
        "-keyout", tmp_path / "key", "-out", tmp_path / "crt")
    pair = {"certificate": (tmp_path / "crt").read_text(), "key": (tmp_path / "key").read_text()}
    assert alice.post(f"/v2/apps/{app}/domains/", {"domain": host}).status_code == 201
    for last in ("/domain/" + host, "/"):  # detached, and removed while it is attached
        name = f"of-{app}{len(last)}"
        assert alice.post("/v2/certs/", {"name": name, **pair}).status_code == 201
        change("POST", f"/v2/certs/{name}/domain/", {"domain": host})
        assert router.certificate_of(host) == host
        change("DELETE", f"/v2/certs/{name}{last}")
        assert router.certificate_of(host) != host


def test_on_a_busy_machine_changes_are_in_effect_when_their_commands_answer(serving, alice, router):  # noqa: F811
    host = f"{serving}.{DOMAIN}"
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * os.cpu_count())]
    try:
        for _ in range(5):
            for what, method, body, expected in (
                    ("settings", alice.post, {"maintenance": True}, (503, "maintenance")), ("whitelist", alice.post, {"addresses": ["192.0.2.1"]}, (503, "maintenance")),
                    ("settings", alice.post, {"maintenance": False}, (403, "")), ("whitelist", alice.delete, {"addresses": ["192.0.2.1"]}, (200, ""))):
                assert method(f"/v2/apps/{serving}/{what}/", body).status_code in (201, 204)
                assert router.answer(host) == expected, (what, body)
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def test_a_router_that_does_not_get_there_is_named(app, alice, cluster, controller, postgres, router, tmp_path):  # noqa: F811
    impatient = Controller(postgres, cluster.kubeconfig, controller.database, PLATFORM_DOMAIN=DOMAIN, ROUTER_HEALTH_PORT=str(router.health),
                           ROUTER_DEADLINE="1s").start()
    sentence = r"The change is stored, but not served yet: router deis-router-1 .+\. It goes on in the background"
    try:
        user = Api(impatient.url, alice.token)
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        run(DEIS, "login", impatient.url, "--username=alice", "--password=secret-1", env=env)
        with router.away():
            answer = user.post(f"/v2/apps/{app}/settings/", {"maintenance": True})
            assert answer.status_code == 201 and answer.json()["maintenance"] is True
            assert re.fullmatch(sentence, answer.headers["Workflow-Notice"])
            told = run(DEIS, "maintenance:off", "-a", app, env=env)
        assert "done" in told.stdout and re.search("!    " + sentence + "$", told.stdout, re.M), told.stdout
        assert "the routers do not serve the change yet" in alice.get(f"/v2/apps/{app}/logs").text
        wait_for(lambda: router.answer(f"{app}.{DOMAIN}") == (503, ""), 30, "it goes on in the background")
    finally:
        impatient.stop()


def test_a_release_that_fails_leaves_the_routes_as_they_were(deployed, alice, cluster, router):  # noqa: F811
    before = router.routes(deployed)["addresses"]
    refused = build(alice, deployed, cluster.missing_image)
    assert refused.status_code == 400 and "not found" in refused.json()["detail"]
    assert "has a problem, too" not in refused.json()["detail"]
    assert router.routes(deployed)["addresses"] == before
