"""kubectl and running containers: exec with input and a terminal, cp both ways, logs that are followed, attach, top, and the API as
a pod sees it with its own account. The newest kubectl; what older ones speak is in test_engine_streams.py."""

import concurrent.futures
import fcntl
import hashlib
import os
import pathlib
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from engine_with_pods import IMAGE, PodEngine, container, missing_parts  # noqa: E402
from kubernetes_clients import newest_kubectl  # noqa: E402
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
    def called(*argv, check=True, **options):
        options.setdefault("timeout", 60)
        done = subprocess.run([engine.program, "-n", NS, *argv], env=engine.env, text=True, stdout=subprocess.PIPE,
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


def digest(data):
    return hashlib.sha256(data).hexdigest()


def processes(kubectl, word):
    """The processes of the pod whose command line has this word, but for the ones that look for it."""
    return [line for line in kubectl("exec", "talks", "--", "ps", "-o", "pid,args").splitlines() if word in line and "ps -o" not in line]


def traces(engine):
    return sorted(f.name for f in (engine.state / "exec").iterdir())


def test_exec_hands_on_the_end_of_input(engine, kubectl):
    assert kubectl("exec", "-i", "talks", "--", "wc", "-c", input="piped").strip() == "5"
    assert kubectl("exec", "-i", "talks", "--", "wc", "-c", input="").strip() == "0"
    assert kubectl("exec", "-i", "talks", "--", "sh", "-c", "cat > /dev/null", input="no output\n") == ""
    # What does not read its input is not held up by it.
    assert kubectl("exec", "-i", "talks", "--", "echo", "deaf", input="x" * 3_000_000) == "deaf\n"
    assert kubectl("exec", "-i", "talks", "--", "sh", "-c", "exec < /dev/null; sleep 1; echo closed", input="x" * 3_000_000) == "closed\n"
    code, text = kubectl("exec", "-i", "talks", "--", "sh", "-c", "cat; exit 3", input="and a code\n", check=False)
    assert code == 3 and text.startswith("and a code\n")
    assert traces(engine) == []


def test_exec_passes_much_through_unchanged_and_keeps_little(engine, tmp_path):
    size = 300_000_000
    block = os.urandom(1_000_000)
    command = [engine.program, "-n", NS, "exec", "-i", "talks", "--", "cat"]
    memory = lambda: int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{engine.process.pid}/status").read_text())[1])
    before = memory()
    process = subprocess.Popen(command, env=engine.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    sent, came = hashlib.sha256(), hashlib.sha256()

    def send():
        for _ in range(size // len(block)):
            process.stdin.write(block)
            sent.update(block)
        process.stdin.close()

    sender = threading.Thread(target=send)
    sender.start()
    while data := process.stdout.read(1 << 20):
        came.update(data)
    sender.join()
    assert process.wait(timeout=20) == 0
    assert came.hexdigest() == sent.hexdigest()
    assert memory() - before < 60_000, "the engine holds on to what went through"


def test_cp_both_ways(kubectl, tmp_path):
    data = os.urandom(20_000_000)
    (tmp_path / "big").write_bytes(data)
    kubectl("cp", str(tmp_path / "big"), "talks:/tmp/big")
    assert kubectl("exec", "talks", "--", "sha256sum", "/tmp/big").split()[0] == digest(data)
    kubectl("cp", "talks:/tmp/big", str(tmp_path / "back"))
    assert digest((tmp_path / "back").read_bytes()) == digest(data)

    folder = tmp_path / "folder" / "below"
    folder.mkdir(parents=True)
    for number in range(20):
        (folder / f"file {number}").write_bytes(os.urandom(1000 * number))
    kubectl("cp", str(tmp_path / "folder"), "talks:/tmp/folder")
    kubectl("cp", "talks:/tmp/folder", str(tmp_path / "again"))
    files = lambda root: {f.relative_to(root): f.read_bytes() for f in root.rglob("*") if f.is_file()}
    assert files(tmp_path / "again") == files(tmp_path / "folder") and len(files(tmp_path / "folder")) == 20


def test_a_terminal_has_the_size_of_its_client_and_follows_it(engine):
    terminal = Terminal(engine, "exec", "-it", "talks", "--", "sh")
    try:
        resize(terminal, 33, 101)
        terminal.sees("#")
        wait_for(lambda: asks_size(terminal, "33 101"), 20, "the first size")
        resize(terminal, 44, 77)
        wait_for(lambda: asks_size(terminal, "44 77"), 20, "the second size")
        terminal.type("exit\n")
        assert terminal.process.wait(timeout=20) == 0
    finally:
        terminal.close()


def resize(terminal, rows, columns):
    fcntl.ioctl(terminal.parent, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    terminal.process.send_signal(signal.SIGWINCH)


def asks_size(terminal, size):
    terminal.type("stty size\n")
    return size in terminal.text


def held(engine, script, *options, stdin=subprocess.PIPE):
    return subprocess.Popen([engine.program, "-n", NS, "exec", *options, "talks", "--", "sh", "-c", script], env=engine.env, stdin=stdin,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("script", ["sleep 7701; true", "trap '' HUP; sleep 7701; true", "yes 7701", "cat > /dev/null; sleep 7701; true"])
def test_a_command_ends_with_its_client(engine, kubectl, script):
    client = held(engine, "echo begun; " + script, "-i")
    assert client.stdout.readline() == b"begun\n"
    client.kill()
    client.wait()
    wait_for(lambda: not processes(kubectl, "7701"), 10, "no process is left")
    wait_for(lambda: traces(engine) == [], 10, "no FIFO is left")


def test_a_command_that_does_not_read_ends_with_its_client(engine, kubectl):
    client = held(engine, "echo begun; sleep 7702", "-i")
    assert client.stdout.readline() == b"begun\n"
    threading.Thread(target=stuff, args=(client.stdin,), daemon=True).start()
    wait_for(lambda: len(processes(kubectl, "7702")) > 0, 10, "it runs")
    client.kill()
    client.wait()
    wait_for(lambda: not processes(kubectl, "7702"), 10, "no process is left")
    wait_for(lambda: traces(engine) == [], 10, "no FIFO is left")


def stuff(pipe):
    try:
        pipe.write(b"x" * 50_000_000)
    except OSError:
        pass  # the client is killed


def test_many_commands_at_once(engine, kubectl):
    data = [os.urandom(200_000) for _ in range(20)]
    with concurrent.futures.ThreadPoolExecutor(len(data)) as pool:
        run = lambda one: subprocess.run([engine.program, "-n", NS, "exec", "-i", "talks", "--", "sha256sum"], env=engine.env, input=one,
                                         stdout=subprocess.PIPE, timeout=120).stdout.split()[0].decode()
        assert list(pool.map(run, data)) == [digest(one) for one in data]
    assert traces(engine) == []


def test_a_container_that_does_not_run_is_refused(engine, kubectl):
    engine.pod(NS, "half", "true", restartPolicy="Never", containers=[
        {"name": "done", "image": IMAGE, "command": ["true"]}, {"name": "on", "image": IMAGE, "command": ["sleep", "1000"]}])
    engine.wait_pod(NS, "half", lambda pod: "terminated" in (container(pod, "done") or {"state": {}})["state"])
    code, text = kubectl("exec", "half", "-c", "done", "--", "true", check=False)
    assert code == 1 and "container done is not running" in text
    assert kubectl("exec", "half", "-c", "on", "--", "echo", "well") == "well\n"


# The tests below restart parts of the engine.


def test_a_command_ends_with_an_error_when_containerd_ends(engine, kubectl):
    client = subprocess.Popen([engine.program, "-n", NS, "exec", "talks", "--", "sh", "-c", "echo begun; sleep 7703"], env=engine.env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert client.stdout.readline() == "begun\n"
    os.kill(int((engine.state / "containerd/containerd.pid").read_text()), signal.SIGKILL)
    _, errors = client.communicate(timeout=30)
    assert client.returncode == 1 and "containerd went away" in errors
    wait_for(lambda: kubectl("exec", "talks", "--", "true", check=False)[0] == 0, 30, "containerd is back")
    wait_for(lambda: not processes(kubectl, "7703"), 30, "no process is left")
    wait_for(lambda: traces(engine) == [], 10, "no FIFO is left")


def test_an_engine_that_stops_takes_its_commands_along(engine, kubectl):
    client = held(engine, "echo begun; sleep 7704", "-i")
    assert client.stdout.readline() == b"begun\n"
    begun = time.monotonic()
    assert engine.stop() == 0
    assert time.monotonic() - begun < 8
    assert client.wait(timeout=20) != 0
    assert traces(engine) == []
    engine.start()
    assert not processes(kubectl, "7704")


def test_an_engine_clears_up_after_one_that_was_killed(engine, kubectl):
    clients = [held(engine, "echo begun; " + script, "-i") for script in ("sleep 7705", "yes 7705", "cat; sleep 7705")]
    for client in clients:
        assert client.stdout.readline() == b"begun\n"
    engine.kill()
    for client in clients:
        client.kill()
        client.wait()
    assert len(traces(engine)) == 3
    engine.start()
    wait_for(lambda: not processes(kubectl, "7705"), 20, "no process is left")
    wait_for(lambda: traces(engine) == [], 10, "no FIFO is left")
