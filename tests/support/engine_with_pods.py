"""A whole engine with containerd, in a folder and on addresses of its own, and pods made of one small image."""

import hashlib
import io
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tarfile

import pytest

from engine_under_test import Api
from workflow_testing import WORKFLOW, free_port, run, wait_for

IMAGE = "localhost/workflow/pods-under-test:1"
BUSYBOX = pathlib.Path("/bin/busybox")
# Test runs side by side need networks of their own, and so do pytest's workers.
_networks = itertools.count(int(os.environ.get("WORKFLOW_TEST_NETWORK", "0")) +
                            20 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")))


def missing_parts():
    """Why no engine with pods can run here, or None."""
    if os.geteuid() != 0:
        return "pods need root"
    for program in ("containerd", "runc", "nft"):
        if not shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin"):
            return f"{program} is not installed"
    return None if BUSYBOX.exists() else "busybox-static is not installed"


def image_archive(path):
    """A docker archive with busybox and its names for itself, and users root and app (1000)."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        def add(name, data=b"", kind=tarfile.REGTYPE, mode=0o755, link=""):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.size, info.linkname = kind, mode, len(data), link
            tar.addfile(info, io.BytesIO(data))

        for folder in ("bin", "etc", "dev", "proc", "sys", "data"):
            add(folder, kind=tarfile.DIRTYPE)
        add("tmp", kind=tarfile.DIRTYPE, mode=0o1777)
        add("bin/busybox", BUSYBOX.read_bytes())
        for applet in run(BUSYBOX, "--list").stdout.split():
            if applet != "busybox":
                add("bin/" + applet, kind=tarfile.SYMTYPE, link="busybox")
        add("etc/passwd", b"root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n", mode=0o644)
        add("etc/group", b"root:x:0:\napp:x:1000:\n", mode=0o644)
    layer = layer.getvalue()
    digest = lambda data: hashlib.sha256(data).hexdigest()
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
                         "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest(layer)]}}).encode()
    manifest = json.dumps([{"Config": digest(config) + ".json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, "w") as tar:
        for name, data in ((digest(config) + ".json", config), ("layer.tar", layer), ("manifest.json", manifest)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


class PodEngine:
    """The engine's process; pods and containerd outlive it until close()."""

    def __init__(self, state):
        self.state = pathlib.Path(state)
        self.port = free_port()
        number = next(_networks)
        self.options = ["--state", self.state, "--api-port", str(self.port), "--pod-cidr", f"10.{170 + 2 * number}.0.0/24",
                        "--service-cidr", f"10.{171 + 2 * number}.0.0/24"]
        self.process = None
        try:
            self.start()
            archive = self.state / "image.tar"
            image_archive(archive)
            self.ctr("images", "import", "--no-unpack=false", archive)
            archive.unlink()
        except BaseException:
            self.close()
            raise

    def ctr(self, *arguments):
        return run("ctr", "-a", self.state / "containerd/containerd.sock", "-n", "k8s.io", *arguments).stdout

    def launch(self):
        self.log = open(self.state / "engine.log", "a")
        self.process = subprocess.Popen([WORKFLOW, "engine", *map(str, self.options)], stdout=self.log, stderr=self.log)

    def start(self):
        self.launch()
        self.wait_ready()
        self.api = Api(self.state / "kubeconfig")

    def wait_ready(self):
        wait_for(self.answers, 40, "the engine is ready")

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError((self.state / "engine.log").read_text()[-4000:])
        done = subprocess.run(["curl", "-sk", "-m", "2", f"https://127.0.0.1:{self.port}/readyz"], stdout=subprocess.PIPE)
        return done.stdout.strip() == b"ok"

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def close(self):
        self.stop()
        run(WORKFLOW, "engine", *map(str, self.options), "--teardown", timeout=120)
        left = [line for line in pathlib.Path("/proc/self/mounts").read_text().splitlines() if str(self.state) in line]
        assert not left, left

    # --- objects

    def path(self, kind, ns, name=""):
        groups = {"deployments": "/apis/apps/v1", "replicasets": "/apis/apps/v1", "daemonsets": "/apis/apps/v1", "statefulsets": "/apis/apps/v1",
                  "controllerrevisions": "/apis/apps/v1", "jobs": "/apis/batch/v1", "roles": "/apis/rbac.authorization.k8s.io/v1",
                  "rolebindings": "/apis/rbac.authorization.k8s.io/v1", "cronjobs": "/apis/batch/v1", "networkpolicies": "/apis/networking.k8s.io/v1",
                  "poddisruptionbudgets": "/apis/policy/v1", "horizontalpodautoscalers": "/apis/autoscaling/v2"}
        return f"{groups.get(kind, '/api/v1')}/namespaces/{ns}/{kind}/{name}".rstrip("/")

    def namespace(self, name):
        assert self.api.send("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": {"name": name}}})[0] == 201
        wait_for(lambda: self.find("serviceaccounts", name, "default"), 10, "the namespace's account")
        return name

    def create(self, kind, ns, name, spec=None, **fields):
        metadata = {"name": name, **fields.pop("metadata", {})}
        body = {"metadata": metadata, **({"spec": spec} if spec is not None else {}), **fields}
        status, answer = self.api.send("POST", self.path(kind, ns), body)
        assert status == 201, answer
        return answer

    def find(self, kind, ns, name):
        status, answer = self.api.send("GET", self.path(kind, ns, name))
        return answer if status == 200 else None

    def patch(self, kind, ns, name, change, subresource=""):
        status, answer = self.api.send("PATCH", self.path(kind, ns, name) + subresource, change, "application/merge-patch+json")
        assert status == 200, answer
        return answer

    def delete(self, kind, ns, name, grace=None):
        body = None if grace is None else {"gracePeriodSeconds": grace}
        return self.api.send("DELETE", self.path(kind, ns, name), body)

    def events(self, ns, name):
        return [e for e in self.api.get(f"/api/v1/namespaces/{ns}/events")["items"] if e["involvedObject"]["name"] == name]

    def wait_event(self, ns, name, reason, limit=20):
        return wait_for(lambda: next((e for e in self.events(ns, name) if e["reason"] == reason), None), limit, f"event {reason} of {name}")

    # --- pods

    def pod(self, ns, name, script="sleep 1000", container=None, labels=None, metadata=None, **spec):
        """A pod of one container that runs a shell script; more containers and fields by `spec`."""
        main = {"name": "c", "image": IMAGE, "command": ["sh", "-c", script], **(container or {})}
        body = {"terminationGracePeriodSeconds": 1, "containers": [main], "automountServiceAccountToken": False, **spec}
        return self.create("pods", ns, name, body, metadata={"labels": labels or {"app": name}, **(metadata or {})})

    def wait_pod(self, ns, name, condition, limit=30):
        """Watches the pod until condition(pod) holds, and returns it."""
        seen = {}

        def look():
            seen["pod"] = self.find("pods", ns, name)
            return seen["pod"] if seen["pod"] and condition(seen["pod"]) else None

        try:
            return wait_for(look, limit, f"pod {name}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {json.dumps((seen['pod'] or {}).get('status'), indent=1)}") from None

    def wait_running(self, ns, name, limit=30):
        return self.wait_pod(ns, name, is_ready, limit)

    def wait_phase(self, ns, name, phase, limit=30):
        return self.wait_pod(ns, name, lambda pod: pod["status"].get("phase") == phase, limit)

    def output(self, ns, name, **options):
        query = "&".join(f"{key}={value}" for key, value in options.items())
        status, text = self.api.send("GET", self.path("pods", ns, name) + "/log?" + query)
        assert status == 200, text
        return text

    def run(self, ns, name, script, limit=30, **spec):
        """What a script prints in a pod of its own, once it has ended."""
        self.pod(ns, name, script, restartPolicy="Never", **spec)
        self.wait_pod(ns, name, lambda pod: pod["status"].get("phase") in ("Succeeded", "Failed"), limit)
        return str(self.output(ns, name))

    def gone(self, kind, ns, name, limit=20):
        wait_for(lambda: self.find(kind, ns, name) is None, limit, f"{name} is gone")


def is_ready(pod):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def container(pod, name="c"):
    statuses = pod["status"].get("containerStatuses", []) + pod["status"].get("initContainerStatuses", [])
    return next((c for c in statuses if c["name"] == name), None)


def fetch(address, port, limit=5):
    """One page over HTTP from this machine; what curl says in parentheses when there is none."""
    done = subprocess.run(["curl", "-sS", "-m", str(limit), f"http://{address}:{port}/"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return done.stdout.strip() if done.returncode == 0 else f"({done.stderr.strip()})"


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """One engine for the tests of a file that imports this."""
    engine = PodEngine(tmp_path_factory.mktemp("engine"))
    yield engine
    engine.close()


@pytest.fixture
def ns(engine, request):
    """A namespace named after the test, removed with all that is in it."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[:40].strip("-")
    engine.namespace(name)
    yield name
    engine.api.send("DELETE", f"/api/v1/namespaces/{name}")
