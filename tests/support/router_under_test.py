"""A router with a real nginx, the engine's Kubernetes API, and pods as far as a router sees them."""

import base64
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest
import yaml
from workflow_testing import WORKFLOW, free_port, open_folder, run, wait_for

PATIENCE = 30  # seconds until a change is in effect on a machine that has much else to do


def own_address():
    """An address of this machine that is not loopback: Endpoints may not have those. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return probe.getsockname()[0]


ADDRESS = own_address()


class Api:
    """`workflow engine --api-only`."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.log = open(folder / "engine.log", "ab")
        self.start()

    def start(self):
        self.process = subprocess.Popen([WORKFLOW, "engine", "--api-only", "--state", self.folder / "engine", "--api-port", str(self.port)],
                                        stdout=self.log, stderr=self.log)
        self.kubeconfig = self.folder / "engine" / "kubeconfig"
        wait_for(self.kubeconfig.exists, 20, "the engine writes a kubeconfig")
        config = yaml.safe_load(self.kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.server, self.token = cluster["server"], user.get("token")
        self.context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        if "client-certificate-data" in user:
            for name in ("certificate", "key"):
                path = self.folder / f"client.{name}"
                path.write_bytes(base64.b64decode(user[f"client-{name}-data"]))
            self.context.load_cert_chain(self.folder / "client.certificate", self.folder / "client.key")
        wait_for(lambda: self.answers("/readyz"), 20, "the engine is ready")

    def answers(self, path):
        try:
            self.call("GET", path, text=True)
            return True
        except OSError:
            return False

    def call(self, method, path, body=None, kind="application/json", text=False):
        request = urllib.request.Request(self.server + path, method=method, data=None if body is None else json.dumps(body).encode(),
                                         headers={"Content-Type": kind})
        if self.token:
            request.add_header("Authorization", "Bearer " + self.token)
        with urllib.request.urlopen(request, context=self.context, timeout=10) as response:
            answer = response.read().decode()
            return answer if text else json.loads(answer)

    def put(self, path, body):
        """Creates or replaces the object at `path`."""
        try:
            self.call("DELETE", path)
        except urllib.error.HTTPError as error:
            assert error.code == 404, error.read()
        return self.call("POST", path.rsplit("/", 1)[0], body)

    def patch(self, path, body):
        return self.call("PATCH", path, body, "application/merge-patch+json")

    def stop(self):
        self.process.terminate()
        self.process.wait(20)

    # --- what apps consist of

    def namespace(self, name):
        with contextlib.suppress(urllib.error.HTTPError):
            self.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})

    def app(self, name, backends=(), namespace=None, **annotations):
        """A routable Service without selector, so that its EndpointSlices are ours."""
        namespace = namespace or name
        self.namespace(namespace)
        annotations = {"router.deis.io/" + key.replace("__", "."): value for key, value in ({"domains": name} | annotations).items()}
        self.put(f"/api/v1/namespaces/{namespace}/services/{name}", {
            "metadata": {"name": name, "labels": {"app": name, "router.deis.io/routable": "true"}, "annotations": annotations},
            "spec": {"ports": [{"name": "http", "port": 80, "targetPort": "http"}]}})
        self.endpoints(name, backends, namespace)

    def annotate(self, name, namespace=None, **annotations):
        self.patch(f"/api/v1/namespaces/{namespace or name}/services/{name}",
                   {"metadata": {"annotations": {"router.deis.io/" + key.replace("__", "."): value for key, value in annotations.items()}}})

    def endpoints(self, name, backends, namespace=None, port="http"):
        """Puts EndpointSlices behind a Service, as the cluster's own controller would: all pods are on one address, and a slice has one port."""
        path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace or name}/endpointslices"
        wanted = {f"{name}-{backend.port}": backend.port for backend in backends}
        there = {item["metadata"]["name"] for item in self.call("GET", path)["items"]
                 if item["metadata"].get("labels", {}).get("kubernetes.io/service-name") == name}
        for slice_name in wanted.keys() - there:
            self.call("POST", path, {
                "metadata": {"name": slice_name, "labels": {"kubernetes.io/service-name": name}}, "addressType": "IPv4",
                "endpoints": [{"addresses": [ADDRESS], "conditions": {"ready": True}}], "ports": [{"name": port, "port": wanted[slice_name], "protocol": "TCP"}]})
        for slice_name in there - wanted.keys():
            self.call("DELETE", path + "/" + slice_name)

    def router_annotations(self, **annotations):
        self.put("/apis/apps/v1/namespaces/deis/deployments/deis-router", {
            "metadata": {"name": "deis-router",
                         "annotations": {"router.deis.io/nginx." + key.replace("__", "."): value for key, value in annotations.items()}},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "deis-router"}},
                     "template": {"metadata": {"labels": {"app": "deis-router"}}, "spec": {"containers": [{"name": "x", "image": "x"}]}}}})

    def secret(self, namespace, name, values, kind="kubernetes.io/tls"):
        self.namespace(namespace)
        self.put(f"/api/v1/namespaces/{namespace}/secrets/{name}",
                 {"metadata": {"name": name}, "type": kind, "data": {k: base64.b64encode(v.encode()).decode() for k, v in values.items()}})


class Backend:
    """A pod, as far as the router sees it: answers with its name and the request."""

    def __init__(self, name, delay=0.0):
        backend = self
        self.name, self.delay, self.requests, self.connections = name, delay, 0, []
        self.pace = None  # an event: the next server-sent one may go out
        self.under_way, self.idle = 0, threading.Condition()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                backend.connections.append(self.connection)

            def answer(self):
                with backend.idle:
                    backend.requests += 1
                    backend.under_way += 1
                try:
                    self.answer_one()
                finally:
                    with backend.idle:
                        backend.under_way -= 1
                        backend.idle.notify_all()

            def answer_one(self):
                if self.headers.get("Upgrade") == "websocket":
                    return self.echo()
                if self.path.startswith("/events/"):
                    return self.stream(int(self.path.rpartition("/")[2]))
                body = self.body()
                time.sleep(backend.delay if not self.path.startswith("/slow") else 1.5)
                text = json.dumps({"pod": backend.name, "path": self.path, "method": self.command, "size": len(body),
                                   "headers": {k.lower(): v for k, v in self.headers.items()}}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                if self.path.startswith("/header-of-"):
                    self.send_header("X-Long", "x" * int(self.path[11:]))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(text)

            def body(self):
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def stream(self, count):
                """So many server-sent events, each after the client has got the one before, for all that we can tell."""
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for number in range(count):
                    data = f"data: {backend.name} {number}\n\n".encode()
                    self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                    self.wfile.flush()
                    if backend.pace:
                        backend.pace.wait(30)
                        backend.pace.clear()
                    else:
                        time.sleep(0.05)
                self.wfile.write(b"0\r\n\r\n")

            def echo(self):
                self.connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                with contextlib.suppress(OSError):
                    while data := self.connection.recv(4096):
                        self.connection.sendall(data)
                self.close_connection = True

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = answer

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

        self.server = Server((ADDRESS, 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def drain(self):
        """Ends as a pod does: once what is under way is done. It is asked nothing new any more."""
        with self.idle:
            self.idle.wait_for(lambda: self.under_way == 0, 60)
        self.stop()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Router:
    def __init__(self, folder, api):
        self.folder, self.api = folder, api
        self.http, self.https, self.builder, self.status, self.health = (free_port() for _ in range(5))
        self.logfile = folder / "router.log"
        self.process, self.prefix = None, []

    def start(self, **env):
        settings = dict(os.environ, KUBECONFIG=str(self.api.kubeconfig), POD_NAMESPACE="deis", PLATFORM_DOMAIN="example.com",
                        ROUTER_STATE_DIR=str(self.folder / "router"), ROUTER_HTTP_PORT=str(self.http), ROUTER_HTTPS_PORT=str(self.https),
                        ROUTER_BUILDER_PORT=str(self.builder), ROUTER_STATUS_PORT=str(self.status), ROUTER_HEALTH_PORT=str(self.health),
                        ROUTER_MODULE=os.environ.get("ROUTER_TEST_MODULE", str(pathlib.Path(WORKFLOW).parent / "ngx_http_router_module.so")),
                        ROUTER_STOP_DELAY="0s", **env)
        with open(self.logfile, "ab") as log:
            self.process = subprocess.Popen([*self.prefix, WORKFLOW, "router"], env=settings, stdout=log, stderr=log)
        return self

    def ready(self):
        wait_for(lambda: self.own("/readiness") == 200, 60, "the router is ready")
        return self

    def own(self, path):
        return self.plain(self.health, path)

    def effect(self, name, wait=PATIENCE, **conditions):
        """Waits until all of them hold for an app's requests; what is in effect then."""
        query = "&".join(f"{key}={value}" for key, value in conditions.items())
        with urllib.request.urlopen(f"http://127.0.0.1:{self.health}/v1/routes/{name}/{name}?wait={wait}&{query}", timeout=wait + 10) as response:
            return json.load(response)

    def plain(self, port, path):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return None

    def log(self):
        return self.logfile.read_text()

    def get(self, host, path="/", method="GET", headers=None, body=None, tls=False, sni=None, source=None, target="127.0.0.1"):
        """(status, headers, body, certificate)"""
        sock = socket.create_connection((target, self.https if tls else self.http), 10, source_address=source)
        certificate = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            sock = context.wrap_socket(sock, server_hostname=sni or host)
            certificate = sock.getpeercert(binary_form=True)
        connection = http.client.HTTPConnection(host)
        connection.sock = sock
        try:
            connection.request(method, path, body=body, headers={"Host": host, **(headers or {})})
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read().decode(), certificate
        finally:
            connection.close()

    def seen(self, host, path="/", **more):
        """What the pod saw of a request."""
        status, _, body, _ = self.get(host, path, **more)
        assert status == 200, (status, body)
        return json.loads(body)

    def wait_status(self, host, status, limit=30, **more):
        wait_for(lambda: self.get(host, **more)[0] == status, limit, f"{host} is answered with {status}")

    def master(self):
        """nginx's process; None in the moment in which it writes its number, or has not yet."""
        number = self.folder / "router" / "nginx.pid"
        text = number.read_text() if number.exists() else ""
        return int(text) if text else None

    def workers(self):
        """nginx's processes that answer requests."""
        master = self.master()
        return [int(pid) for pid in (pathlib.Path("/proc") / str(master) / "task" / str(master) / "children").read_text().split()]

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(30) == 0, self.log()[-3000:]
        for sign in ("AddressSanitizer", "runtime error: "):
            assert sign not in self.log(), self.log()[self.log().index(sign) - 200:][:5000]


class Until:
    """The threads of a kind of client: they go on until the block ends, which is when `over` is set."""

    def __init__(self, threads):
        self.over, self.threads = threading.Event(), threads

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


def make_pair(folder, name, kind="rsa"):
    """(certificate, key) as PEM, for `name`."""
    algorithm = ["-newkey", "rsa:2048"] if kind == "rsa" else ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    run("openssl", "req", "-x509", "-nodes", "-days", "30", *algorithm, "-subj", f"/CN={name}", "-keyout", folder / "k.pem", "-out", folder / "c.pem")
    return (folder / "c.pem").read_text(), (folder / "k.pem").read_text()


def der(pem):
    return ssl.PEM_cert_to_DER_cert(pem)


# --- Fixtures: one router for the tests of a file that imports them, and pods for each test ---


@pytest.fixture(scope="module")
def folder():
    folder = open_folder("workflow-router-")  # as root, nginx's workers are somebody else
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def api(folder):
    api = Api(folder)
    api.namespace("deis")
    yield api
    api.stop()


@pytest.fixture(scope="module")
def router(folder, api):
    router = Router(folder, api).start().ready()
    yield router
    router.stop()


@pytest.fixture
def backend():
    made = []

    def make(name="pod", **more):
        made.append(Backend(name, **more))
        return made[-1]

    yield make
    for one in made:
        one.stop()
