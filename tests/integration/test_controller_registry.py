"""Images and their registries: the port that an image exposes, pull secrets by where the images are. The registry is Debian's."""

import base64
import contextlib
import http.server
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from controller_under_test import (  # noqa: E402, F401
    BUILDER_KEY, admin, alice, app, bob, build, cluster, controller, postgres, said, start_controller)
from test_registry import answers, make_image  # noqa: E402
from workflow_testing import DEIS, WORKFLOW, free_port, run, wait_for  # noqa: E402

NO_PORT = "Expose a port or make the app non routable by changing the process type"
PRIVATE = "PORT needs to be set in the application config when using a private registry"


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """host:port of a registry that has shop:v1 (ports 53/udp and 8080/tcp) and shop:portless."""
    folder = tmp_path_factory.mktemp("registry")
    port, health = free_port(), free_port()
    env = dict(os.environ, REGISTRY_DIR=str(folder / "data"), REGISTRY_PORT=str(port), REGISTRY_HEALTH_PORT=str(health))
    process = subprocess.Popen([WORKFLOW, "registry"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: answers(health, "/readiness"), 10, "the registry is ready")
    for name, ports in (("v1", ["53/udp", "8080/tcp"]), ("portless", [])):
        make_image(folder / name, {"config": {"ExposedPorts": {p: {} for p in ports}}, "author": name})
        run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{folder / name}:v1", f"docker://127.0.0.1:{port}/shop:{name}")
    yield f"127.0.0.1:{port}"
    process.terminate()
    process.wait(timeout=30)


def container(cluster, app, type_="cmd"):  # noqa: F811
    return pod_spec(cluster, app, type_)["containers"][0]


def pod_spec(cluster, app, type_="cmd"):  # noqa: F811
    return cluster.engine.api.get(f"/apis/apps/v1/namespaces/{app}/deployments/{app}-{type_}")["spec"]["template"]["spec"]


def env(cluster, app, version):  # noqa: F811
    data = cluster.engine.api.get(f"/api/v1/namespaces/{app}/secrets/{app}-v{version}-env")["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def test_the_port_is_the_one_that_the_image_exposes(app, alice, registry, cluster):  # noqa: F811
    assert build(alice, app, f"{registry}/shop:v1", procfile={}).status_code == 201
    assert container(cluster, app)["ports"][0]["containerPort"] == 8080
    assert container(cluster, app)["readinessProbe"]["tcpSocket"]["port"] == 8080
    assert env(cluster, app, 2)["PORT"] == "8080"
    # What the app says wins, and when it says nothing any more the image's counts again.
    assert alice.post(f"/v2/apps/{app}/config/", {"values": {"PORT": "5000"}}).status_code == 201
    assert container(cluster, app)["ports"][0]["containerPort"] == 5000
    assert alice.post(f"/v2/apps/{app}/config/", {"values": {"PORT": None}}).status_code == 201
    assert container(cluster, app)["ports"][0]["containerPort"] == 8080
    assert alice.post(f"/v2/apps/{app}/scale/", {"cmd": 2}).status_code == 204


def test_an_image_that_exposes_none_needs_one_or_is_not_routable(app, alice, registry):  # noqa: F811
    assert said(build(alice, app, f"{registry}/shop:portless", procfile={})) == (400, f"{NO_PORT}")
    alice.post(f"/v2/apps/{app}/settings/", {"routable": False})
    assert build(alice, app, f"{registry}/shop:portless", procfile={}).status_code == 201


def test_why_the_port_cannot_be_read_is_told(app, alice, registry):  # noqa: F811
    missing = f"{registry}/shop:nowhere"
    assert said(build(alice, app, missing, procfile={})) == (400, f"image {missing} not found")
    for image, reason in (("127.0.0.1:9/shop:v1", ""), ("Not An Image", "is not the name of an image")):
        status, detail = said(build(alice, app, image, procfile={}))
        assert status == 400 and detail.startswith(f"{NO_PORT} (the image's port cannot be read: {image}"), detail
        assert reason in detail and "`deis config:set PORT=…` says it instead" in detail
    assert [r["failed"] for r in alice.get(f"/v2/apps/{app}/releases/").json()["results"]] == [True, True, True, False]


def test_names_that_the_platform_keeps_for_itself_are_refused(app, alice):  # noqa: F811
    for image in ("quay.io/deis/router:v2", "deis/controller"):
        kept = image.replace("quay.io/", "").split(":")[0]
        assert said(build(alice, app, image)) == (
            400, {"image": [f"Repository name {kept} is not allowed, as it is reserved by Deis"]})


class TokenRegistry(http.server.BaseHTTPRequestHandler):
    """A registry that wants a token, and sends the blob from somewhere else on the same host."""

    def do_GET(self):
        def reply(status, body=b"{}", **headers):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        self.server.seen.append((self.path, self.headers.get("Authorization")))
        here = f"http://127.0.0.1:{self.server.server_port}"
        if self.path.startswith("/token?"):
            return reply(200, b'{"token": "t0k3n"}')
        if self.path.startswith("/elsewhere"):
            return reply(200, json.dumps({"config": {"ExposedPorts": {"7070/tcp": {}}}}).encode())
        if self.headers.get("Authorization") != "Bearer t0k3n":
            realm = self.server.realm or f"{here}/token"
            return reply(401, WWW_Authenticate=f'Bearer realm="{realm}",service="reg",scope="repository:team/shop:pull"')
        if self.path == "/v2/team/shop/manifests/v1":
            platform = {"os": "linux", "architecture": "amd64"}
            return reply(200, json.dumps({"manifests": [{"digest": "sha256:a", "platform": {"os": "linux", "architecture": "s390x"}},
                                                        {"digest": "sha256:b", "platform": platform}]}).encode())
        if self.path == "/v2/team/shop/manifests/sha256:b":
            return reply(200, json.dumps({"config": {"digest": "sha256:c"}}).encode())
        if self.path == "/v2/team/shop/blobs/sha256:c":
            return reply(307, Location=f"{here}/elsewhere")
        return reply(404)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def token_registry(realm=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), TokenRegistry)
    server.seen, server.realm = [], realm
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def test_a_registry_that_gives_tokens_is_asked_for_one(app, alice, cluster):  # noqa: F811
    with token_registry() as server:
        assert build(alice, app, f"127.0.0.1:{server.server_port}/team/shop:v1", procfile={}).status_code == 201
        assert container(cluster, app)["ports"][0]["containerPort"] == 7070
        assert ("/token?scope=repository%3Ateam%2Fshop%3Apull&service=reg", None) in server.seen


def test_a_registry_cannot_make_the_controller_ask_others(app, alice):  # noqa: F811
    with token_registry() as victim, token_registry(realm=f"http://127.0.0.1:{victim.server_port}/token") as server:
        status, detail = said(build(alice, app, f"127.0.0.1:{server.server_port}/team/shop:v1", procfile={}))
        assert status == 400 and detail.startswith("Permission Denied attempting to pull image") and "the registry refuses access" in detail
        assert victim.seen == []


# --- where the operator says images come from


@pytest.fixture
def elsewhere(start_controller, cluster, request):  # noqa: F811
    """start(location, **secret): a user of a controller whose images come from there, and its new app."""
    def start(location, **secret):
        namespace = f"platform-{location}-{'with' if secret else 'without'}"
        api = cluster.engine.api
        api.send("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        if secret:
            api.send("POST", f"/api/v1/namespaces/{namespace}/secrets", {
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "registry-secret"},
                "data": {key: base64.b64encode(value.encode()).decode() for key, value in secret.items()}})
        started = start_controller(cluster.kubeconfig, DEIS_REGISTRY_LOCATION=location, WORKFLOW_NAMESPACE=namespace)
        user = started.register("user")
        name = user.create_app()
        request.addfinalizer(lambda: user.delete(f"/v2/apps/{name}/"))
        return user, name
    return start


def pull_secret(cluster, app):  # noqa: F811
    name = pod_spec(cluster, app)["imagePullSecrets"][0]["name"]
    secret = cluster.engine.api.get(f"/api/v1/namespaces/{app}/secrets/{name}")
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    return name, json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))


def test_off_cluster_images_are_pulled_with_the_operators_credentials(elsewhere, cluster, registry):  # noqa: F811
    user, name = elsewhere("off-cluster", hostname="registry.example.com", username="robot", password="hunter2")
    # The port is not read there, as ever.
    assert said(build(user, name, f"{registry}/shop:v1", procfile={})) == (400, f"{PRIVATE}")
    user.post(f"/v2/apps/{name}/settings/", {"routable": False})
    assert build(user, name, cluster.image, procfile={}).status_code == 201
    user.post(f"/v2/apps/{name}/settings/", {"routable": True})
    assert user.post(f"/v2/apps/{name}/config/", {"values": {"PORT": "5000"}}).status_code == 201
    auth = base64.b64encode(b"robot:hunter2").decode()
    secret, content = pull_secret(cluster, name)
    assert secret.startswith("private-registry-off-cluster-")
    assert content == {"auths": {"registry.example.com": {"auth": auth}}}
    # The app's own credentials come first.
    user.post(f"/v2/apps/{name}/config/", {"registry": {"username": "me", "password": "mine", "hostname": "quay.io"}})
    secret, content = pull_secret(cluster, name)
    assert not secret.startswith("private-registry-off-cluster") and list(content["auths"]) == ["quay.io"]


def test_off_cluster_without_credentials_names_what_the_operator_forgot(elsewhere, cluster):  # noqa: F811
    user, name = elsewhere("off-cluster")
    user.post(f"/v2/apps/{name}/config/", {"values": {"PORT": "5000"}})
    status, detail = said(build(user, name, cluster.image))
    assert status == 400 and "Secret registry-secret in namespace platform-off-cluster-without lacks username or password" in detail, detail


@pytest.mark.parametrize("location", ["ecr", "gcr"])
def test_credentials_that_others_keep_fresh_are_only_named(elsewhere, cluster, location):  # noqa: F811
    user, name = elsewhere(location)
    user.post(f"/v2/apps/{name}/config/", {"values": {"PORT": "5000"}})
    assert build(user, name, cluster.image, procfile={}).status_code == 201
    assert pod_spec(cluster, name)["imagePullSecrets"] == [{"name": f"private-registry-{location}"}]
    secrets = cluster.engine.api.get(f"/api/v1/namespaces/{name}/secrets")["items"]
    assert not any(s["metadata"]["name"].startswith("private-registry") for s in secrets)


def test_an_unknown_location_stops_the_start(postgres, cluster):  # noqa: F811
    settings = dict(os.environ, DATABASE_HOST=str(postgres.folder), DATABASE_USER="x", DATABASE_PASSWORD="x", BUILDER_KEY=BUILDER_KEY,
                    KUBECONFIG=str(cluster.kubeconfig), DEIS_REGISTRY_LOCATION="moon")
    done = subprocess.run([WORKFLOW, "controller"], env=settings, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    assert done.returncode == 1 and "setting=DEIS_REGISTRY_LOCATION" in done.stdout and "must be on-cluster, off-cluster, ecr or gcr" in done.stdout


def test_a_registry_of_the_app_needs_a_port_and_both_credentials(app, alice, cluster):  # noqa: F811
    path = f"/v2/apps/{app}/config/"
    assert said(alice.post(path, {"registry": {"username": "u"}})) == (
        400, "PORT needs to be set in the config when using a private registry")
    assert alice.post(path, {"values": {"PORT": "5000"}, "registry": {"username": "u"}}).status_code == 201
    status, detail = said(build(alice, app, cluster.image, procfile={}))
    assert status == 400 and "Registry auth requires a username and a password" in detail
    assert alice.post(path, {"registry": {"password": "p"}}).status_code == 201
    assert build(alice, app, cluster.image, procfile={}).status_code == 201
    name, content = pull_secret(cluster, app)
    assert name.startswith("private-registry-")
    assert content == {"auths": {"localhost": {"auth": base64.b64encode(b"u:p").decode()}}}


# --- a registry with a password, as others run it; what a node does with the secret is its own test


def address_of_this_machine():
    """Of an interface: registries on the loopback are spoken to without TLS."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing
        return probe.getsockname()[0]


class PrivateRegistry:
    """Docker's registry with one user (team, secret), which has team/shop:v1."""

    def __init__(self, folder, form):
        self.folder, self.address = folder, f"{'127.0.0.1' if form == 'http' else address_of_this_machine()}:{free_port()}"
        self.certificates, tls = folder / "certificates", ""
        self.certificates.mkdir()
        if form == "https":
            host = self.address.rpartition(":")[0]
            run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={host}", "-addext",
                f"subjectAltName=IP:{host}", "-keyout", folder / "key.pem", "-out", self.certificates / "ca.crt")
            tls = f"  tls: {{certificate: {self.certificates}/ca.crt, key: {folder}/key.pem}}\n"
        # bcrypt is the one form that this registry reads.
        hashed = run("perl", "-e", "print crypt('secret', '$2b$04$' . 'abcdefghijklmnopqrstuu')").stdout
        (folder / "htpasswd").write_text(f"team:{hashed}\n")
        (folder / "config.yml").write_text(
            f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\nhttp:\n  addr: {self.address}\n{tls}"
            f"auth: {{htpasswd: {{realm: team, path: {folder}/htpasswd}}}}\n")
        self.settings = {"SSL_CERT_FILE": str(self.certificates / "ca.crt")} if tls else {}
        self.trust = f"tls-verify={'true' if tls else 'false'}"
        self.log = open(folder / "log", "wb")
        self.process = subprocess.Popen(["docker-registry", "serve", folder / "config.yml"], stdout=self.log, stderr=self.log)

    def fill(self):
        host, _, port = self.address.rpartition(":")

        def listens():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            with socket.socket() as probe:
                return probe.connect_ex((host, int(port))) == 0
        wait_for(listens, 20, "the registry listens")
        make_image(self.folder / "shop", {"config": {"ExposedPorts": {"8080/tcp": {}}}})
        run("skopeo", "copy", f"--dest-{self.trust}", "--dest-cert-dir", self.certificates, "--dest-creds", "team:secret",
            f"oci:{self.folder}/shop:v1", f"docker://{self.address}/team/shop:v1")
        return self

    def pull(self, name, auth):
        """As a node does that has the content of a pull secret; true when the registry gives the image."""
        (self.folder / "auth.json").write_text(json.dumps(auth))
        done = run("skopeo", "copy", f"--src-{self.trust}", "--src-cert-dir", self.certificates, "--src-authfile", self.folder / "auth.json",
                   f"docker://{self.address}/team/shop:v1", f"oci:{self.folder / name}:v1", check=False)
        assert done.returncode == 0 or "unauthorized" in done.stdout or "authentication required" in done.stdout, done.stdout
        return done.returncode == 0

    def stop(self):
        self.process.kill()
        self.process.wait(timeout=30)
        self.log.close()


@pytest.fixture(params=["http", "https"])
def private_registry(request, tmp_path):
    if not shutil.which("docker-registry"):
        pytest.skip("docker-registry is not installed")
    started = PrivateRegistry(tmp_path, request.param)
    try:
        yield started.fill()
    finally:
        started.stop()


def test_an_image_behind_a_password_runs_as_its_refusal_says(private_registry, start_controller, cluster, tmp_path):  # noqa: F811
    started = start_controller(cluster.kubeconfig, **private_registry.settings)
    user = started.register("user")
    app, image = user.create_app(), f"{private_registry.address}/team/shop:v1"  # noqa: F811
    (tmp_path / "profile.json").write_text(json.dumps({"username": "user", "controller": started.url, "token": user.token}))

    def deis(*words):
        done = run(DEIS, *words, "-a", app, "-c", tmp_path / "profile.json", check=False)
        return done.returncode, done.stdout

    try:
        # The registry was reached, over TLS when it speaks that, and it is the password that is missing.
        status, refusal = deis("pull", image)
        assert status == 1 and f"Permission Denied attempting to pull image {image}" in refusal, refusal
        assert "`deis registry:set`" in refusal and "`deis config:set PORT=…`" in refusal
        status, refusal = deis("registry:set", "username=team", "password=secret")
        assert status == 1 and "PORT needs to be set in the config when using a private registry" in refusal
        assert deis("config:set", "PORT=8080")[0] == 0
        status, shown = deis("registry:set", "username=team", "password=secret")
        assert status == 0 and "team" in shown and "secret" not in shown, shown
        status, pulled = deis("pull", image)
        assert status == 0, pulled
        name, content = pull_secret(cluster, app)
        assert content == {"auths": {private_registry.address: {"auth": base64.b64encode(b"team:secret").decode()}}}
        assert container(cluster, app)["image"] == image
        assert private_registry.pull("with", content) and not private_registry.pull("without", {"auths": {}})
        # Another password is another secret, and the old one is in no pod's way.
        assert deis("registry:set", "password=guessed")[0] == 0
        other, content = pull_secret(cluster, app)
        assert other != name and not private_registry.pull("guessed", content)
    finally:
        user.delete(f"/v2/apps/{app}/")
