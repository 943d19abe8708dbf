"""A real controller on a real PostgreSQL and the real engine's API, and its users. Fixtures: import them by name."""

import http.client
import itertools
import os
import pathlib
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import time

import pytest
import requests

from engine_under_test import Engine, PretendedNode
from workflow_testing import WORKFLOW, free_port, run, wait_for

POSTGRES = pathlib.Path("/usr/lib/postgresql/15/bin")
MISSING_IMAGE = "localhost/missing/app:v1"
BUILDER_KEY = "a-builder-key-of-the-tests"


class Postgres:
    """A server of its own in a temporary folder, behind a Unix socket."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="workflow-sql-"))
        self.user = "postgres" if os.geteuid() == 0 else None
        if self.user:
            account = pwd.getpwnam(self.user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self.numbers = itertools.count()
        run(POSTGRES / "initdb", "-D", self.folder / "data", "-U", "postgres", "--auth=trust", "--no-sync", "--no-instructions",
            user=self.user, cwd="/")
        self.process = None
        self.start()

    def start(self):
        self.launch()
        wait_for(self.answers, 60, "PostgreSQL answers")

    def launch(self):
        self.log = self.folder / "log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [POSTGRES / "postgres", "-D", self.folder / "data", "-k", self.folder, "-c", "listen_addresses=", "-c", "fsync=off",
                 "-c", "log_line_prefix=@@%p %d "], user=self.user, cwd="/", stdout=log, stderr=log)

    def statements(self, database, work):
        """What `database` is asked while `work()` runs, with its parameters filled in: a list for each connection, for transactions of
        several run at a time."""
        self.set_logging("all")
        before = self.log.stat().st_size
        work()
        text = self.log.read_bytes()[before:].decode()
        self.set_logging("none")
        connections = {}
        for entry in re.split(r"^@@", text, flags=re.M)[1:]:
            process, where, message = entry.strip().split(" ", 2)
            if where != database:
                continue
            asked = connections.setdefault(process, [])
            statement = re.match(r"LOG:  (?:execute [^:]+|statement): (.*)", message, re.S)
            if statement:
                asked.append(statement[1])
            elif message.startswith("DETAIL:  parameters: "):
                for name, value in re.findall(r"\$(\d+) = ('(?:[^']|'')*'|NULL)", message):
                    asked[-1] = re.sub(rf"\${name}\b", lambda _: value, asked[-1])  # noqa: B023
        return [[" ".join(statement.split()).rstrip(";") for statement in asked] for asked in connections.values()]

    def set_logging(self, what):
        """Takes effect in every backend before it takes its next statement."""
        self.psql(f"alter system set log_statement = '{what}'")
        self.psql("select pg_reload_conf()")
        wait_for(lambda: self.psql("show log_statement").stdout.strip() == what, 10, "the log is as asked")
        time.sleep(0.2)  # backends of before read it on a signal of their own

    def answers(self):
        if self.process.poll() is not None:
            self.launch()  # its children of before, which were not killed, may not have left yet
        return self.psql("select 1", check=False).returncode == 0

    def kill(self):
        self.process.kill()
        self.process.wait(timeout=10)

    def stop(self):
        self.process.send_signal(2)
        self.process.wait(timeout=30)

    def psql(self, text, database="postgres", check=True):
        return run("psql", "-X", "-A", "-t", "-h", self.folder, "-U", "postgres", "-d", database, "-c", text, check=check)

    def hold(self, database, table):
        """A process in whose transaction the table is locked; it ends with the server."""
        holder = subprocess.Popen(["psql", "-X", "-q", "-h", self.folder, "-U", "postgres", "-d", database, "-c",
                                   f"begin; lock table {table}; select pg_sleep(600)"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        taken = f"select count(*) from pg_locks where relation = '{table}'::regclass and mode = 'AccessExclusiveLock' and granted"
        wait_for(lambda: self.psql(taken, database).stdout.strip() == "1", 30, f"{table} is locked")
        return holder

    def new_database(self):
        name = f"test_{next(self.numbers)}"
        self.psql(f"create database {name}")
        return name

    def close(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Controller:
    """One controller process. Several may share a database."""
    prefix = ()  # of its command

    def __init__(self, postgres, kubeconfig, database=None, **settings):
        self.postgres = postgres
        self.database = database or postgres.new_database()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = dict(os.environ, CONTROLLER_PORT=str(self.port), DATABASE_HOST=str(postgres and postgres.folder), DATABASE_NAME=self.database,
                        DATABASE_USER="postgres", DATABASE_PASSWORD="unused", BUILDER_KEY=BUILDER_KEY, KUBECONFIG=str(kubeconfig),
                        SLUGRUNNER_IMAGE="localhost/workflow/stack:latest", S3_ENDPOINT="http://127.0.0.1:9", S3_ACCESS_KEY="a",
                        S3_SECRET_KEY="s", REGISTRATION_MODE="enabled")
        self.env.update(settings)
        self.process = None
        self.log = tempfile.TemporaryFile(mode="w+", prefix="workflow-controller-")

    def launch(self):
        self.process = subprocess.Popen([*self.prefix, WORKFLOW, "controller"], env=self.env, stdout=self.log, stderr=self.log)
        return self

    def start(self):
        self.launch()
        wait_for(self.ready, 30, "the controller is ready")
        return self

    def ready(self):
        assert self.process.poll() is None, f"the controller ended:\n{self.output()}"
        try:
            return requests.get(self.url + "/readiness", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def output(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read()

    def kill(self):
        self.process.kill()
        self.process.wait(timeout=10)

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return self.process and self.process.returncode
        self.process.terminate()
        return self.process.wait(timeout=60)

    def sql(self, text):
        return self.postgres.psql(text, self.database).stdout.strip()

    # --- users
    def anonymous(self):
        return Api(self.url)

    def builder(self):
        return Api(self.url, headers={"X-Deis-Builder-Auth": BUILDER_KEY})

    def register(self, username, password="secret-1"):
        body = {"username": username, "password": password, "email": f"{username}@example.com"}
        answer = self.anonymous().post("/v2/auth/register/", body)
        assert answer.status_code == 201, answer.text
        return self.login(username, password)

    def login(self, username, password="secret-1"):
        answer = self.anonymous().post("/v2/auth/login/", {"username": username, "password": password})
        assert answer.status_code == 200, answer.text
        return Api(self.url, answer.json()["token"], username)


class Api:
    """What a client sends as one user; answers are those of `requests`."""

    def __init__(self, url, token=None, username=None, headers=None):
        self.url, self.token, self.username = url, token, username
        self.session = requests.Session()
        self.session.headers.update(headers or {})
        if token:
            self.session.headers["Authorization"] = f"token {token}"

    def call(self, method, path, json=None, timeout=60, **options):
        return self.session.request(method, self.url + path, json=json, timeout=timeout, **options)

    def get(self, path, **options):
        return self.call("GET", path, **options)

    def post(self, path, json=None, **options):
        return self.call("POST", path, json, **options)

    def delete(self, path, json=None, **options):
        return self.call("DELETE", path, json, **options)

    def create_app(self, name=None):
        answer = self.post("/v2/apps/", {"id": name} if name else None)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]


def said(answer):
    """Status and body, as short as a test can say them."""
    if not answer.content:
        return answer.status_code, None
    if answer.headers["Content-Type"] == "application/json":
        body = answer.json()
        if isinstance(body, dict) and list(body) == ["detail"]:
            body = body["detail"]
        return answer.status_code, body
    return answer.status_code, answer.text


@pytest.fixture(scope="session")
def postgres():
    if not (POSTGRES / "postgres").exists():
        pytest.skip("PostgreSQL 15 is not installed")
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(scope="session")
def no_cluster(tmp_path_factory):
    """The kubeconfig of an API server that does not answer."""
    path = tmp_path_factory.mktemp("kube") / "config"
    path.write_text("""apiVersion: v1
kind: Config
current-context: none
contexts: [{name: none, context: {cluster: none, user: none}}]
clusters: [{name: none, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: none, user: {token: none}}]
""")
    return path


class AppsNode(PretendedNode):
    """A node whose pods run, unless their image is one that is nowhere."""

    def start_pod(self, path, pod, number):
        try:
            self.report(path, pod, number)
        except (OSError, http.client.HTTPException):
            pass  # the engine was killed: its first list shows the pod again

    def report(self, path, pod, number):
        image = pod["spec"]["containers"][0]["image"]
        if image != MISSING_IMAGE:
            return super().start_pod(path, pod, number)
        waiting = {"reason": "ErrImagePull", "message": f"{image} not found"}
        status = {"phase": "Pending", "podIP": f"10.42.0.{number % 250 + 2}", "containerStatuses": [
            {"name": pod["spec"]["containers"][0]["name"], "image": image, "imageID": "", "ready": False, "restartCount": 0,
             "state": {"waiting": waiting}}]}
        self.api.send("PATCH", path + "/status", {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status},
                      "application/merge-patch+json")


class Cluster:
    """The engine's API and controllers, with a node that pretends to run pods."""

    def __init__(self, folder):
        self.engine = Engine(folder)
        self.kubeconfig = pathlib.Path(folder) / "kubeconfig"
        self.image, self.missing_image = "localhost/workflow/stack:latest", MISSING_IMAGE
        capacity = {"cpu": "64", "memory": "256Gi", "pods": "2500"}
        node = re.sub("[^a-z0-9-]+", "-", socket.gethostname().lower()).strip("-")  # the engine places pods on its own machine
        made = self.engine.api.send("POST", "/api/v1/nodes", {
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": {"disk": "ssd"}},
            "status": {"capacity": capacity, "allocatable": capacity, "conditions": [{"type": "Ready", "status": "True"}]}})
        assert made[0] == 201, made
        self.node = self.make_node(node)
        self.node.start()

    def make_node(self, name):
        return AppsNode(self.engine.api, name)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("engine"))
    yield cluster
    assert cluster.engine.stop() == 0


@pytest.fixture(scope="session")
def start_controller(postgres):
    """start(kubeconfig, **settings) starts a controller on a database of its own; all are stopped at the end."""
    started = []

    def start(kubeconfig, **settings):
        started.append(Controller(postgres, kubeconfig, **settings))
        return started[-1].start()

    yield start
    for controller in started:
        controller.stop()


# --- what most tests begin with. A module that needs another controller defines `controller` itself.


@pytest.fixture(scope="module")
def controller(start_controller, cluster):
    return start_controller(cluster.kubeconfig)


@pytest.fixture(scope="module")
def admin(controller):
    return controller.register("admin")


@pytest.fixture(scope="module")
def alice(controller, admin):
    return controller.register("alice")


@pytest.fixture(scope="module")
def bob(controller, admin):
    return controller.register("bob")


@pytest.fixture(scope="module")
def carl(controller, admin):
    return controller.register("carl")


@pytest.fixture
def app(alice):
    """An app of Alice's; destroyed at the end."""
    name = alice.create_app()
    yield name
    alice.delete(f"/v2/apps/{name}/")


@pytest.fixture
def shared(app, alice, bob):
    """An app of Alice's that Bob collaborates on."""
    assert alice.post(f"/v2/apps/{app}/perms/", {"username": "bob"}).status_code == 201
    return app


def build(user, app, image, **more):
    more.setdefault("procfile", {"web": "serve"})
    return user.post(f"/v2/apps/{app}/builds/", {"image": image, **more})


@pytest.fixture
def deployed(app, alice, cluster):
    """An app whose v3 runs one web process; v2 gave it a port."""
    assert alice.post(f"/v2/apps/{app}/config/", {"values": {"PORT": "5000"}}).status_code == 201
    answer = build(alice, app, cluster.image, procfile={"web": "serve", "worker": "work"})
    assert answer.status_code == 201, answer.text
    return app
