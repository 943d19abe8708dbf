"""The object store and the database while their machine fails them. What each fault is: tests/support/faults.py."""

import contextlib
import fcntl
import os
import pathlib
import socket
import subprocess
import sys
import threading
import urllib.request

import botocore.exceptions
import pytest
import requests

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from controller_under_test import Controller, no_cluster  # noqa: E402, F401
from faults import NameServer, Shim, SmallDisk, children_of, full_process_table, idle_connections, no_descriptors, stopped  # noqa: E402
from objectstore_under_test import ObjectStore  # noqa: E402
from workflow_testing import DEIS, WORKFLOW, free_port, run, wait_for  # noqa: E402


def code_of(call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"]


@pytest.fixture
def shim(tmp_path):
    return Shim(tmp_path)


@contextlib.contextmanager
def object_store(folder, **options):
    store = ObjectStore(folder, **options)
    try:
        yield store
    finally:
        store.stop()


# --- the object store


def test_a_full_disk_refuses_objects_and_keeps_those_that_it_has(tmp_path):
    with SmallDisk(tmp_path / "disk", megabytes=32) as disk, \
         object_store(tmp_path, data=disk.folder / "objects", prefix=disk.enter) as store:
        s3 = store.client()
        s3.put_object(Bucket="builder", Key="old", Body=b"kept")
        with disk.full():
            assert code_of(s3.put_object, Bucket="builder", Key="new", Body=b"x" * 100_000) in ("ServiceUnavailable", "InsufficientStorage")
            assert s3.get_object(Bucket="builder", Key="old")["Body"].read() == b"kept"
            assert [o["Key"] for o in s3.list_objects_v2(Bucket="builder")["Contents"]] == ["old"]
        s3.put_object(Bucket="builder", Key="new", Body=b"x" * 100_000)
        assert store.process.poll() is None
        store.kill()
        store.start()
        assert s3.get_object(Bucket="builder", Key="old")["Body"].read() == b"kept"


def test_no_descriptor_left_is_waited_out(tmp_path):
    with object_store(tmp_path) as store:
        s3 = store.client()
        s3.put_object(Bucket="builder", Key="k", Body=b"v")
        with no_descriptors(store.process), socket.create_connection(("127.0.0.1", store.port)) as waiting:
            waiting.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: "Too many open files" in store.log.read_text(), what="the object store says what it lacks")
            said = store.log.read_text().count("Too many open files")
            assert said == 1, "a problem is told once"
        # The client that waited is served, and so is everybody else.
        with socket.create_connection(("127.0.0.1", store.port)) as after:
            after.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert after.recv(100).startswith(b"HTTP/1.1 200")
        assert s3.get_object(Bucket="builder", Key="k")["Body"].read() == b"v"


def test_two_thousand_idle_connections_leave_room_for_others(tmp_path):
    with object_store(tmp_path) as store, idle_connections(("127.0.0.1", store.port), 2000) as idle:
        assert len(idle) == 2000
        assert store.ready()
        store.client().put_object(Bucket="builder", Key="k", Body=b"v")


def test_a_clock_that_jumps_an_hour_refuses_signatures_and_nothing_else(tmp_path, shim):
    with object_store(tmp_path, **shim.env) as store:
        s3 = store.client()
        s3.put_object(Bucket="builder", Key="k", Body=b"v")
        upload = s3.create_multipart_upload(Bucket="builder", Key="big")["UploadId"]
        long_lived = s3.generate_presigned_url("get_object", Params={"Bucket": "builder", "Key": "k"}, ExpiresIn=7 * 86400)
        for jump in (3600, -3600):
            with shim.clock_ahead(jump):
                assert code_of(s3.get_object, Bucket="builder", Key="k") == "RequestTimeTooSkewed"
                assert store.ready()
        with shim.clock_ahead(3600):
            assert urllib.request.urlopen(long_lived).read() == b"v"
        assert s3.get_object(Bucket="builder", Key="k")["Body"].read() == b"v"
        assert [u["UploadId"] for u in s3.list_multipart_uploads(Bucket="builder")["Uploads"]] == [upload]


def test_a_slow_disk_holds_up_only_those_who_write(tmp_path, shim):
    with object_store(tmp_path, **shim.env) as store:
        s3 = store.client()
        s3.put_object(Bucket="builder", Key="k", Body=b"v")
        written = threading.Event()

        def write():
            store.client().put_object(Bucket="builder", Key="slow", Body=b"x" * 1000)
            written.set()

        with shim.slow_disk(3):
            writer = threading.Thread(target=write)
            writer.start()
            for _ in range(5):
                assert s3.get_object(Bucket="builder", Key="k")["Body"].read() == b"v"
                assert store.ready()
            assert not written.is_set(), "acknowledged before it was on the disk"
        writer.join(60)
        assert written.is_set()
        assert s3.get_object(Bucket="builder", Key="slow")["Body"].read() == b"x" * 1000


def test_a_full_process_table_leaves_a_running_object_store_alone(tmp_path):
    with object_store(tmp_path) as store:
        s3 = store.client()
        s3.put_object(Bucket="builder", Key="k", Body=b"v")
        with full_process_table(store.process):
            s3.put_object(Bucket="builder", Key="k2", Body=b"v2")
            assert s3.get_object(Bucket="builder", Key="k")["Body"].read() == b"v"


# --- a client whose name server fails


@pytest.mark.parametrize("fault, said", [({"silent": True}, "within 5000 ms"), ({"names": {}}, "Domain name not found"),
                                         ({"names": {"deis.example.test": "127.0.0.1"}}, "Connection refused")])
def test_a_name_that_is_not_answered_ends_with_the_connections_deadline(tmp_path, fault, said):
    with NameServer(tmp_path, **fault) as names:
        url = f"http://deis.example.test:{free_port()}"
        tried = run(*names.enter, DEIS, "login", url, "--username=a", "--password=b", check=False,
                    env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)})
        assert tried.returncode == 1
        assert "deis.example.test" in names.asked
        assert said in tried.stdout, tried.stdout


# --- a controller whose name server fails


def test_a_database_whose_name_is_not_answered_is_waited_for(open_path, tmp_path, no_cluster):
    database = Database(open_path / "data").start()
    controller = Controller(None, no_cluster, "workflow", DATABASE_HOST="db.example.test", DATABASE_PORT=str(database.port),
                            DATABASE_USER="workflow", DATABASE_PASSWORD="secret")
    try:
        with NameServer(tmp_path, silent=True) as names:
            controller.prefix = names.enter
            controller.launch()
            try:
                wait_for(lambda: "the name db.example.test cannot be looked up in time" in controller.output(), 60, "the look-up ends")
                assert requests.get(controller.url + "/healthz", timeout=30).status_code == 200
                assert requests.get(controller.url + "/readiness", timeout=30).status_code == 503
                names.silent, names.names = (), {"db.example.test": "127.0.0.1"}
                wait_for(controller.ready, 60, "the controller is ready")
                assert controller.anonymous().get("/v2/").status_code == 401
            finally:
                controller.stop()
    finally:
        database.stop()


# --- the database


class Database:
    def __init__(self, folder, prefix=()):
        self.folder, self.prefix = folder, list(prefix)
        self.port, self.health = free_port(), free_port()

    def start(self):
        env = dict(os.environ, DATABASE_DIR=str(self.folder), DATABASE_USER="workflow", DATABASE_PASSWORD="secret",
                   DATABASE_PORT=str(self.port), DATABASE_HEALTH_PORT=str(self.health))
        self.process = subprocess.Popen([*self.prefix, WORKFLOW, "database"], env=env)
        wait_for(self.ready, 60, "the database is ready")
        return self

    def ready(self):
        assert self.process.poll() is None, "the database ended"
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.health}/readiness", timeout=5).status == 200
        except OSError:
            return False

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout=60)

    def sql(self, text, check=True):
        return run("psql", "-X", "-A", "-t", "-h", "127.0.0.1", "-p", self.port, "-U", "workflow", "-d", "workflow", "-c", text,
                   env=dict(os.environ, PGPASSWORD="secret", PGCONNECT_TIMEOUT="10"), check=check)


def test_a_full_disk_loses_nothing_that_the_database_acknowledged(open_path):
    with SmallDisk(open_path / "disk", megabytes=160) as disk:
        database = Database(disk.folder / "data", disk.enter).start()
        try:
            database.sql("create table t (x int, pad text)")
            acknowledged = 0
            with disk.full():
                for number in range(2000):
                    if database.sql(f"insert into t values ({number}, repeat('x', 200000))", check=False).returncode != 0:
                        break
                    acknowledged += 1
                else:
                    raise AssertionError("the disk never got full")
            # PostgreSQL ends when it cannot write its log, and our process with it: the pod is started again.
            if database.process.poll() is not None or not database.ready():
                database.stop()
                database.start()
            wait_for(lambda: database.sql("select 1", check=False).returncode == 0, 60, "the database answers again")
            assert int(database.sql("select count(*) from t").stdout) == acknowledged
            database.sql("insert into t values (-1, '')")
        finally:
            database.stop()


def test_a_full_process_table_refuses_sessions_and_keeps_the_database(open_path):
    database = Database(open_path / "data").start()
    try:
        database.sql("create table t (x int)")
        with full_process_table(database.process):
            assert database.sql("insert into t values (1)", check=False).returncode != 0
            assert database.ready()
        database.sql("insert into t values (2)")
        assert database.sql("select x from t").stdout.split() == ["2"]
    finally:
        database.stop()


def test_no_second_server_starts_while_processes_of_the_first_are_left(open_path):
    """Its supervisor and PostgreSQL's own are killed; a session that hangs holds the lock until it is gone."""
    database = Database(open_path / "data").start()
    session = subprocess.Popen(["psql", "-X", "-h", "127.0.0.1", "-p", str(database.port), "-U", "workflow", "-d", "workflow", "-c",
                                "select pg_sleep(300)"], env=dict(os.environ, PGPASSWORD="secret"), stderr=subprocess.DEVNULL)
    try:
        server = next(iter(children_of(database.process)))
        asleep = lambda: [pid for pid in children_of(server) if b"SELECT" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()]
        backend = wait_for(asleep, 10, "the session has a process")[0]
        with stopped(backend):
            database.process.kill()
            database.process.wait()
            lock = open(open_path / "data" / "lock")
            with pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lock.close()
        session.wait(timeout=30)
        database.start()
        assert database.sql("select 1").stdout.strip() == "1"
    finally:
        session.kill()
        session.wait()
        database.stop()
