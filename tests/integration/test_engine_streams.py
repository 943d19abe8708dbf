"""exec, attach, cp and port-forward as clients of several ages speak them: WebSocket, SPDY/3.1, and the channels of long ago."""

import base64
import concurrent.futures
import fcntl
import hashlib
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import tempfile
import termios

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from engine_with_pods import PodEngine, fetch, missing_parts  # noqa: E402
from kubernetes_clients import debian_kubectl, newest_kubectl, python_with_kubernetes  # noqa: E402
from workflow_testing import wait_for  # noqa: E402

if missing_parts():
    pytest.skip(missing_parts(), allow_module_level=True)

NS = "streams"
# Says what it hears; two servers, one of which listens to its own pod only.
TALKS = """mkdir -p /tmp/www /tmp/own; echo everybody > /tmp/www/index.html; echo itself > /tmp/own/index.html
httpd -p 8080 -h /tmp/www; httpd -p 127.0.0.1:8081 -h /tmp/own; while read line; do echo "heard $line"; done; sleep 1000"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    engine = PodEngine(tmp_path_factory.mktemp("engine"))
    engine.namespace(NS)
    engine.pod(NS, "talks", TALKS, container={"stdin": True})
    engine.wait_running(NS, "talks")
    yield engine
    engine.close()


class Kubectl:
    def __init__(self, engine, program, **settings):
        self.program, self.env = program, dict(os.environ, KUBECONFIG=str(engine.state / "kubeconfig"), HOME=str(engine.state), **settings)

    def begin(self, *argv, **options):
        return subprocess.Popen([self.program, "-n", NS, *argv], env=self.env, stdout=subprocess.PIPE, **options)

    def __call__(self, *argv, **options):
        done = subprocess.run([self.program, "-n", NS, *argv], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, **options)
        return done.returncode, done.stdout, done.stderr.decode()


@pytest.fixture(params=["websocket", "spdy", "debian"])
def kubectl(engine, request):
    if request.param == "debian":
        return Kubectl(engine, debian_kubectl())
    if request.param == "websocket":
        return Kubectl(engine, newest_kubectl())
    return Kubectl(engine, newest_kubectl(), KUBECTL_REMOTE_COMMAND_WEBSOCKETS="false", KUBECTL_PORT_FORWARD_WEBSOCKETS="false")


def test_exec_has_two_outputs_and_an_exit_status(kubectl):
    assert kubectl("exec", "talks", "--", "echo", "a b", "c") == (0, b"a b c\n", "")
    code, out, err = kubectl("exec", "talks", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert code == 7 and out == b"out\n" and err.startswith("err\n")
    code, _, err = kubectl("exec", "talks", "--", "no-such-program")
    assert code != 0 and "no-such-program" in err
    code, _, err = kubectl("exec", "nobody", "--", "true")
    assert code == 1 and 'pods "nobody" not found' in err


def test_exec_takes_input_to_its_end(kubectl):
    data = os.urandom(8_000_000)
    assert kubectl("exec", "-i", "talks", "--", "wc", "-c", input=b"") == (0, b"0\n", "")
    code, out, _ = kubectl("exec", "-i", "talks", "--", "cat", input=data)
    assert code == 0 and hashlib.sha256(out).digest() == hashlib.sha256(data).digest()
    # What does not read its input is not held up by it.
    assert kubectl("exec", "-i", "talks", "--", "echo", "deaf", input=data)[:2] == (0, b"deaf\n")


def test_exec_on_a_terminal_of_the_clients_size(engine, kubectl):
    terminal, child = os.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    script = 'until [ "$(stty size 2>/dev/null)" = "40 100" ]; do sleep 0.1; done; tty; exit 3'
    process = subprocess.Popen([kubectl.program, "-n", NS, "exec", "-it", "talks", "--", "sh", "-c", script], env=kubectl.env,
                               stdin=child, stdout=child, stderr=child, start_new_session=True)
    os.close(child)
    said = b""
    try:
        while data := os.read(terminal, 4096):
            said += data
    except OSError:
        pass  # the other side is closed
    assert process.wait(timeout=60) == 3, said
    os.close(terminal)
    assert b"/dev/" in said


def test_a_command_ends_with_its_client(engine, kubectl):
    script = "echo begun; cat > /dev/null & sleep 7703"
    with kubectl.begin("exec", "-i", "talks", "--", "sh", "-c", script, stdin=subprocess.PIPE) as client:
        assert client.stdout.readline() == b"begun\n"
        client.kill()
    wait_for(lambda: b"sleep 7703" not in kubectl("exec", "talks", "--", "sh", "-c", "ps -o args | grep -v 'sh -c'")[1], 20, "no process is left")
    wait_for(lambda: not list((engine.state / "exec").iterdir()), 20, "no FIFO is left")


def test_cp_both_ways(kubectl, tmp_path):
    data = os.urandom(3_000_000)
    (tmp_path / "there").write_bytes(data)
    assert kubectl("cp", str(tmp_path / "there"), "talks:/tmp/copied")[0] == 0
    assert kubectl("cp", "talks:/tmp/copied", str(tmp_path / "back"))[0] == 0
    assert (tmp_path / "back").read_bytes() == data


def test_attach_is_the_containers_own_input_and_output(kubectl):
    with kubectl.begin("attach", "-i", "talks", stdin=subprocess.PIPE) as attached:
        try:
            attached.stdin.write(b"me\n")
            attached.stdin.flush()
            assert any(line == b"heard me\n" for line in attached.stdout), "the container was not heard"
        finally:
            attached.terminate()


@pytest.fixture
def forward(kubectl):
    """Ports of the pod on this machine, and what kubectl says about them."""
    begun = []

    def to(*ports):
        process = kubectl.begin("port-forward", "pod/talks", *(f":{port}" for port in ports), stderr=subprocess.STDOUT)
        begun.append(process)
        return process, [int(re.match(rb"Forwarding from 127.0.0.1:(\d+)", next(line for line in process.stdout if b"127.0.0.1" in line))[1]) for _ in ports]

    yield to
    for process in begun:
        process.terminate()
        process.communicate()


def test_port_forward_reaches_the_pod_and_what_listens_to_itself_only(forward):
    _, (public, own) = forward(8080, 8081)
    assert fetch("127.0.0.1", public) == "everybody" and fetch("127.0.0.1", own) == "itself"
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        assert set(pool.map(lambda _: fetch("127.0.0.1", own, 30), range(40))) == {"itself"}


def test_port_forward_to_nobody_says_so(engine, forward):
    process, (port,) = forward(9)
    assert fetch("127.0.0.1", port).startswith("(")
    said = next((line for line in process.stdout if b"error forwarding port 9" in line or b"an error occurred forwarding" in line), None)
    assert said, "kubectl tells nothing"


class Channels:
    """A WebSocket without a library: frames of one piece, as small clients write them."""

    def __init__(self, engine, path, protocol):
        self.socket = engine.api.context.wrap_socket(socket.create_connection(("127.0.0.1", engine.port), 30), server_hostname="127.0.0.1")
        self.file = self.socket.makefile("rb")
        asked = f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else ""
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: engine\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                            f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n{asked}\r\n".encode())
        self.head = b"".join(iter(self.file.readline, b"\r\n")).decode()
        assert " 101 " in self.head, self.head

    def send(self, data):
        assert len(data) < 126
        self.socket.sendall(bytes([0x82, 0x80 | len(data), 0, 0, 0, 0]) + data)

    def __iter__(self):
        while head := self.file.read(2):
            size = head[1] & 127
            if size == 126:
                size, = struct.unpack(">H", self.file.read(2))
            data = self.file.read(size)
            if head[0] & 15 == 8:
                return
            yield data

    def close(self):
        self.file.close()
        self.socket.close()


def exec_path(*command):
    words = "&".join(f"command={word}" for word in command)
    return f"/api/v1/namespaces/{NS}/pods/talks/exec?stdout=1&stderr=1&{words}"


@pytest.mark.parametrize("protocol, first", [("v5.channel.k8s.io", b"\x01"), ("v4.channel.k8s.io", b"\x01"), ("channel.k8s.io", b"\x01"),
                                             ("base64.channel.k8s.io", b"1"), ("", b"\x01")])
def test_exec_on_channels(engine, protocol, first):
    channels = Channels(engine, exec_path("echo", "said"), protocol)
    messages = list(channels)
    channels.close()
    assert messages[0] == first, "an empty message says that the command has begun"
    said = first + (base64.b64encode(b"said\n") if first == b"1" else b"said\n")
    assert messages[1] == said
    # The last word of old is said of failures only.
    rest = messages[2:]
    assert len(rest) == (1 if protocol.startswith("v") else 0)
    if rest:
        assert rest[0][:1] == b"\x03" and b'"Success"' in rest[0]


def test_port_forward_on_channels(engine):
    channels = Channels(engine, f"/api/v1/namespaces/{NS}/pods/talks/portforward?ports=8081", "v4.channel.k8s.io")
    channels.send(b"\x00GET / HTTP/1.0\r\n\r\n")
    port, answer = struct.pack("<H", 8081), b""
    for message in channels:
        if message in (b"\x00" + port, b"\x01" + port):
            continue
        assert message[:1] == b"\x00", message
        answer += message[1:]
        if answer.endswith(b"itself\n"):
            break
    channels.close()
    assert answer.startswith(b"HTTP/1.")


@pytest.mark.parametrize("headers, said", [({}, "Upgrade request required"),
                                           ({"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": "v9.channel.k8s.io"}, "X-Stream-Protocol-Version")])
def test_what_is_not_spoken_is_refused(engine, headers, said):
    status, answer = engine.api.send("POST", exec_path("true"), headers=headers)
    assert status == 400 and said in answer["message"]


def test_bytes_that_are_no_spdy_end_the_connection_alone(engine):
    """A hostile client: the engine says nothing, keeps nothing, and goes on."""
    for junk in (b"\x80\x03\x00\x01\x00\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n" * 100, b"\x80\x03\x00\x01\x00\x00\x00\x0e" + bytes(14), bytes(100_000)):
        connection = engine.api.context.wrap_socket(socket.create_connection(("127.0.0.1", engine.port), 30), server_hostname="127.0.0.1")
        connection.sendall(f"POST {exec_path('sleep', '7704')} HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
                           "X-Stream-Protocol-Version: v4.channel.k8s.io\r\nContent-Length: 0\r\n\r\n".encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 101 ")
        connection.sendall(junk)
        connection.close()
    wait_for(lambda: not list((engine.state / "exec").iterdir()), 20, "no FIFO is left")
    assert engine.api.get(f"/api/v1/namespaces/{NS}/pods/talks")["status"]["phase"] == "Running"


# --- what else goes through the API server

def test_a_log_on_a_websocket(engine):
    engine.pod(NS, "tells", "echo one; echo two", restartPolicy="Never")
    engine.wait_phase(NS, "tells", "Succeeded")
    for protocol in ("binary.k8s.io", "base64.binary.k8s.io", ""):
        channels = Channels(engine, f"/api/v1/namespaces/{NS}/pods/tells/log", protocol)
        messages = list(channels)
        channels.close()
        text = b"".join(base64.b64decode(m) for m in messages) if protocol.startswith("base64") else b"".join(messages)
        assert text == b"one\ntwo\n"


ECHO = r"""mkdir -p /tmp/www/cgi-bin; cat > /tmp/www/cgi-bin/echo <<'end'
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
echo "$REQUEST_METHOD $REQUEST_URI"; env | grep ^HTTP_; cat
end
chmod +x /tmp/www/cgi-bin/echo; echo front > /tmp/www/index.html; exec httpd -f -p 8090 -h /tmp/www"""


@pytest.fixture(scope="module")
def web(engine):
    """A pod that tells what it was asked, behind a Service."""
    engine.pod(NS, "web", ECHO, container={"ports": [{"containerPort": 8090}], "readinessProbe": {"tcpSocket": {"port": 8090}, "periodSeconds": 1}})
    engine.create("services", NS, "web", {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8090}]})
    engine.wait_running(NS, "web")
    wait_for(lambda: any(s.get("addresses") for s in (engine.find("endpoints", NS, "web") or {}).get("subsets", [])), 20, "the Service has an endpoint")
    return f"/api/v1/namespaces/{NS}"


@pytest.mark.parametrize("what", ["pods/web", "pods/web:8090", "pods/http:web:8090", "services/web", "services/web:http", "services/web:80", "services/http:web:http"])
def test_pods_and_services_are_reached_through_the_api(engine, web, what):
    assert engine.api.send("GET", f"{web}/{what}/proxy/")[:2] == (200, "front\n")
    status, text = engine.api.send("POST", f"{web}/{what}/proxy/cgi-bin/echo?a=b%20c", "body", headers={"X-Mine": "kept", "Impersonate-User": "ann", "Impersonate-Group": "system:masters"})
    assert status == 200 and text.startswith("POST /cgi-bin/echo?a=b%20c\n") and text.endswith("body"), text
    assert "HTTP_X_MINE=kept" in text and "IMPERSONATE" not in text
    assert engine.api.send("GET", f"{web}/{what}/proxy/absent")[0] == 404


def test_a_proxy_hands_on_no_credential_and_asks_nothing_of_the_machine(engine, web):
    token = engine.api.send("POST", f"/api/v1/namespaces/{NS}/serviceaccounts/default/token", {"spec": {}})[1]["status"]["token"]
    engine.create("roles", NS, "proxies", rules=[{"apiGroups": [""], "resources": ["pods/proxy"], "verbs": ["get"]}])
    engine.create("rolebindings", NS, "proxies", roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "proxies"},
                  subjects=[{"kind": "ServiceAccount", "name": "default", "namespace": NS}])
    text = subprocess.run(["curl", "-sk", "-H", f"Authorization: Bearer {token}", f"https://127.0.0.1:{engine.port}{web}/pods/web/proxy/cgi-bin/echo"],
                          stdout=subprocess.PIPE, text=True, timeout=60).stdout
    assert text.startswith("GET /cgi-bin/echo") and "AUTHORIZATION" not in text and token not in text
    # An object may claim any address.
    engine.create("services", NS, "inside", {"ports": [{"port": 80}]})
    engine.create("endpoints", NS, "inside", subsets=[{"addresses": [{"ip": "169.254.169.254"}], "ports": [{"port": 80}]}])
    status, answer = engine.api.send("GET", f"{web}/services/inside/proxy/")
    assert status == 400 and "address not allowed" in answer["message"]


def test_a_proxy_says_what_is_missing(engine, web):
    status, answer = engine.api.send("GET", f"{web}/services/nobody/proxy/")
    assert status == 404 and 'services "nobody" not found' in answer["message"]
    engine.create("services", NS, "empty", {"selector": {"app": "none"}, "ports": [{"port": 80}]})
    status, answer = engine.api.send("GET", f"{web}/services/empty/proxy/")
    assert status == 503 and "no endpoints available" in answer["message"]
    connection = engine.api.connect()
    connection.request("GET", f"{web}/pods/web/proxy?x=1")
    answer = connection.getresponse()
    assert answer.status == 301 and answer.getheader("Location") == f"{web}/pods/web/proxy/?x=1"
    connection.close()


def test_tokens_say_which_they_are_and_may_be_verified_by_others(engine):
    token = engine.api.send("POST", f"/api/v1/namespaces/{NS}/serviceaccounts/default/token",
                            {"spec": {"boundObjectRef": {"kind": "Pod", "name": "talks", "apiVersion": "v1"}}})[1]["status"]["token"]
    review = engine.api.send("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}})[1]["status"]
    extra = review["user"]["extra"]
    assert [value.startswith("JTI=") for value in extra["authentication.kubernetes.io/credential-id"]] == [True]
    assert extra["authentication.kubernetes.io/pod-name"] == ["talks"]
    discovery = engine.api.get("/.well-known/openid-configuration")
    claims = token.split(".")[1]
    assert f'"iss":"{discovery["issuer"]}"' in base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)).decode()
    assert discovery["jwks_uri"].endswith("/openid/v1/jwks")
    key, = engine.api.get("/openid/v1/jwks")["keys"]
    assert (key["kty"], key["crv"], key["alg"]) == ("EC", "P-256", "ES256") and "d" not in key
    assert verifies(token, key)


def verifies(token, key):
    """The way of somebody who knows the public key only: OpenSSL."""
    number = lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    point = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200") + b"\x04" + number(key["x"]) + number(key["y"])
    signed, signature = token.rsplit(".", 1)
    raw = number(signature)
    integer = lambda part: (lambda n: bytes([2, len(n)]) + n)(b"\0" * (part.lstrip(b"\0")[:1] > b"\x7f") + part.lstrip(b"\0"))
    body = integer(raw[:32]) + integer(raw[32:])
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        (path / "key.der").write_bytes(point)
        (path / "sig").write_bytes(bytes([0x30, len(body)]) + body)
        (path / "data").write_text(signed)
        done = subprocess.run(["openssl", "dgst", "-sha256", "-verify", path / "key.der", "-keyform", "DER", "-signature", path / "sig", path / "data"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return "Verified OK" in done.stdout


PYTHON_CLIENT = """
import sys
from kubernetes import client, config, stream
config.load_kube_config(sys.argv[1])
api = client.CoreV1Api()
told = stream.stream(api.connect_get_namespaced_pod_exec, "talks", "streams", command=["sh", "-c", "read line; echo got $line; exit 4"], stdin=True,
                     stdout=True, stderr=True, tty=False, _preload_content=False)
told.write_stdin("words\\n")
told.run_forever(timeout=60)
print(told.read_stdout().strip(), told.returncode)
forward = stream.portforward(api.connect_get_namespaced_pod_portforward, "talks", "streams", ports="8081")
socket = forward.socket(8081)
socket.setblocking(True)
socket.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
answer = b""
while not answer.endswith(b"itself\\n"):
    piece = socket.recv(1024)
    assert piece, answer
    answer += piece
print(forward.error(8081), answer.split()[-1].decode())
"""


def test_the_python_client_runs_commands_and_forwards_ports(engine):
    done = subprocess.run([python_with_kubernetes(), "-c", PYTHON_CLIENT, engine.state / "kubeconfig"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=120)
    assert done.stdout == "got words 4\nNone itself\n", done.stdout + done.stderr
