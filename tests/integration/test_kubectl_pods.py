"""kubectl and running containers: exec with a terminal, cp, logs that are followed, attach, top, and the API as
a pod sees it with its own account. The newest kubectl: Debian's knows only SPDY for streams, which the engine does not speak."""

import hashlib
import os
import pathlib
import pty
import re
import subprocess
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from engine_with_pods import PodEngine, missing_parts  # noqa: E402
from kubernetes_clients import debian_kubectl, newest_kubectl  # noqa: E402
from workflow_testing import wait_for  # noqa: E402

if missing_parts():
    pytest.skip(missing_parts(), allow_module_level=True)

NS = "tools"
# Says a number whenever a line comes in, and every line of the file that the test appends to.
TALKS = "touch /tmp/said; tail -f /tmp/said & while read line; do echo \"heard $line\"; done; wait"


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    engine = PodEngine(tmp_path_factory.mktemp("engine"))
    engine.program = newest_kubectl()
    engine.env = dict(os.environ, KUBECONFIG=str(engine.state / "kubeconfig"), HOME=str(engine.state))
    engine.namespace(NS)
    engine.pod(NS, "talks", TALKS, container={"stdin": True})
    engine.wait_running(NS, "talks")
    yield engine
    engine.close()


@pytest.fixture
def kubectl(engine):
    def called(*argv, check=True, program=None, **options):
        options.setdefault("timeout", 60)
        done = subprocess.run([program or engine.program, "-n", NS, *argv], env=engine.env, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, **options)
        assert not check or done.returncode == 0, done.stdout
        return done.stdout if check else (done.returncode, done.stdout)

    return called


class Terminal:
    """A command on a terminal of its own, as a person has it."""

    def __init__(self, engine, *argv):
        self.parent, child = pty.openpty()
        self.process = subprocess.Popen([engine.program, "-n", NS, *argv], env=engine.env, stdin=child, stdout=child, stderr=child,
                                        start_new_session=True)
        os.close(child)
        self.text = ""
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            while data := os.read(self.parent, 4096):
                self.text += data.decode(errors="replace")
        except OSError:
            pass  # the other side is closed

    def type(self, text):
        os.write(self.parent, text.encode())

    def sees(self, text):
        wait_for(lambda: text in self.text, 20, f"{text!r} in {self.text!r}")

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.parent)


def test_exec_runs_a_command_and_hands_on_its_end(kubectl):
    assert kubectl("exec", "talks", "--", "echo", "a b", "c") == "a b c\n"
    assert kubectl("exec", "-i", "talks", "--", "head", "-n1", input="piped through\n") == "piped through\n"
    code, text = kubectl("exec", "talks", "--", "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert code == 7 and "out\n" in text and "err\n" in text
    code, text = kubectl("exec", "talks", "--", "no-such-program", check=False)
    assert code != 0 and "no-such-program" in text
    code, text = kubectl("exec", "talks", "-c", "other", "--", "true", check=False)
    assert code == 1 and "other" in text
    code, text = kubectl("exec", "nobody", "--", "true", check=False)
    assert code == 1 and 'pods "nobody" not found' in text


def test_exec_it_is_a_terminal(engine):
    terminal = Terminal(engine, "exec", "-it", "talks", "--", "sh")
    try:
        terminal.sees("#")
        terminal.type("tty; stty size; echo sum $((40 + 2))\n")
        terminal.sees("sum 42")
        assert "/dev/" in terminal.text and "not a tty" not in terminal.text
        terminal.type("exit 3\n")
        assert terminal.process.wait(timeout=20) == 3
    finally:
        terminal.close()


def test_cp_out_of_a_pod(kubectl, tmp_path):
    kubectl("exec", "talks", "--", "sh", "-c", "mkdir /tmp/made; head -c 300000 /dev/urandom > /tmp/made/one; echo second > /tmp/made/two")
    kubectl("cp", "talks:/tmp/made", str(tmp_path / "back"))
    sums = kubectl("exec", "talks", "--", "sh", "-c", "cd /tmp/made; sha256sum one two")
    here = "".join(f"{hashlib.sha256((tmp_path / 'back' / name).read_bytes()).hexdigest()}  {name}\n" for name in ("one", "two"))
    assert sums == here


def test_logs_are_told_and_followed(engine, kubectl):
    kubectl("exec", "talks", "--", "sh", "-c", "for i in 1 2 3; do echo line $i >> /tmp/said; done")
    wait_for(lambda: "line 3" in kubectl("logs", "talks"), 20, "the lines are in the log")
    assert kubectl("logs", "talks", "--tail=2") == "line 2\nline 3\n"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z line 3\n", kubectl("logs", "talks", "--tail=1", "--timestamps"))
    assert kubectl("logs", "talks", "--since=1h") == "line 1\nline 2\nline 3\n"
    following = subprocess.Popen([engine.program, "-n", NS, "logs", "-f", "--tail=1", "talks"], env=engine.env, text=True,
                                 stdout=subprocess.PIPE)
    try:
        assert following.stdout.readline() == "line 3\n"
        kubectl("exec", "talks", "--", "sh", "-c", "echo followed >> /tmp/said")
        assert following.stdout.readline() == "followed\n"
    finally:
        following.terminate()
        following.wait(timeout=10)


def test_logs_of_the_container_before(engine, kubectl):
    engine.pod(NS, "restarts", "if [ -e /data/again ]; then echo second; sleep 1000; fi; touch /data/again; echo first; exit 1",
               container={"volumeMounts": [{"name": "data", "mountPath": "/data"}]}, volumes=[{"name": "data", "emptyDir": {}}])
    engine.wait_running(NS, "restarts")
    wait_for(lambda: kubectl("logs", "restarts") == "second\n", 20, "the second container writes")
    assert kubectl("logs", "restarts", "--previous") == "first\n"
    code, text = kubectl("logs", "talks", "--previous", check=False)
    assert code == 1 and "previous terminated container" in text


def test_attach_is_the_containers_own_input_and_output(engine):
    attached = subprocess.Popen([engine.program, "-n", NS, "attach", "-i", "talks"], env=engine.env, text=True, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        attached.stdin.write("me\n")
        attached.stdin.flush()
        for line in attached.stdout:
            if line == "heard me\n":
                break
        else:
            raise AssertionError("the container was not heard")
    finally:
        attached.terminate()
        attached.wait(timeout=10)


def test_top_measures(kubectl):
    table = wait_for(lambda: re.search(r"^talks +\d+m +\d+Mi", kubectl("top", "pods", check=False)[1], re.M), 40, "the pod is measured")
    assert table
    assert re.search(r"^\S+ +\d+m +\d+% +\d+Mi +\d+%", kubectl("top", "nodes"), re.M)


def test_what_is_not_spoken_says_what_to_use(kubectl):
    code, text = kubectl("exec", "talks", "--", "true", check=False, program=debian_kubectl())
    assert code == 1 and "use kubectl 1.30 or newer" in text
    code, text = kubectl("port-forward", "pod/talks", "18080:80", check=False)
    assert code == 1 and "portforward is not supported by this engine" in text


def test_a_pod_uses_the_api_with_its_own_account(engine, kubectl):
    kubectl("create", "serviceaccount", "reader")
    kubectl("create", "role", "reads", "--verb=get,list", "--resource=pods")
    kubectl("create", "rolebinding", "readers", "--role=reads", f"--serviceaccount={NS}:reader")
    mounted = engine.run(NS, "mounted", "ls /var/run/secrets/kubernetes.io/serviceaccount; cat /var/run/secrets/kubernetes.io/serviceaccount/namespace",
                         serviceAccountName="reader", automountServiceAccountToken=True)
    assert mounted.split() == ["ca.crt", "namespace", "token", NS]
    token = engine.run(NS, "token", "cat /var/run/secrets/kubernetes.io/serviceaccount/token", serviceAccountName="reader",
                       automountServiceAccountToken=True).strip()
    # The pod's shell speaks no TLS, so its token is tried from here.
    config = ["--token", token, "--kubeconfig=/dev/null", "--insecure-skip-tls-verify", "--server", f"https://127.0.0.1:{engine.port}"]
    assert "talks" in kubectl("get", "pods", "-o", "name", *config)
    code, text = kubectl("get", "secrets", *config, check=False)
    assert code == 1 and "cannot list resource" in text
    # Bound to its pod: it is worth nothing once that is gone.
    kubectl("delete", "pod", "token")
    code, text = kubectl("get", "pods", *config, check=False)
    assert code == 1 and "Unauthorized" in text


# containerd 1.6 speaks a form of WebSocket streams in which input has no end, so what reads to the end waits for ever.
INPUT_HAS_NO_END = pytest.mark.xfail(raises=subprocess.TimeoutExpired, strict=True, reason="the end of exec's input is not handed on")


@INPUT_HAS_NO_END
def test_exec_hands_on_the_end_of_input(kubectl):
    assert kubectl("exec", "-i", "talks", "--", "wc", "-c", input="piped", timeout=15).strip() == "5"


@INPUT_HAS_NO_END
def test_cp_into_a_pod(kubectl, tmp_path):
    (tmp_path / "one").write_bytes(os.urandom(300_000))
    kubectl("cp", str(tmp_path / "one"), "talks:/tmp/one", timeout=15)
