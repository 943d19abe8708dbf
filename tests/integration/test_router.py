"""The router with a real nginx and the engine's Kubernetes API."""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import faults  # noqa: E402
from router_under_test import ADDRESS, Api, Router, Until, api, backend, der, folder, make_pair, router  # noqa: E402, F401
from workflow_testing import wait_for  # noqa: E402


@pytest.fixture
def own_router(open_path):
    """Starts routers for one test alone."""
    made = []

    def make(api):
        made.append(Router(open_path, api))
        return made[-1].start()

    yield make
    for one in made:
        one.stop()


def test_a_request_reaches_its_app_and_nobody_else(router, api, backend):
    api.app("foo", [backend("foo-1")])
    router.wait_status("foo.example.com", 200)
    seen = router.seen("FOO.Example.com:80", "/a%20b?c=%2F", headers={"X-Forwarded-For": "9.9.9.9", "X-Forwarded-Proto": "https", "X-Correlation-Id": "abc"})
    assert seen["pod"] == "foo-1" and seen["path"] == "/a%20b?c=%2F"
    headers = seen["headers"]
    assert headers["host"] == "foo.example.com"
    assert headers["x-forwarded-for"] == "127.0.0.1" and headers["x-forwarded-proto"] == "http" and headers["x-forwarded-port"] == "80"
    assert len(headers["x-request-id"]) == 32
    assert headers["x-correlation-id"] == "abc," + headers["x-request-id"]
    assert router.get("other.example.com")[0] == 404
    assert router.get("foo")[0] == 404
    assert router.get("other.example.com", "/healthz")[0] == 200
    assert router.seen("foo.example.com", "/healthz")["path"] == "/healthz"
    assert router.plain(router.status, "/healthz") == 200
    assert len(router.get("foo.example.com", "/header-of-17000")[1]["x-long"]) == 17000
    status, _, body, _ = router.get("foo.example.com", "/header-of-70000")
    assert status == 502 and "The application's answer could not be used" in body
    wait_for(lambda: ' - foo - 127.0.0.1 - - - 200 - "GET /a%20b?c=%2F HTTP/1.1" - ' in router.log(), 30, "the access log has the request")


def test_an_app_without_pods_is_unavailable_until_it_has_some(router, api, backend):
    pod = backend()
    api.app("scaled", [pod])
    router.wait_status("scaled.example.com", 200)
    api.endpoints("scaled", [])
    router.wait_status("scaled.example.com", 503)
    api.endpoints("scaled", [pod])
    router.wait_status("scaled.example.com", 200)
    api.patch("/api/v1/namespaces/scaled/services/scaled", {"metadata": {"labels": {"router.deis.io/routable": "false"}}})
    router.wait_status("scaled.example.com", 404)


def test_every_pod_gets_its_share(router, api, backend):
    pods = [backend(f"even-{i}") for i in range(3)]
    api.app("even", pods)
    router.wait_status("even.example.com", 200)
    before = [pod.requests for pod in pods]
    for _ in range(30):
        router.get("even.example.com")
    shares = [pod.requests - start for pod, start in zip(pods, before)]
    assert sum(shares) == 30 and min(shares) >= 8, shares


def test_a_pod_that_refuses_connections_costs_no_request_of_any_method(router, api, backend):
    gone, there = backend("gone"), backend("there")
    api.app("half", [gone, there])
    router.wait_status("half.example.com", 200)
    gone.stop()
    for method in ("GET", "POST", "PUT", "DELETE") * 5:
        assert router.seen("half.example.com", method=method, body=b"x" * 100 if method != "GET" else None)["pod"] == "there"


def test_maintenance_whitelist_and_enforcement(router, api, backend):
    api.app("rules", [backend()])
    router.wait_status("rules.example.com", 200)
    api.annotate("rules", maintenance="True")
    router.wait_status("rules.example.com", 503)
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
        status, headers, _, _ = router.get("rules.example.com", "/x.gif", method=method)
        assert status == 503 and headers["content-type"] == "text/html" and headers["retry-after"] == "60"
    api.annotate("rules", maintenance="False", whitelist="10.99.0.0/16")
    router.wait_status("rules.example.com", 403)
    api.annotate("rules", whitelist="10.99.0.0/16,127.0.0.0/8,junk")
    router.wait_status("rules.example.com", 200)
    api.annotate("rules", whitelist="junk")
    router.wait_status("rules.example.com", 403)
    assert router.log().count("has an item that is no address and no range: junk") == 1
    assert "service=rules/rules key=router.deis.io/whitelist" in router.log()
    api.annotate("rules", whitelist=None, ssl__enforce="True")
    router.wait_status("rules.example.com", 301)
    status, headers, _, _ = router.get("rules.example.com:8080", "/a?b=c", method="POST")
    assert (status, headers["location"]) == (301, "https://rules.example.com/a?b=c")


def test_nobody_can_pretend_an_address(router, api, backend):
    api.app("guarded", [backend()], whitelist="192.0.2.7")
    router.wait_status("guarded.example.com", 403)
    # A pod asks from its own address, whatever range that is in.
    for source in (("127.0.0.1", 0), (ADDRESS, 0)):
        for header in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Forwarded-Proto"):
            assert router.get("guarded.example.com", headers={header: "192.0.2.7"}, target=source[0], source=source)[0] == 403
    api.router_annotations(proxyRealIpCidrs=f"{ADDRESS}/32")
    wait_for(lambda: router.get("guarded.example.com", headers={"X-Forwarded-For": "192.0.2.7"}, target=ADDRESS, source=(ADDRESS, 0))[0] == 200, 5,
             "whom the operator trusts may state an address")
    assert router.get("guarded.example.com", headers={"X-Forwarded-For": "192.0.2.7"})[0] == 403
    api.router_annotations()
    wait_for(lambda: router.get("guarded.example.com", headers={"X-Forwarded-For": "192.0.2.7"}, target=ADDRESS, source=(ADDRESS, 0))[0] == 403, 5,
             "nobody is trusted any more")


def test_odd_header_names_are_an_apps_choice(router, api, backend):
    api.app("odd", [backend()])
    router.wait_status("odd.example.com", 200)
    odd = {"my_key": "1", "my.key": "2", "x_forwarded_for": "192.0.2.7", "X.Forwarded.Proto": "https", "content_length": "5", "X-Plain": "3"}
    headers = router.seen("odd.example.com", headers=odd)["headers"]
    assert headers["x-plain"] == "3" and not {"my_key", "my.key", "x_forwarded_for", "x.forwarded.proto", "content_length"} & set(headers)
    api.annotate("odd", nginx__oddHeaderNames="true")
    wait_for(lambda: "my_key" in router.seen("odd.example.com", headers=odd)["headers"], 30, "odd names are passed on")
    headers = router.seen("odd.example.com", headers=odd)["headers"]
    assert (headers["my_key"], headers["my.key"], headers["x-forwarded-for"]) == ("1", "2", "127.0.0.1")
    assert not {"x_forwarded_for", "x.forwarded.proto", "content_length"} & set(headers), "they would pass for the router's own"


def test_a_client_stays_with_its_pod(router, api, backend):
    pods = [backend(f"sticky-{i}") for i in range(3)]
    api.app("sticky", pods, nginx__sessionAffinity="true")
    router.wait_status("sticky.example.com", 200)
    _, headers, body, _ = router.get("sticky.example.com")
    cookie, first = headers["set-cookie"].split(";")[0], json.loads(body)["pod"]
    assert cookie.startswith("router-affinity=") and "HttpOnly" in headers["set-cookie"]
    assert {router.seen("sticky.example.com", headers={"Cookie": f"a=b; {cookie}"})["pod"] for _ in range(10)} == {first}
    api.endpoints("sticky", [pod for pod in pods if pod.name != first])
    wait_for(lambda: router.seen("sticky.example.com", headers={"Cookie": cookie})["pod"] != first, 30, "its pod went")
    assert "set-cookie" in router.get("sticky.example.com", headers={"Cookie": cookie})[1]


def test_a_long_body_is_passed_on_as_it_comes(router, api, backend):
    api.router_annotations(bodySize="0")
    with socket.create_server((ADDRESS, 0)) as server:
        server.settimeout(10)

        class Pod:
            port = server.getsockname()[1]

        api.app("upload", [Pod])
        wait_for(lambda: router.get("nobody.example.com")[0] == 404, 30, "the router is there")
        client = None

        def begun():
            nonlocal client
            client = socket.create_connection(("127.0.0.1", router.http), 10)
            client.sendall(b"POST / HTTP/1.1\r\nHost: upload.example.com\r\nContent-Length: 200000\r\n\r\n" + b"x" * 1000)
            server.settimeout(1)
            with contextlib.suppress(TimeoutError):
                return server.accept()[0]
            client.close()

        pod = wait_for(begun, 30, "the pod is asked before the body has ended")
        pod.settimeout(10)
        got = b""
        while b"x" * 1000 not in got:
            got += pod.recv(65536)
        client.sendall(b"x" * 199000)
        while got.count(b"x") < 200000:
            got += pod.recv(65536)
        pod.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        answer = b""
        while b"ok" not in answer[-2:]:
            answer += client.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200")
    api.router_annotations()


def test_an_older_service_keeps_its_name(router, api, backend):
    api.app("victim", [backend("victim-1")])
    router.wait_status("victim.example.com", 200)
    time.sleep(1.1)  # creation times have seconds
    api.app("aaa", [backend("aaa-1")], domains="aaa,victim.example.com")
    router.wait_status("aaa.example.com", 200)
    assert router.seen("victim.example.com")["pod"] == "victim-1"
    assert "victim.example.com belongs to victim/victim, which is older" in router.log()

    def events():
        return [event["message"] for event in api.call("GET", "/api/v1/namespaces/aaa/events")["items"]
                if event["involvedObject"]["kind"] == "Service" and event["involvedObject"]["name"] == "aaa"]

    wait_for(lambda: events() == ["router.deis.io/domains victim.example.com belongs to victim/victim, which is older"], 30, "the loser is told on its object")


def test_paths_of_an_app_can_belong_to_another_service(router, api, backend):
    api.app("main", [backend("main-1")])
    api.app("main-hooks", [backend("hooks-1")], namespace="main", proxyDomain="main", proxyLocations=r"/hooks,~ ^/re/\d+$,/x { return 200; }")
    wait_for(lambda: router.get("main.example.com", "/hooks/a")[0] == 200 and router.seen("main.example.com", "/hooks/a")["pod"] == "hooks-1", 30, "the path is plugged")
    assert router.seen("main.example.com", "/re/12")["pod"] == "hooks-1"
    assert router.seen("main.example.com", "/re/x")["pod"] == "main-1"
    assert router.seen("main.example.com", "/x")["pod"] == "main-1"
    api.endpoints("main-hooks", [], "main")
    wait_for(lambda: router.get("main.example.com", "/hooks")[0] == 503, 30, "the path is unavailable")
    assert router.seen("main.example.com")["pod"] == "main-1"


def test_certificates_of_the_platform_and_of_domains(router, api, backend, folder):
    api.app("tls", [backend("tls-1")], domains="tls,www.tls.org,*.tls.org,bare.tls.org", certificates="www.tls.org:www,*.tls.org:wild")
    router.wait_status("www.tls.org", 200)
    status, _, _, _ = router.get("tls.example.com", tls=True)
    assert status == 404, "no certificate, no HTTPS"
    platform, www, wild = (make_pair(folder, name, kind) for name, kind in (("*.example.com", "rsa"), ("www.tls.org", "ec"), ("*.tls.org", "rsa")))
    api.secret("deis", "deis-router-platform-cert", {"tls.crt": platform[0], "tls.key": platform[1]}, kind="Opaque")
    api.secret("tls", "www-cert", {"tls.crt": www[0], "tls.key": www[1]})
    api.secret("tls", "wild-cert", {"tls.crt": wild[0], "tls.key": wild[1]})
    router.wait_status("www.tls.org", 200, tls=True)
    router.wait_status("a.tls.org", 200, tls=True)
    assert router.get("tls.example.com", tls=True)[3] == der(platform[0])
    assert router.get("www.tls.org", tls=True)[3] == der(www[0])
    assert router.get("b.a.tls.org", tls=True)[3] == der(wild[0])
    assert router.get("bare.tls.org", tls=True)[0] == 404, "its own name has no certificate, whatever a wildcard has"
    assert router.get("unknown.org", tls=True)[0] == 404
    seen = router.seen("www.tls.org", tls=True)
    assert seen["headers"]["x-forwarded-proto"] == "https" and seen["headers"]["x-forwarded-port"] == "443"
    # A secret that does not say that it is a certificate is none of the router's business.
    api.secret("tls", "bare-cert", {"tls.crt": wild[0], "tls.key": wild[1]}, kind="Opaque")
    api.annotate("tls", certificates="www.tls.org:www,*.tls.org:wild,bare.tls.org:bare")
    wait_for(lambda: "there is no secret bare-cert of type kubernetes.io/tls" in router.log(), 30, "the missing certificate is told")
    assert router.get("bare.tls.org", tls=True)[0] == 404
    # A key that does not fit leaves the old pair; a fitting one replaces it.
    api.patch("/api/v1/namespaces/tls/secrets/www-cert", {"data": {"tls.key": base64.b64encode(wild[1].encode()).decode()}})
    wait_for(lambda: "tls.key does not belong to tls.crt" in router.log(), 30, "the mismatch is told")
    assert router.get("www.tls.org", tls=True)[3] == der(www[0])
    renewed = make_pair(folder, "www.tls.org")
    api.patch("/api/v1/namespaces/tls/secrets/www-cert", {"data": {"tls.crt": base64.b64encode(renewed[0].encode()).decode(), "tls.key": base64.b64encode(renewed[1].encode()).decode()}})
    wait_for(lambda: router.get("www.tls.org", tls=True)[3] == der(renewed[0]), 30, "the new certificate is served")


def test_the_routers_own_annotations(router, api, backend):
    api.app("sized", [backend()])
    router.wait_status("sized.example.com", 200)
    status, _, body, _ = router.get("sized.example.com", method="POST", body=b"x" * (2 << 20))
    assert status == 413 and "The request's body is longer than the 1 MiB that the platform takes." in body
    api.app("deis", [backend()], namespace="deis")
    router.wait_status("deis.example.com", 200)
    status, headers, body, _ = router.get("deis.example.com", method="POST", body=b"x" * (2 << 20))
    assert status == 413 and headers["content-type"] == "application/json"
    assert json.loads(body) == {"detail": "The request's body is longer than the 1 MiB that the platform takes."}
    api.router_annotations(bodySize="4m", gzip__compLevel="99")
    wait_for(lambda: router.get("sized.example.com", method="POST", body=b"x" * (2 << 20))[0] == 200, 30, "bodies may be larger")
    assert 'key=router.deis.io/nginx.gzip.compLevel problem="must be a number from 1 to 9"' in router.log()
    api.router_annotations()


def websocket(router, host):
    sock = socket.create_connection(("127.0.0.1", router.http), 10)
    sock.sendall(f"GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(1)
    assert b" 101 " in head, head
    return sock


def test_websockets_outlive_changes(router, api, backend):
    pod = backend()
    api.app("live", [pod])
    router.wait_status("live.example.com", 200)
    sock = websocket(router, "live.example.com")
    for i in range(5):
        api.app(f"noise-{i}", [pod])
        router.wait_status(f"noise-{i}.example.com", 200)
        sock.sendall(b"hello")
        assert sock.recv(100) == b"hello"
    sock.close()


def test_the_builders_port_is_a_stream(router, api):
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", router.builder), 2)
    with socket.create_server((ADDRESS, 0)) as server:
        api.put("/api/v1/namespaces/deis/services/deis-builder", {"metadata": {"name": "deis-builder"}, "spec": {"ports": [{"name": "ssh", "port": 2222}]}})

        class Pod:
            port = server.getsockname()[1]

        api.endpoints("deis-builder", [Pod], "deis", "ssh")

        def connected():
            try:
                client = socket.create_connection(("127.0.0.1", router.builder), 2)
                server.settimeout(0.3)
                try:
                    return client, server.accept()[0]
                except TimeoutError:
                    client.close()
            except OSError:
                return None

        client, pod = wait_for(connected, 30, "a stream to the builder")
        client.sendall(b"SSH-2.0-client\r\n")
        assert pod.recv(100) == b"SSH-2.0-client\r\n"
        client.close()
        pod.close()


def test_what_is_in_effect_can_be_waited_for(router, api, backend):
    first, second = backend("told-1"), backend("told-2")
    addresses = [f"{ADDRESS}:{pod.port}" for pod in (first, second)]

    def route(**query):
        url = f"http://127.0.0.1:{router.health}/v1/routes/told/told?" + urllib.parse.urlencode(query)
        try:
            with urllib.request.urlopen(url, timeout=30) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    status, nothing = route()
    assert (status, nothing["addresses"], nothing["hosts"]) == (200, [], [])
    api.app("told", [first], domains="told,www.told.org")
    status, told = route(wait=20, serves=addresses[0], host="www.told.org,told.example.com")
    assert (status, told["addresses"], told["hosts"]) == (200, [addresses[0]], ["told.example.com", "www.told.org"])
    assert router.seen("told.example.com")["pod"] == "told-1", "what is told to be in effect is"
    assert told["generation"] > nothing["generation"]
    api.endpoints("told", [second])
    assert route(wait=20, **{"serves": addresses[1], "not": addresses[0]})[0] == 200
    assert router.seen("told.example.com")["pod"] == "told-2"
    assert route(wait=1, serves=addresses[0])[:1] == (504,)
    assert route(wait="soon")[0] == 400
    # What a worker was told and does not do yet is not in effect.
    worker = router.workers()[0]
    os.kill(worker, signal.SIGSTOP)
    try:
        api.endpoints("told", [first])
        status, told = route(wait=2, serves=addresses[0])
        assert (status, told["addresses"]) == (504, [addresses[1]])
    finally:
        os.kill(worker, signal.SIGCONT)
    assert route(wait=20, serves=addresses[0])[0] == 200
    assert router.seen("told.example.com")["pod"] == "told-1"


class Load(Until):
    """Requests on new connections, or on a kept one per thread, until the block ends."""

    def __init__(self, router, host, threads=4, keep=False):
        self.router, self.host, self.keep = router, host, keep
        self.sent, self.failures = 0, []
        super().__init__([threading.Thread(target=self.loop) for _ in range(threads)])

    def loop(self):
        connection = None
        while not self.over.is_set():
            fresh = connection is None
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.router.http, timeout=10)
                connection.request("GET", "/", headers={"Host": self.host})
                response = connection.getresponse()
                response.read()
                if response.status != 200:
                    self.failures.append(response.status)
                if not self.keep or response.will_close:
                    connection.close()
                    connection = None
            except OSError as error:
                connection.close()
                connection = None
                # RFC 9112, section 9.3.1: a server may close an idle connection at any time, and a client tries again.
                if fresh:
                    self.failures.append(repr(error))
            self.sent += 1
            time.sleep(0.002)


@pytest.mark.parametrize("keep", [False, True])
def test_no_request_fails_while_pods_come_and_go(router, api, backend, keep):
    name = "rolling-kept" if keep else "rolling"
    pods = [backend(f"{name}-{i}") for i in range(3)]
    api.app(name, pods)
    router.wait_status(f"{name}.example.com", 200)
    with Load(router, f"{name}.example.com", keep=keep) as load:
        for generation in range(6):
            fresh = backend(f"{name}-new-{generation}")
            pods.append(fresh)
            api.endpoints(name, pods)
            time.sleep(0.2)
            leaving = pods.pop(0)
            api.endpoints(name, pods)
            threading.Timer(2.0, leaving.stop).start()  # a pod serves for two seconds after it left
        time.sleep(2.2)
    assert load.sent > 200
    assert load.failures == [], f"{len(load.failures)} of {load.sent}: {load.failures[:5]}"


def test_nginx_comes_back_when_its_master_is_killed(router, api, backend):
    api.app("again", [backend()])
    router.wait_status("again.example.com", 200)
    master = router.master()
    os.kill(master, signal.SIGKILL)

    def works():
        with contextlib.suppress(OSError):
            return router.master() not in (None, master) and router.get("again.example.com")[0] == 200

    wait_for(works, 30, "nginx is back")
    api.annotate("again", maintenance="true")
    router.wait_status("again.example.com", 503)


def test_a_killed_worker_is_replaced_and_follows_changes(router, api, backend):
    first, second = backend("killed-1"), backend("killed-2")
    api.app("killed", [first])
    router.wait_status("killed.example.com", 200)
    for worker in router.workers():
        os.kill(worker, signal.SIGKILL)
    wait_for(lambda: len(router.workers()) > 0, 30, "new workers")
    api.endpoints("killed", [second])
    url = f"http://127.0.0.1:{router.health}/v1/routes/killed/killed?wait=20&serves={ADDRESS}:{second.port}"
    with urllib.request.urlopen(url, timeout=30) as response:
        assert response.status == 200
    assert router.seen("killed.example.com")["pod"] == "killed-2"


def test_a_damaged_table_is_not_used(backend, open_path, own_api, own_router):
    own_api.app("kept", [backend("kept-1")])
    router = own_router(own_api).ready()
    router.wait_status("kept.example.com", 200)
    tables = open_path / "router" / "table"
    wait_for((tables / "last-good").exists, 30, "the table is kept")
    router.stop()
    own_api.stop()
    newest = max((file for file in tables.iterdir() if file.name.isdigit()), key=lambda file: int(file.name))
    newest.write_bytes(newest.read_bytes()[:-100])
    router.start()
    wait_for(lambda: router.plain(router.status, "/healthz") == 200, 30, "the one that was kept is used")
    assert router.seen("kept.example.com")["pod"] == "kept-1"
    assert f"file={newest} problem=\"it is cut off\"" in router.log()
    router.stop()
    for file in tables.iterdir():
        if file.name != "current":
            data = bytearray(file.read_bytes())
            data[len(data) // 2] ^= 1
            file.write_bytes(data)
    router.start()
    wait_for(lambda: router.plain(router.http, "/") == 503, 30, "the port answers")
    assert router.plain(router.status, "/healthz") == 503
    assert "its checksum is wrong" in router.log()


def test_a_full_disk_leaves_the_table_before_in_use(backend, open_path, own_api):
    pods = [backend("full-1"), backend("full-2")]
    own_api.app("full", pods[:1])
    with faults.SmallDisk(open_path / "router", megabytes=8) as disk:
        router = Router(open_path, own_api)
        router.prefix = disk.enter
        router.start().ready()
        try:
            router.wait_status("full.example.com", 200)
            with disk.full():
                own_api.endpoints("full", pods[1:])
                wait_for(lambda: "cannot write the routing table" in router.log(), 30, "the failure is told")
                assert router.seen("full.example.com")["pod"] == "full-1"
            wait_for(lambda: router.seen("full.example.com")["pod"] == "full-2", 30, "it goes on when there is room")
        finally:
            router.stop()


def test_requests_under_way_end_before_the_router_does(api, backend, own_router):
    api.app("slow", [backend()])
    router = own_router(api).ready()
    router.wait_status("slow.example.com", 200)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(router.get("slow.example.com", "/slow")[0]))
    thread.start()
    time.sleep(0.4)
    router.stop()
    thread.join()
    assert answers == [200]
    assert router.plain(router.status, "/healthz") is None, "nothing listens any more"


@pytest.fixture
def own_api(open_path):
    api = Api(open_path)
    api.namespace("deis")
    yield api
    api.stop()


def test_the_last_good_configuration_serves_while_the_api_is_away(backend, open_path, own_api, own_router):
    api = own_api
    api.app("kept", [backend("kept-1")])
    router = own_router(api).ready()
    router.wait_status("kept.example.com", 200)
    api.stop()
    assert router.seen("kept.example.com")["pod"] == "kept-1"
    os.kill(router.process.pid, signal.SIGKILL)
    router.process.wait()
    router.start()
    wait_for(lambda: router.own("/readiness") == 503, 30, "the router is back, and not ready")
    wait_for(lambda: router.plain(router.status, "/healthz") == 200, 30, "nginx works with the last good configuration")
    assert router.seen("kept.example.com")["pod"] == "kept-1"
    assert router.own("/readiness") == 503
    api.start()
    router.ready()
    api.annotate("kept", maintenance="true")
    router.wait_status("kept.example.com", 503)
    router.stop()
    # With nothing kept and nobody to ask, the ports answer all the same.
    api.stop()
    for file in (open_path / "router" / "table").iterdir():
        file.unlink()
    router.start()
    wait_for(lambda: router.plain(router.http, "/") == 503, 30, "the port answers")
    assert router.plain(router.status, "/healthz") == 503
    assert router.own("/readiness") == 503
