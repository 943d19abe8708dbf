"""Certificates on demand: routers, the engine's Kubernetes API, and Pebble, an authority that misbehaves on purpose."""

import base64
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from router_under_test import Api, Backend, Router, der  # noqa: E402
from workflow_testing import free_port, open_folder, run, wait_for  # noqa: E402

PEBBLE, NAMES = shutil.which("pebble"), shutil.which("pebble-challtestsrv")
pytestmark = pytest.mark.skipif(not PEBBLE or not NAMES, reason="pebble is missing: apt-get install pebble")

KEY_ID, KEY = "kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


class Authority:
    """Pebble and its name server, which sends every name to this machine."""

    def __init__(self, folder, http_port, tls_port, bound=False):
        self.folder = folder
        self.port, self.names, self.control = free_port(), free_port(), free_port()
        self.ca = folder / "authority.pem"
        run("openssl", "req", "-x509", "-nodes", "-days", "2", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "authority.key", "-out", self.ca)
        self.config = folder / "pebble.json"
        self.config.write_text(json.dumps({"pebble": {
            "listenAddress": f"127.0.0.1:{self.port}", "managementListenAddress": f"127.0.0.1:{free_port()}", "certificate": str(self.ca),
            "privateKey": str(folder / "authority.key"), "httpPort": http_port, "tlsPort": tls_port, "ocspResponderURL": "",
            "externalAccountBindingRequired": bound, "externalAccountMACKeys": {KEY_ID: KEY}, "certificateValidityPeriod": 86400}}))
        self.directory = f"https://localhost:{self.port}/dir"
        self.log = open(folder / "pebble.log", "ab")
        self.processes = []
        self.pebble = None
        self.name_server()

    def spawn(self, *argv, **env):
        self.processes.append(subprocess.Popen([str(a) for a in argv], stdout=self.log, stderr=self.log, env={**os.environ, **env}))
        return self.processes[-1]

    def name_server(self):
        self.spawn(NAMES, "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dns01", f"127.0.0.1:{self.names}", "-http01", "", "-https01", "",
                   "-tlsalpn01", "", "-management", f"127.0.0.1:{self.control}")
        wait_for(self.has_names, 30, "the name server answers")

    def has_names(self):
        with contextlib.suppress(OSError):
            self.set_names("clear-servfail", "probe.invalid")
            return True

    def start(self, **env):
        self.pebble = self.spawn(PEBBLE, "-strict", "-config", self.config, "-dnsserver", f"127.0.0.1:{self.names}",
                                 **{"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "30", "PEBBLE_AUTHZREUSE": "0"} | env)
        wait_for(self.answers, 30, "the authority answers")
        return self

    def answers(self):
        with contextlib.suppress(OSError):
            context = ssl.create_default_context(cafile=str(self.ca))
            with urllib.request.urlopen(self.directory, context=context, timeout=5) as response:
                return response.status == 200

    def kill(self):
        self.pebble.kill()
        self.pebble.wait()

    def set_names(self, verb, name):
        urllib.request.urlopen(f"http://127.0.0.1:{self.control}/{verb}", data=json.dumps({"host": name + "."}).encode(), timeout=5).close()

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()

    def env(self, **more):
        return {"ROUTER_ACME_DIRECTORY": self.directory, "ROUTER_ACME_CA_FILE": str(self.ca), "ROUTER_ACME_CONTACT": "operator@example.com"} | more


@pytest.fixture
def place():
    """A folder, an API with an app's pod, and whatever is started there."""

    class Place:
        def __init__(self):
            self.folder = open_folder("workflow-acme-")
            self.api = Api(self.folder)
            self.api.namespace("deis")
            self.pod = Backend("pod")
            self.stops = [self.api.stop, self.pod.stop]

        def router(self, name="one"):
            folder = self.folder / name
            folder.mkdir(mode=0o755)
            router = Router(folder, self.api)
            self.stops.insert(0, router.stop)
            return router

        def authority(self, router, **more):
            authority = Authority(self.folder, router.http, router.https, **more)
            self.stops.append(authority.stop)
            return authority

    place = Place()
    yield place
    for log in place.folder.rglob("*.log"):  # shown when the test fails
        print(f"--- {log.name}", log.read_text()[-6000:], sep="\n")
    for stop in place.stops:
        stop()
    shutil.rmtree(place.folder)


def secrets(api, kind=None):
    found = api.call("GET", "/api/v1/namespaces/deis/secrets?labelSelector=router.deis.io/acme" + (f"={kind}" if kind else ""))["items"]
    return {item["metadata"]["annotations"]["router.deis.io/domain"]: item for item in found}


def value(secret, key):
    return base64.b64decode(secret["data"][key]).decode()


def attempts(api, domain):
    found = secrets(api, "order").get(domain)
    return json.loads(value(found, "attempts")) if found else {}


def events(api, namespace):
    return [event["message"] for event in api.call("GET", f"/api/v1/namespaces/{namespace}/events")["items"]]


def served(router, host):
    """The certificate that a host has; None without HTTPS of its own."""
    status, _, _, certificate = router.get(host, tls=True)
    return certificate if status == 200 else None


def test_an_app_gets_certificates_by_either_challenge(place):
    api, router = place.api, place.router()
    authority = place.authority(router).start()
    router.start(**authority.env()).ready()
    # Whitelist, redirect and maintenance are not for the authority.
    api.app("shop", [place.pod], domains="shop,www.shop.org", tls__auto="true", ssl__enforce="true", whitelist="127.0.0.1")
    certificate = wait_for(lambda: served(router, "www.shop.org"), 90, "the name is served over HTTPS")
    bare = wait_for(lambda: served(router, "shop.example.com"), 90, "without a platform certificate, the app's own name as well")
    assert bare != certificate
    stored = secrets(api, "certificate")["www.shop.org"]
    assert stored["type"] == "kubernetes.io/tls" and der(value(stored, "tls.crt").split("-----END")[0] + "-----END CERTIFICATE-----\n") == certificate
    wait_for(lambda: attempts(api, "www.shop.org")["order"] == "" == attempts(api, "www.shop.org")["key"], 30, "the order is over")
    wait_for(lambda: not api.call("GET", "/api/v1/namespaces/deis/configmaps/deis-router-acme").get("data"), 10, "no answers stay behind")
    assert router.get("www.shop.org", "/.well-known/acme-challenge/abc")[0] == 301, "other paths are the app's"
    assert not api.call("GET", "/api/v1/namespaces/shop/secrets")["items"], "nothing is kept where tenants read"
    # By TLS alone, while port 80 is somebody else's.
    router.stop()
    router.start(**authority.env(ROUTER_ACME_CHALLENGES="tls-alpn-01")).ready()
    api.app("quiet", [place.pod], domains="quiet.org", tls__auto="true")
    assert wait_for(lambda: served(router, "quiet.org"), 90, "a certificate by TLS-ALPN-01")
    assert served(router, "www.shop.org") == certificate, "what is there is used again"


def test_what_an_authority_refuses_is_an_event_and_is_tried_again_later(place):
    api, router = place.api, place.router()
    authority = place.authority(router).start()
    authority.set_names("set-servfail", "gone.org")  # nobody finds it
    router.start(**authority.env()).ready()
    api.app("gone", [place.pod], domains="gone.org,*.gone.org", tls__auto="true")
    wait_for(lambda: any("no certificate for gone.org: the certificate authority says" in text for text in events(api, "gone")), 120, "the event of the name")
    wait_for(lambda: any("a wildcard needs dns-01" in text for text in events(api, "gone")), 120, "the event of the wildcard")
    tried = wait_for(lambda: (a := attempts(api, "gone.org")) and a["failures"] and a, 30, "the failure is written down")
    assert tried["failures"] == 1 and len(tried["begun"]) == 1 and tried["order"] == "" and tried["notBefore"] > tried["begun"][0]
    assert router.get("gone.org")[0] == 200 and served(router, "gone.org") is None
    assert not secrets(api, "certificate")
    assert not attempts(api, "*.gone.org")["begun"], "what cannot be had is not ordered"


def test_an_order_survives_the_death_of_router_and_authority(place):
    api, router = place.api, place.router()
    # The authority waits before it looks, so that there is an order to die with.
    authority = place.authority(router).start(PEBBLE_VA_NOSLEEP="", PEBBLE_VA_SLEEPTIME="5")
    router.start(**authority.env()).ready()
    api.app("steady", [place.pod], domains="steady.org", tls__auto="true")
    order = wait_for(lambda: attempts(api, "steady.org").get("order"), 60, "an order is under way, and written down")
    os.kill(router.process.pid, signal.SIGKILL)
    router.process.wait()
    assert attempts(api, "steady.org")["order"] == order
    router.start(**authority.env()).ready()
    assert wait_for(lambda: served(router, "steady.org"), 120, "the certificate")
    wait_for(lambda: attempts(api, "steady.org")["order"] == "", 30, "the order is over")
    assert len(attempts(api, "steady.org")["begun"]) == 1, "the order was gone on with"
    # An authority that has lost its memory knows neither account nor order; the account is made anew.
    authority.kill()
    authority.start()
    api.app("later", [place.pod], domains="later.org", tls__auto="true")
    assert wait_for(lambda: served(router, "later.org"), 150, "the certificate from the new account")


def test_two_routers_serve_one_certificate_that_one_of_them_ordered(place):
    api, one, two = place.api, place.router("one"), place.router("two")
    authority = place.authority(two).start()  # asks the second one only, whoever orders
    for router in (one, two):
        router.start(**authority.env()).ready()
    for name in ("first", "second", "third"):
        api.app(name, [place.pod], domains=f"{name}.org", tls__auto="true")
    for name in ("first", "second", "third"):
        certificates = wait_for(lambda: (served(one, f"{name}.org"), served(two, f"{name}.org")), 120, f"{name} is served")
        wait_for(lambda: served(one, f"{name}.org") and served(one, f"{name}.org") == served(two, f"{name}.org"), 120, f"both serve {name}")
        assert len(attempts(api, f"{name}.org")["begun"]) == 1, certificates
    lease = api.call("GET", "/apis/coordination.k8s.io/v1/namespaces/deis/leases/deis-router-acme")["spec"]
    wait_for(lambda: not api.call("GET", "/apis/coordination.k8s.io/v1/namespaces/deis/leases/deis-router-acme")["spec"].get("holderIdentity"), 30,
             f"the lease is given back: {lease}")


def test_a_wildcard_by_the_operators_hook_and_an_account_that_is_bound(place):
    api, router = place.api, place.router()
    authority = place.authority(router, bound=True).start()
    hook = place.folder / "hook"
    hook.write_text(f"""#!/usr/bin/python3
import json, sys, urllib.request
verb, name, value = sys.argv[1:]
body = {{"host": name + "."}} | ({{"value": value}} if verb == "present" else {{}})
urllib.request.urlopen("http://127.0.0.1:{authority.control}/" + ("set-txt" if verb == "present" else "clear-txt"), data=json.dumps(body).encode())
open("{place.folder}/calls", "a").write(verb + " " + name + "\\n")
""")
    hook.chmod(0o755)
    router.start(**authority.env(ROUTER_ACME_DNS_HOOK=str(hook), ROUTER_ACME_EAB_KEY_ID=KEY_ID, ROUTER_ACME_EAB_KEY=KEY)).ready()
    api.app("wild", [place.pod], domains="*.wild.org", tls__auto="true")
    assert wait_for(lambda: served(router, "any.wild.org"), 90, "a wildcard's certificate")
    calls = (place.folder / "calls").read_text().splitlines()
    assert calls == ["present _acme-challenge.wild.org", "remove _acme-challenge.wild.org"]


def test_a_router_without_an_authority_says_so(place):
    api, router = place.api, place.router()
    router.start().ready()
    api.app("hope", [place.pod], domains="hope.org", tls__auto="true")
    wait_for(lambda: any("needs a certificate authority" in text for text in events(api, "hope")), 30, "the event")


def handshake(router, host, protocols):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(protocols)
    with socket.create_connection(("127.0.0.1", router.https), 10) as raw, context.wrap_socket(raw, server_hostname=host) as secure:
        return secure.selected_alpn_protocol(), secure.getpeercert(binary_form=True)


def test_only_a_validation_sees_a_validations_certificate(place):
    api, router = place.api, place.router()
    router.start().ready()
    api.app("ours", [place.pod], domains="ours.org")
    api.call("POST", "/api/v1/namespaces/deis/configmaps", {"metadata": {"name": "deis-router-acme"}, "data": {
        "good-token": json.dumps({"domain": "ours.org", "answer": "good-token.thumb"}),
        "stray": json.dumps({"domain": "ours.org", "answer": "another.thumb"}), "junk": "{", "pair": json.dumps({"domain": "bad domain", "answer": "pair.x"})}})
    wait_for(lambda: router.own("/v1/challenges/good-token") == 200, 20, "the answer is served")
    assert router.get("ours.org", "/.well-known/acme-challenge/good-token")[2] == "good-token.thumb"
    assert router.own("/v1/challenges/stray") == 404 and router.own("/v1/challenges/pair") == 404
    assert router.get("other.org", "/.well-known/acme-challenge/good-token")[0] == 404, "of that name only"
    assert router.seen("ours.org", "/.well-known/acme-challenge/own")["path"] == "/.well-known/acme-challenge/own", "the app may have its own"
    protocol, certificate = handshake(router, "ours.org", ["acme-tls/1"])
    assert protocol == "acme-tls/1" and b"ours.org" in certificate
    for protocols, chosen in ((["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), (["acme-tls/1", "h2"], "h2")):
        other, usual = handshake(router, "ours.org", protocols)
        assert other == chosen and usual != certificate
    with pytest.raises(OSError):
        handshake(router, "other.org", ["acme-tls/1"])
    api.patch("/api/v1/namespaces/deis/configmaps/deis-router-acme", {"data": {"good-token": None}})
    wait_for(lambda: router.own("/v1/challenges/good-token") == 404, 20, "the answer is gone")
    with pytest.raises(OSError):
        handshake(router, "ours.org", ["acme-tls/1"])
