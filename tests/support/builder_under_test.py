"""The real builder with the real sshd and git, and what it needs: controller, object store, the engine's API, and a node that
runs build pods as plain processes of the real slugbuilder."""

import atexit
import base64
import copy
import functools
import http.client
import http.server
import os
import pathlib
import shutil
import subprocess
import threading
import time

import pytest

from controller_under_test import BUILDER_KEY, Cluster, AppsNode
from objectstore_under_test import ACCESS, SECRET
from workflow_testing import BIN, ROOT, free_port, open_folder, run, wait_for

PROGRAMS = ["sshd", "ssh", "git", "unshare"]


class BuildNode(AppsNode):
    """A node on which pods of builds are processes; all others only seem to run."""

    def __init__(self, api, name):
        super().__init__(api, name)
        self.folder = open_folder("workflow-builds-")
        # Builds run as another user, who may not enter every folder that a checkout can be in.
        self.program = shutil.copy(BIN / "slugbuilder", self.folder)
        self.buildpacks = shutil.copytree(ROOT / "buildpacks", self.folder / "buildpacks")
        self.running = {}  # by pod name
        self.may_build, self.may_serve = threading.Event(), threading.Event()  # builds, and pods of apps, wait for these
        self.may_build.set()
        self.may_serve.set()

    def log_of(self, pod):
        return self.folder / f"{pod}.log"

    def start_pod(self, path, pod, number):
        if "builder.deis.io/app" not in pod["metadata"]["labels"]:
            self.may_serve.wait(60)
            return super().start_pod(path, pod, number)
        self.may_build.wait(60)
        name = pod["metadata"]["name"]
        container = pod["spec"]["containers"][0]
        work = self.folder / name
        for folder in ("env", "app", "work"):
            (work / folder).mkdir(parents=True)
        ns = pod["metadata"]["namespace"]
        config = self.secret(ns, next(v["secret"]["secretName"] for v in pod["spec"]["volumes"] if v["name"] == "build-env"))
        env = {"PATH": os.environ["PATH"]}
        for entry in container["env"]:
            if "value" in entry:
                env[entry["name"]] = entry["value"]
            else:
                source = entry["valueFrom"]["secretKeyRef"]
                env[entry["name"]] = self.secret(ns, source["name"]).get(source["key"], b"").decode()
        for key, value in config.items():
            (work / "env" / key).write_bytes(value)
        env.update(ENV_DIR=str(work / "env"), APP_DIR=str(work / "app"), WORK_DIR=str(work / "work"), BUILDPACKS_DIR=str(self.buildpacks))
        user = container["securityContext"]["runAsUser"]
        for own in (work, *work.rglob("*")):
            os.chown(own, user, user)
        with self.log_of(name).open("wb") as log:
            process = subprocess.Popen([self.program], env=env, stdout=log, stderr=log, start_new_session=True, user=user, group=user,
                                       extra_groups=[], cwd="/")
        self.running[name] = process
        self.tell(path, pod, "Running", {"running": {"startedAt": self.now()}})
        status = process.wait()
        del self.running[name]
        ended = {"exitCode": status if status >= 0 else 128 - status, "reason": "Completed" if status == 0 else "Error",
                 "startedAt": self.now(), "finishedAt": self.now()}
        self.tell(path, pod, "Succeeded" if status == 0 else "Failed", {"terminated": ended})
        shutil.rmtree(work, ignore_errors=True)

    def secret(self, ns, name):
        """Its values; none when the builder has given up meanwhile."""
        found, answer = self.api.send("GET", f"/api/v1/namespaces/{ns}/secrets/{name}")
        return {key: base64.b64decode(value) for key, value in (answer.get("data") or {}).items()} if found == 200 else {}

    def see(self, pod):
        process = self.running.get(pod["metadata"]["name"])
        if "deletionTimestamp" in pod["metadata"] and process:
            os.killpg(process.pid, 9)
        super().see(pod)

    def now(self):
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

    def tell(self, path, pod, phase, state):
        container = pod["spec"]["containers"][0]
        status = {"phase": phase, "podIP": "10.42.0.3", "containerStatuses": [
            {"name": container["name"], "image": container["image"], "imageID": "", "ready": phase == "Running", "restartCount": 0,
             "state": state}]}
        self.api.send("PATCH", path + "/status", {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status},
                      "application/merge-patch+json")


class ApiWithLogs:
    """The engine's API, with the logs of the pretended node's builds: an engine without a node has none."""

    def __init__(self, api, node):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self):
                outer.requests.append((self.command, self.path))
                pod = self.path.split("?")[0].removesuffix("/log").rsplit("/", 1)[-1]
                if self.path.split("?")[0].endswith("/log") and node.log_of(pod).exists():
                    return self.send_log(pod)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                upstream = api.connect(timeout=600)
                try:
                    headers = {k: v for k, v in self.headers.items() if k.lower() in ("content-type", "accept")}
                    upstream.request(self.command, self.path, body or None, headers)
                    answer = upstream.getresponse()
                    self.begin(answer.status, answer.headers.get("Content-Type", ""))
                    while piece := answer.read1(65536):
                        self.send_piece(piece)
                    self.send_piece(b"")
                except (OSError, http.client.HTTPException):
                    self.close_connection = True  # broken off by either side: the other is to see the same
                finally:
                    upstream.close()

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward

            def begin(self, status, content_type):
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()

            def send_piece(self, piece):
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                self.wfile.flush()

            def send_log(self, pod):
                self.begin(200, "text/plain")
                with node.log_of(pod).open("rb") as log:
                    while True:
                        ended = pod not in node.running  # before the read: what it wrote last is read after
                        piece = log.read(65536)
                        if piece:
                            self.send_piece(piece)
                        elif ended:
                            break
                        else:
                            time.sleep(0.005)
                self.send_piece(b"")

            def log_message(self, *_):
                pass

        self.requests = []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def write_kubeconfig(self, path):
        path.write_text(f"""apiVersion: v1
kind: Config
current-context: it
contexts: [{{name: it, context: {{cluster: it, user: it, namespace: deis}}}}]
clusters: [{{name: it, cluster: {{server: "http://127.0.0.1:{self.server.server_port}"}}}}]
users: [{{name: it, user: {{token: none}}}}]
""")


class BuildCluster(Cluster):
    """The engine's API and controllers, whose node builds for real."""

    def __init__(self, folder):
        super().__init__(folder)
        self.make_namespace("deis")
        self.api = ApiWithLogs(self.engine.api, self.node)
        self.builder_kubeconfig = pathlib.Path(folder) / "builder-kubeconfig"
        self.api.write_kubeconfig(self.builder_kubeconfig)

    def make_node(self, name):
        return BuildNode(self.engine.api, name)

    def stop(self):
        assert self.engine.stop() == 0
        shutil.rmtree(self.node.folder)

    def objects(self, kind, ns="deis"):
        """What builds have in the platform's namespace."""
        return self.engine.api.get(f"/api/v1/namespaces/{ns}/{kind}?labelSelector=builder.deis.io/app")["items"]

    def names(self, kind, ns="deis"):
        return [item["metadata"]["name"] for item in self.objects(kind, ns)]

    def make_namespace(self, name):
        self.engine.api.send("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


@functools.cache
def host_keys():
    """Made once: an RSA key takes a second."""
    folder = open_folder("workflow-host-keys-")
    for kind in ("ed25519", "ecdsa", "rsa"):
        run("ssh-keygen", "-q", "-t", kind, "-N", "", "-f", folder / f"ssh-host-{kind}-key")
    atexit.register(shutil.rmtree, folder)
    return folder


class Builder:
    """A builder process, in a mount namespace of its own in which there is a user git, and in which the programs lie where
    nobody but root can put others: sshd insists on that, wherever the checkout is."""

    def __init__(self, controller_url, store, kubeconfig, **settings):
        self.folder = open_folder("workflow-builder-")
        self.ssh_port, self.health_port = free_port(), free_port()
        keys = shutil.copytree(host_keys(), self.folder / "host-keys")
        self.repos = self.folder / "repos"
        users = pathlib.Path("/etc/passwd").read_text()
        self.passwd = self.folder / "passwd"
        self.passwd.write_text(users + "git:x:1000:1000::/:/bin/sh\n")
        self.env = {"PATH": os.environ["PATH"], "KUBECONFIG": str(kubeconfig), "POD_NAMESPACE": "deis",
                    "DEIS_CONTROLLER_URL": controller_url, "BUILDER_KEY": BUILDER_KEY, "S3_ENDPOINT": store.url,
                    "S3_ACCESS_KEY": ACCESS, "S3_SECRET_KEY": SECRET, "BUILDER_SSH_HOST_KEYS_DIR": str(keys),
                    "BUILDER_REPOS_DIR": str(self.repos), "BUILDER_RUN_DIR": str(self.folder / "run"),
                    "BUILDER_SSH_PORT": str(self.ssh_port), "BUILDER_HEALTH_PORT": str(self.health_port),
                    "SLUGBUILDER_IMAGE": "localhost/workflow/stack:latest", "LOG_LEVEL": "debug", **settings}
        self.log = self.folder / "builder.log"
        self.process = None

    def launch(self, as_first_process=False):
        """As the first process of a pod, if that is asked for: then it is whom orphans come to."""
        bind = 'mount --bind "$1" /etc/passwd && mount --bind "$2" /mnt && exec /mnt/workflow builder'
        with self.log.open("ab") as log:
            own = ["--pid", "--fork", "--mount-proc"] if as_first_process else []
            self.process = subprocess.Popen(["unshare", "--mount", *own, "--propagation", "private", "sh", "-c", bind, "sh", self.passwd,
                                             BIN], env=self.env, stdout=log, stderr=log)
        return self

    def first_process(self):
        """Of a builder that is one, as this machine counts it."""
        return int(pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text())

    def start(self):
        self.launch()
        wait_for(self.ready, 30, "the builder is ready")
        return self

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.health_port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return None, ""
        finally:
            connection.close()

    def ready(self):
        assert self.process.poll() is None, f"the builder ended:\n{self.output()}"
        return self.get("/readiness")[0] == 200

    def output(self):
        return self.log.read_text()

    def said(self, *words):
        """Whether one line of the log has all the words."""
        return any(all(word in line for word in words) for line in self.output().splitlines())

    def kill(self):
        """As a container's end does: sshd goes with its supervisor, and so do the sessions."""
        self.process.kill()
        self.process.wait(timeout=10)

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
        return self.process and self.process.wait(timeout=90)

    def close(self):
        status = self.stop()
        assert status == 0, self.output()
        shutil.rmtree(self.folder)


class Pusher:
    """Somebody with a key and a folder for repositories."""

    def __init__(self, folder, api, builder, kind="ed25519"):
        self.folder, self.api, self.builder = pathlib.Path(folder), api, builder
        self.folder.mkdir(parents=True)
        self.key = self.folder / "key"
        run("ssh-keygen", "-q", "-t", kind, "-N", "", "-f", self.key)
        self.env = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1",
                    "GIT_AUTHOR_NAME": "T", "GIT_AUTHOR_EMAIL": "t@example.com", "GIT_COMMITTER_NAME": "T",
                    "GIT_COMMITTER_EMAIL": "t@example.com", "GIT_SSH_COMMAND": " ".join(self.ssh_command())}

    def register_key(self):
        answer = self.api.post("/v2/keys/", {"id": f"{self.api.username}@test", "public": self.key.with_suffix(".pub").read_text()})
        assert answer.status_code == 201, answer.text
        return self

    def at(self, builder, folder):
        """The same user, with the same key, at another builder."""
        other = copy.copy(self)
        other.builder, other.folder = builder, pathlib.Path(folder)
        other.folder.mkdir(parents=True)
        return other

    def ssh_command(self):
        return ["ssh", "-F", "none", "-i", str(self.key), "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
                "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]

    def ssh(self, *words, user="git", options=(), **more):
        ssh, *usual = self.ssh_command()
        return run(ssh, *options, *usual, "-p", self.builder.ssh_port, f"{user}@127.0.0.1", *words, check=False, **more)

    def remote(self, app):
        return f"ssh://git@127.0.0.1:{self.builder.ssh_port}/{app}.git"

    def git(self, repository, *words, check=True, **more):
        return run("git", "-C", self.folder / repository, *words, check=check, env=self.env, **more)

    def make(self, repository, files=None):
        """A repository with one commit on master."""
        (self.folder / repository).mkdir()
        self.git(repository, "init", "-q", "-b", "master")
        self.commit(repository, files or {"Procfile": "web: ./serve\n"})

    def commit(self, repository, files, message="change"):
        for path, text in files.items():
            target = self.folder / repository / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            if text.startswith("#!"):
                target.chmod(0o755)
        self.git(repository, "add", "-A")
        self.git(repository, "commit", "-q", "-m", message, "--allow-empty")

    def push(self, repository, app, *refs, check=True, **more):
        return self.git(repository, "push", self.remote(app), *(refs or ["master"]), check=check, **more)

    def start_push(self, repository, app, *refs):
        """A push that goes on: a process whose output can be read as it comes."""
        return subprocess.Popen(["git", "-C", self.folder / repository, "push", self.remote(app), *(refs or ["master"])], env=self.env,
                                text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


def skip_without_programs():
    for program in PROGRAMS:
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin"):
            pytest.skip(f"{program} is not installed")
    if os.geteuid() != 0:
        pytest.skip("sshd needs root")
