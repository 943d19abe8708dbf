"""A platform on this machine and a user of it, driven through the same programs that people use."""

import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import threading
import time

from kubernetes_clients import kubectl
from workflow_testing import DEIS, ROOT, WORKFLOW, free_network, free_port, run, wait_for

APPS = ROOT / "tests" / "apps"


class Platform:
    """`workflow up` in a folder, on ports and networks of its own, so that it runs beside others."""

    def __init__(self, state, domain="localhost"):
        self.state, self.domain = pathlib.Path(state), domain
        self.http, self.https, self.ssh, self.status, self.api = (free_port() for _ in range(5))
        pods = free_network()
        self.options = ["--state", str(state), "--domain", domain, "--http-port", str(self.http),
                        "--https-port", str(self.https), "--ssh-port", str(self.ssh), "--status-port", str(self.status),
                        "--api-port", str(self.api), "--pod-cidr", str(pods),
                        "--service-cidr", str(free_network(avoid=(pods,)))]

    @property
    def controller(self):
        return f"http://deis.{self.domain}:{self.http}"

    def up(self, **options):
        return run(WORKFLOW, "up", *self.options, timeout=240, **options)

    def down(self):
        return run(WORKFLOW, "down", "--state", self.state, timeout=240)

    def kubectl(self, *argv, **options):
        env = dict(os.environ, KUBECONFIG=str(self.state / "kubeconfig"))
        return run(kubectl(), *argv, env=env, **options).stdout

    def pods(self, namespace):
        return json.loads(self.kubectl("get", "pods", "-n", namespace, "-o", "json"))["items"]

    def get(self, host, path="/", method="GET", headers=None, timeout=10):
        """One request through the router on a new connection: (status, headers, text)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=timeout)
        try:
            connection.request(method, path, headers={"Host": host, **(headers or {})})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read().decode(errors="replace")
        finally:
            connection.close()

    def app(self, name, path="/"):
        return self.get(f"{name}.{self.domain}", path)

    def wait_served(self, name, text, limit=15):
        """Waits until the app's page contains `text`, and returns the page."""

        def served():
            status, _, body = self.app(name)
            return body if status == 200 and text in body else None

        return wait_for(served, limit, f"{name} serves {text!r}")


class User:
    """Somebody with an account, an SSH key and a folder for repositories."""

    def __init__(self, platform, name, folder):
        self.platform, self.name = platform, name
        self.folder = pathlib.Path(folder) / name
        self.folder.mkdir(parents=True)
        self.key = self.folder / "id_ed25519"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self.key)
        self.env = dict(
            os.environ,
            HOME=str(self.folder),
            DEIS_PROFILE=str(self.folder / "client.json"),
            GIT_SSH_COMMAND=f"ssh -i {self.key} -F /dev/null -o IdentitiesOnly=yes -o HostName=127.0.0.1 "
            f"-o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={self.folder}/known_hosts",
            GIT_AUTHOR_NAME=name, GIT_AUTHOR_EMAIL=f"{name}@example.com",
            GIT_COMMITTER_NAME=name, GIT_COMMITTER_EMAIL=f"{name}@example.com",
        )

    def deis(self, *argv, **options):
        options.setdefault("cwd", self.folder)
        return run(DEIS, *argv, env=self.env, **options)

    def register(self, by=None, password="correct horse"):
        """The first user registers without help; later ones are registered by an administrator."""
        account = [self.platform.controller, f"--username={self.name}", f"--password={password}"]
        if by is None:
            self.deis("register", *account, f"--email={self.name}@example.com")
        else:
            by.deis("register", *account, f"--email={self.name}@example.com", "--login=false")
            self.deis("login", *account)
        self.deis("keys:add", f"{self.key}.pub")
        return self

    def remote(self, app):
        return f"ssh://git@deis-builder.{self.platform.domain}:{self.platform.ssh}/{app}.git"

    def create(self, app, sample):
        """An app, and a repository with a copy of a sample; nothing is pushed yet."""
        self.deis("create", app, "--no-remote")
        repository = self.folder / app
        shutil.copytree(APPS / sample, repository)
        self.git(app, "init", "-q", "-b", "master")
        self.git(app, "remote", "add", "deis", self.remote(app))
        self.commit(app, "first")
        return repository

    def git(self, app, *argv, **options):
        return run("git", *argv, cwd=self.folder / app, env=self.env, timeout=300, **options)

    def commit(self, app, message):
        self.git(app, "add", "-A")
        self.git(app, "commit", "-q", "-m", message)

    def push(self, app, **options):
        return self.git(app, "push", "deis", "master", **options).stdout

    def deploy(self, app, sample):
        repository = self.create(app, sample)
        output = self.push(app)
        return repository, output


class Load:
    """A steady stream of requests at an app; remembers every answer with another status and every broken connection."""

    def __init__(self, platform, app, per_second=200, threads=8, path="/", status=200):
        self.platform, self.app, self.threads, self.path, self.status = platform, app, threads, path, status
        self.interval = threads / per_second
        self.sent, self.failures = 0, []
        self._stop = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self):
        self._workers = [threading.Thread(target=self._work, args=(i,)) for i in range(self.threads)]
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for worker in self._workers:
            worker.join()

    def _connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.platform.http, timeout=10)

    def _ask(self, connection):
        connection.request("GET", self.path, headers={"Host": f"{self.app}.{self.platform.domain}"})
        response = connection.getresponse()
        return response, response.read()

    def _work(self, index):
        # Half of the clients keep their connection, half open a new one for each request.
        keep = index % 2 == 0
        connection = None
        due = time.monotonic()
        while not self._stop.is_set():
            due += self.interval
            time.sleep(max(0, due - time.monotonic()))
            problem = None
            try:
                reused = connection is not None
                if not reused:
                    connection = self._connect()
                try:
                    response, body = self._ask(connection)
                except ConnectionError:
                    # RFC 9112, section 9.3.1: a server may close an idle connection at any time, and the client sends a
                    # GET that met that on a new one, as browsers and Go do. A new connection has no such excuse.
                    if not reused:
                        raise
                    connection = self._connect()
                    response, body = self._ask(connection)
                if response.status != self.status:
                    problem = f"{response.status} {body[:80]!r}"
                if not keep or response.will_close:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                problem = repr(error)
                connection = None
            with self._lock:
                self.sent += 1
                if problem:
                    self.failures.append((round(time.time(), 2), problem))


def kill(pid):
    os.kill(pid, signal.SIGKILL)


def processes_of(platform):
    """Every process of the platform on this machine: {pid: command line}. Apps' own processes are not among them."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        found[int(entry.name)] = " ".join(words).strip()
    return found


__all__ = ["Platform", "User", "Load", "kill", "processes_of", "subprocess"]
