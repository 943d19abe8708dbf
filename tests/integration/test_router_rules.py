"""What an app asks of the router by annotations, and what is told of its traffic: through a real nginx."""

import base64
import concurrent.futures
import http.client
import os
import pathlib
import re
import signal
import sys
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from router_under_test import PATIENCE, api, backend, folder, make_pair, router  # noqa: E402, F401
from workflow_testing import wait_for  # noqa: E402


def in_effect(router, api, name):
    """Waits until the Service as it is now is what requests meet."""
    version = api.call("GET", f"/api/v1/namespaces/{name}/services/{name}")["metadata"]["resourceVersion"]
    return router.effect(name, version=version)


def events(api, name):
    return [event["message"] for event in api.call("GET", f"/api/v1/namespaces/{name}/events")["items"]]


def chunked(router, host, size):
    """(status, body) of a POST that does not say how long it is."""
    connection = http.client.HTTPConnection("127.0.0.1", router.http, timeout=30)
    try:
        connection.putrequest("POST", "/", skip_host=True)
        connection.putheader("Host", host)
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        try:
            for _ in range(size // 1000):
                connection.send(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
            connection.send(b"0\r\n\r\n")
        except OSError:
            pass  # refused before the end; the answer is there all the same
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_each_app_has_its_own_limit_of_bodies(router, api, backend):
    api.app("small", [backend()], nginx__bodySize="4k")
    api.app("large", [backend()], nginx__bodySize="4m")
    api.app("any", [backend()], nginx__bodySize="0")
    for name in ("small", "large", "any"):
        in_effect(router, api, name)
    post = lambda name, size: router.get(f"{name}.example.com", method="POST", body=b"x" * size)[::2]  # noqa: E731
    assert post("small", 4096)[0] == 200
    status, body = post("small", 4097)
    assert status == 413 and "The request's body is longer than the 4 KiB that the platform takes." in body
    assert post("large", 4 << 20)[0] == 200 and post("large", (4 << 20) + 1)[0] == 413
    assert post("any", 6 << 20)[0] == 200
    status, body = chunked(router, "small.example.com", 100_000)
    assert status == 413 and "4 KiB" in body
    api.annotate("small", nginx__bodySize="1g")
    in_effect(router, api, "small")
    assert post("small", 4097)[0] == 200, "the default, and the value is told to be wrong"
    wait_for(lambda: "router.deis.io/nginx.bodySize must be a size such as 4096, 32k or 1m" in events(api, "small"), PATIENCE, "an event on the object")


def test_a_clients_rate_is_limited_by_all_workers_together(router, api, backend):
    api.app("limited", [backend()], nginx__rateLimit="1", nginx__rateBurst="20")
    in_effect(router, api, "limited")
    ask = lambda source: router.get("limited.example.com", source=(source, 0))[:2]  # noqa: E731
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        begin = time.monotonic()
        answers = list(pool.map(lambda _: ask("127.0.0.1"), range(80)))
        took = time.monotonic() - begin
    accepted = sum(status == 200 for status, _ in answers)
    assert {status for status, _ in answers} == {200, 429}
    assert 20 <= accepted <= 21 + took, accepted
    assert all(int(headers["retry-after"]) >= 1 for status, headers in answers if status == 429)
    assert ask("127.0.0.2")[0] == 200, "another client is not concerned"
    api.annotate("limited", nginx__rateLimit=None)
    in_effect(router, api, "limited")
    assert ask("127.0.0.1")[0] == 200


def test_passwords_are_asked_for_and_nobody_gets_in_without_them(router, api, backend):
    api.app("secret", [backend()], nginx__basicAuth="users,others")
    in_effect(router, api, "secret")
    basic = lambda text: {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}  # noqa: E731
    status, headers, _, _ = router.get("secret.example.com", headers=basic("me:s3:cret"))
    assert status == 401 and headers["www-authenticate"] == 'Basic realm="secret"', "no Secret, no way in"
    api.secret("secret", "users", {"username": "me", "password": "s3:cret"}, kind="kubernetes.io/basic-auth")
    router.wait_status("secret.example.com", 200, PATIENCE, headers=basic("me:s3:cret"))
    for wrong in ({}, basic("me:wrong"), basic("me"), {"Authorization": "Basic %%%"}, {"Authorization": "Bearer x"}, basic("x" * 5000 + ":y")):
        assert router.get("secret.example.com", headers=wrong)[0] == 401, wrong
    api.secret("secret", "others", {"username": "you", "password": "p"}, kind="kubernetes.io/basic-auth")
    router.wait_status("secret.example.com", 200, PATIENCE, headers=basic("you:p"))
    assert router.get("secret.example.com", headers=basic("me:s3:cret"))[0] == 200
    api.call("DELETE", "/api/v1/namespaces/secret/secrets/users")
    router.wait_status("secret.example.com", 401, PATIENCE, headers=basic("me:s3:cret"))
    assert "s3:cret" not in router.log() and base64.b64encode(b"me:s3:cret").decode() not in router.log()


def test_a_canary_gets_its_share_and_those_who_ask_for_it(router, api, backend):
    api.app("shop", [backend("old")], nginx__canary="shop-next", nginx__canaryHeader="X-Canary", nginx__canaryCookie="canary", nginx__canaryWeight="30")
    api.app("shop-next", [backend("new")], namespace="shop")
    in_effect(router, api, "shop")
    pod = lambda source="127.0.0.1", **headers: router.seen("shop.example.com", source=(source, 0), headers=headers)["pod"]  # noqa: E731
    wait_for(lambda: pod(**{"X-Canary": "always"}) == "new", PATIENCE, "the canary is there")
    assert pod(**{"X-Canary": "never"}) == "old"
    assert pod(Cookie="a=b; canary=always") == "new" and pod(Cookie="canary=never") == "old"
    assert pod(**{"X-Canary": "never", "Cookie": "canary=always"}) == "old", "the header comes first"
    sources = [f"127.0.0.{n}" for n in range(1, 201)]
    first = [pod(source) for source in sources]
    assert 30 <= first.count("new") <= 90, first.count("new")
    assert [pod(source) for source in sources[:40]] == first[:40], "a client stays with its version"
    api.annotate("shop", nginx__canaryWeight="100")
    in_effect(router, api, "shop")
    assert {pod(source) for source in sources[:20]} == {"new"}
    api.endpoints("shop-next", [], "shop")
    wait_for(lambda: pod() == "old", PATIENCE, "a canary without pods gets nothing")


def test_other_hosts_are_redirected_to_the_canonical_one(router, api, backend):
    api.app("moved", [backend()], domains="moved,www.moved.org,moved.org", nginx__canonicalHost="www.moved.org")
    in_effect(router, api, "moved")
    assert router.get("www.moved.org")[0] == 200
    status, headers, _, _ = router.get("moved.org", "/a?b=c")
    assert (status, headers["location"]) == (301, "http://www.moved.org/a?b=c")
    status, headers, _, _ = router.get("moved.example.com", method="POST", body=b"x")
    assert (status, headers["location"]) == (308, "http://www.moved.org/")
    api.annotate("moved", nginx__canonicalHost="evil.org")
    in_effect(router, api, "moved")
    assert router.get("moved.org")[0] == 200, "only a name of its own"
    wait_for(lambda: "router.deis.io/nginx.canonicalHost must be one of the domains, and no wildcard" in events(api, "moved"), PATIENCE, "told on its object")


def test_errors_have_the_apps_own_pages(router, api, backend):
    pod = backend()
    api.app("paged", [pod], nginx__errorPages="pages")
    api.call("POST", "/api/v1/namespaces/paged/configmaps", {
        "metadata": {"name": "pages", "labels": {"router.deis.io/pages": "true"}},
        "data": {"503.html": "<p>nobody home</p>", "502": "<p>broken</p>", "maintenance": "<p>back soon</p>", "999": "x", "403": "y" * 20000}})
    in_effect(router, api, "paged")
    api.endpoints("paged", [])
    wait_for(lambda: router.get("paged.example.com")[::2][:2] == (503, "<p>nobody home</p>"), PATIENCE, "the page is there")
    api.annotate("paged", maintenance="true")
    in_effect(router, api, "paged")
    status, headers, body, _ = router.get("paged.example.com")
    assert (status, body, headers["retry-after"]) == (503, "<p>back soon</p>", "60")
    api.annotate("paged", maintenance="false", whitelist="192.0.2.1")
    api.endpoints("paged", [pod])
    in_effect(router, api, "paged")
    wait_for(lambda: router.get("paged.example.com")[0] == 403, PATIENCE, "the list is in effect")
    assert "may not be reached from this address" in router.get("paged.example.com")[2], "a page that is too long is none"
    api.annotate("paged", whitelist=None)
    pod.stop()
    in_effect(router, api, "paged")
    status, _, body, _ = router.get("paged.example.com")
    assert (status, body) == (502, "<p>broken</p>")
    api.call("DELETE", "/api/v1/namespaces/paged/configmaps/pages")
    wait_for(lambda: "The application's answer could not be used" in router.get("paged.example.com")[2], PATIENCE, "the router's own page")


def test_strict_transport_is_an_apps_choice(router, api, backend, folder):
    certificate = make_pair(folder, "hsts.org")
    api.app("hsts", [backend()], domains="hsts,hsts.org", certificates="hsts.org:own", ssl__hsts__enabled="true", ssl__hsts__maxAge="60",
            ssl__hsts__includeSubDomains="true")
    api.secret("hsts", "own-cert", {"tls.crt": certificate[0], "tls.key": certificate[1]})
    api.app("plain", [backend()])
    in_effect(router, api, "hsts")
    in_effect(router, api, "plain")
    router.wait_status("hsts.org", 200, PATIENCE, tls=True)
    assert router.get("hsts.org", tls=True)[1]["strict-transport-security"] == "max-age=60; includeSubDomains"
    assert "strict-transport-security" not in router.get("hsts.org")[1], "nothing without TLS"
    assert "strict-transport-security" not in router.get("plain.example.com")[1]


def metrics(router):
    with urllib.request.urlopen(f"http://127.0.0.1:{router.health}/metrics", timeout=30) as response:
        return response.read().decode()


def value(text, series):
    found = re.search("^" + re.escape(series) + " (\\S+)$", text, re.M)
    return float(found.group(1)) if found else 0.0


def test_traffic_is_counted_by_app_whatever_worker_dies(router, api, backend):
    api.app("counted", [backend()])
    in_effect(router, api, "counted")
    router.wait_status("counted.example.com", 200)
    count = lambda code: value(metrics(router), f'router_requests_total{{app="counted",code="{code}"}}')  # noqa: E731
    before = count("2xx")
    for _ in range(20):
        assert router.get("counted.example.com", method="POST", body=b"x" * 1000)[0] == 200
    wait_for(lambda: count("2xx") == before + 20, PATIENCE, "each request is counted")
    text = metrics(router)
    assert value(text, 'router_received_bytes_total{app="counted"}') > 20_000
    assert value(text, 'router_sent_bytes_total{app="counted"}') > 20 * 100
    assert value(text, 'router_request_duration_seconds_bucket{app="counted",le="+Inf"}') == before + 20
    assert value(text, 'router_request_duration_seconds_count{app="counted"}') == before + 20
    workers = router.workers()
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    wait_for(lambda: router.workers() and not set(router.workers()) & set(workers), PATIENCE, "new workers")
    router.wait_status("counted.example.com", 200, PATIENCE)
    api.endpoints("counted", [])
    router.wait_status("counted.example.com", 503, PATIENCE)
    wait_for(lambda: count("5xx") >= 1 and count("2xx") >= before + 21, PATIENCE, "counted on from where the dead ones were")
