"""No request fails: deploys, scales, rollbacks, new certificates, domains and annotations by chance, while clients that never try anything twice go on.

ROUTER_CHURN_SEED (1), ROUTER_CHURN_CHANGES (40) and ROUTER_CHURN_PAUSE (0.02, seconds between the requests of one of the eight clients)
make it another or a longer round.
"""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import random
import socket
import ssl
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from router_under_test import ADDRESS, Api, Backend, Router, Until, make_pair  # noqa: E402

SEED = int(os.environ.get("ROUTER_CHURN_SEED", 1))
CHANGES = int(os.environ.get("ROUTER_CHURN_CHANGES", 40))
PAUSE = float(os.environ.get("ROUTER_CHURN_PAUSE", 0.02))
APPS = [f"churn-{number}" for number in range(4)]


class Platform:
    """Changes apps as the platform does: the next step when the one before is in effect."""

    def __init__(self, folder, api, router, chance):
        self.folder, self.api, self.router, self.chance = folder, api, router, chance
        self.pods, self.all, self.number = {}, [], 0
        self.domains = {name: [name, f"www.{name}.org"] for name in APPS}
        for name in APPS:
            api.app(name, [], domains=",".join(self.domains[name]), certificates=f"www.{name}.org:own")
            self.new_certificate(name)
            self.deploy(name)

    def pod(self, name):
        self.number += 1
        self.all.append(Backend(f"{name}/{self.number}"))
        return self.all[-1]

    def wait(self, name, **conditions):
        return self.router.effect(name, wait=120, **conditions)

    def become(self, name, pods):
        """Other pods: first the new ones beside the old ones, then without them."""
        old = self.pods.get(name, [])
        address = lambda pod: f"{ADDRESS}:{pod.port}"  # noqa: E731
        self.api.endpoints(name, set(old) | set(pods))
        self.wait(name, serves=",".join(map(address, pods)))
        self.api.endpoints(name, pods)
        leaving = [pod for pod in old if pod not in pods]
        if leaving:
            self.wait(name, **{"not": ",".join(map(address, leaving))})
        self.pods[name] = pods
        for pod in leaving:
            threading.Timer(2.0, pod.drain).start()  # a pod serves for two seconds after it left, and then ends what is under way

    def deploy(self, name):
        self.become(name, [self.pod(name) for _ in range(max(len(self.pods.get(name, [])), 1))])

    def scale(self, name):
        now = self.pods[name]
        wanted = self.chance.choice([n for n in (1, 2, 3) if n != len(now)])
        self.become(name, now[:wanted] + [self.pod(name) for _ in range(wanted - len(now))])

    def new_certificate(self, name):
        certificate, key = make_pair(self.folder, f"www.{name}.org", self.chance.choice(["rsa", "ec"]))
        secret = {"tls.crt": base64.b64encode(certificate.encode()).decode(), "tls.key": base64.b64encode(key.encode()).decode()}
        if name not in self.pods:
            return self.api.secret(name, "own-cert", {"tls.crt": certificate, "tls.key": key})
        changed = self.api.patch(f"/api/v1/namespaces/{name}/secrets/own-cert", {"data": secret})
        return self.wait(name, certificate=f"own-cert@{changed['metadata']['resourceVersion']}")

    def change_domains(self, name):
        domains = self.domains[name]
        if len(domains) > 2 and self.chance.random() < 0.5:
            domains.pop()
        else:
            domains.append(f"d{self.chance.randrange(10_000)}.org")
        self.annotate(name, domains=",".join(domains))

    def change_annotation(self, name):
        key, values = self.chance.choice([("connectTimeout", ["5s", "30s"]), ("nginx__sessionAffinity", ["true", "false"]), ("nginx__bodySize", ["2m", "8m"]),
                                          ("nginx__slowStart", ["2s", "0s", "junk"]), ("nginx__rateLimit", ["100000", None])])
        self.annotate(name, **{key: self.chance.choice(values)})

    def annotate(self, name, **annotations):
        self.api.annotate(name, **annotations)
        version = self.api.call("GET", f"/api/v1/namespaces/{name}/services/{name}")["metadata"]["resourceVersion"]
        self.wait(name, version=version)

    def change_something(self):
        name = self.chance.choice(APPS)
        what = self.chance.choice([self.deploy, self.deploy, self.scale, self.scale, self.new_certificate, self.change_domains, self.change_annotation])
        what(name)
        return f"{what.__name__} {name}"


class Clients(Until):
    """Who never try anything twice. What fails is kept, with the change that was under way."""

    def __init__(self, router):
        self.router, self.lock = router, threading.Lock()
        self.counts, self.failures, self.change = {}, [], "none"
        kinds = [self.get, self.get, self.post, self.post, self.keep, self.tls, self.events, self.websocket]
        super().__init__([threading.Thread(target=self.loop, args=(kind, random.Random(SEED * 100 + number))) for number, kind in enumerate(kinds)])

    def loop(self, kind, chance):
        while not self.over.is_set():
            try:
                kind(chance)
                with self.lock:
                    self.counts[kind.__name__] = self.counts.get(kind.__name__, 0) + 1
            except Exception as error:  # noqa: BLE001: whatever it is, a client saw it
                with self.lock:
                    self.failures.append(f"{kind.__name__} during {self.change}: {error!r}")
            time.sleep(PAUSE)

    def check(self, response, name, size=0):
        body = response.read()
        assert response.status == 200, (response.status, body[:200])
        seen = json.loads(body)
        assert seen["pod"].startswith(name + "/") and seen["size"] == size, seen

    def connect(self, tls=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.router.http, timeout=60)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", self.router.https), 60), server_hostname=tls)
        return contextlib.closing(connection)

    def get(self, chance):
        name = chance.choice(APPS)
        with self.connect() as connection:
            connection.request("GET", "/", headers={"Host": f"{name}.example.com"})
            self.check(connection.getresponse(), name)

    def post(self, chance):
        name, size = chance.choice(APPS), chance.choice([0, 10, 5000, 100_000, 700_000])
        with self.connect() as connection:
            if chance.random() < 0.5:
                connection.request("POST", "/", body=b"x" * size, headers={"Host": f"{name}.example.com"})
            else:
                connection.request("POST", "/", body=iter([b"x" * size] if size else []), encode_chunked=True,
                                   headers={"Host": f"{name}.example.com", "Transfer-Encoding": "chunked"})
            self.check(connection.getresponse(), name, size)

    def keep(self, chance):
        """One connection for many requests."""
        with self.connect() as connection:
            for _ in range(200):
                if self.over.is_set():
                    return
                name = chance.choice(APPS)
                connection.request(chance.choice(["GET", "PUT"]), "/", headers={"Host": f"{name}.example.com"})
                self.check(connection.getresponse(), name)
                time.sleep(PAUSE)

    def tls(self, chance):
        name = chance.choice(APPS)
        with self.connect(f"www.{name}.org") as connection:
            connection.request("GET", "/", headers={"Host": f"www.{name}.org"})
            self.check(connection.getresponse(), name)

    def events(self, chance):
        name = chance.choice(APPS)
        with self.connect() as connection:
            connection.request("GET", "/events/20", headers={"Host": f"{name}.example.com"})
            response = connection.getresponse()
            text = response.read().decode()
            assert response.status == 200 and text.count("data: ") == 20, (response.status, text)

    def websocket(self, chance):
        name = chance.choice(APPS)
        with socket.create_connection(("127.0.0.1", self.router.http), 60) as sock:
            sock.sendall(f"GET /ws HTTP/1.1\r\nHost: {name}.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
            got = b""
            while b"\r\n\r\n" not in got:
                got += self.some(sock)
            assert b" 101 " in got, got
            for number in range(20):
                message = f"{number:8}".encode()
                sock.sendall(message)
                back = b""
                while len(back) < 8:
                    back += self.some(sock)
                assert back == message
                time.sleep(0.05)

    @staticmethod
    def some(sock):
        data = sock.recv(4096)
        assert data, "closed"
        return data


def test_no_request_fails_whatever_changes(open_path):
    chance = random.Random(SEED)
    api = Api(open_path)
    api.namespace("deis")
    router = Router(open_path, api).start().ready()
    platform = Platform(open_path, api, router, chance)
    try:
        with Clients(router) as clients:
            for _ in range(CHANGES):
                clients.change = platform.change_something()
        assert clients.failures == [], f"{len(clients.failures)} of {clients.counts}: " + "\n".join(clients.failures[:5])
        assert all(clients.counts.get(kind, 0) > 0 for kind in ("get", "post", "keep", "tls", "events", "websocket")), clients.counts
        print(f"seed {SEED}: {CHANGES} changes, {clients.counts}")
    finally:
        router.stop()
        api.stop()
        for pod in platform.all:
            with contextlib.suppress(OSError):
                pod.stop()
