"""The database component with the real PostgreSQL and the real psql."""

import os
import pathlib
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from workflow_testing import WORKFLOW, free_port, run, wait_for  # noqa: E402


class Database:
    def __init__(self, folder, password="first"):
        self.folder, self.password = folder, password
        self.port, self.health = free_port(), free_port()
        self.process = None

    def start(self):
        env = dict(os.environ, DATABASE_DIR=str(self.folder), DATABASE_USER="workflow", DATABASE_PASSWORD=self.password,
                   DATABASE_PORT=str(self.port), DATABASE_HEALTH_PORT=str(self.health))
        env.pop("DATABASE_PASSWORD_FILE", None)
        self.process = subprocess.Popen([WORKFLOW, "database"], env=env)
        wait_for(self.ready, 30, "the database is ready")
        return self

    def ready(self):
        assert self.process.poll() is None, "the database ended"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health}/readiness", timeout=5) as answer:
                return answer.status == 200
        except (OSError, urllib.error.HTTPError):
            return False

    def stop(self):
        self.process.terminate()
        return self.process.wait(timeout=60)

    def sql(self, text, user="workflow", check=True):
        env = dict(os.environ, PGPASSWORD=self.password)
        return run("psql", "-X", "-A", "-t", "-h", "127.0.0.1", "-p", self.port, "-U", user, "-d", "workflow", "-c", text,
                   env=env, check=check)


@pytest.fixture
def database(open_path):
    it = Database(open_path / "data").start()
    yield it
    if it.process.poll() is None:
        it.stop()


def test_what_was_written_survives_a_clean_stop(database):
    database.sql("create table t (x int); insert into t values (42)")
    assert database.stop() == 0
    database.start()
    assert database.sql("select x from t").stdout.strip() == "42"


def test_what_was_committed_survives_kill_9_of_everything(database):
    database.sql("create table t (x int); insert into t values (42)")
    database.process.send_signal(signal.SIGKILL)
    database.process.wait(timeout=10)
    database.start()
    assert database.sql("select x from t").stdout.strip() == "42"


def test_it_is_sized_for_a_small_machine(database):
    setting = lambda name: database.sql(f"show {name}").stdout.strip()
    assert (setting("shared_buffers"), setting("max_logical_replication_workers")) == ("16MB", "0")
    assert "logical replication launcher" not in database.sql("select backend_type from pg_stat_activity").stdout


def test_a_new_password_counts_from_the_next_start(database):
    assert database.stop() == 0
    database.password = "sec'ond"
    database.start()
    assert database.sql("select 1").stdout.strip() == "1"
    database.password = "first"
    assert "authentication failed" in database.sql("select 1", check=False).stdout


def test_the_superuser_is_not_let_in_over_the_network(database):
    assert "reject" in database.sql("select 1", user="postgres", check=False).stdout


def test_a_second_server_never_touches_the_same_folder(database):
    other = Database(database.folder)
    env = dict(os.environ, DATABASE_DIR=str(other.folder), DATABASE_USER="workflow", DATABASE_PASSWORD="x",
               DATABASE_PORT=str(other.port), DATABASE_HEALTH_PORT=str(other.health))
    second = subprocess.Popen([WORKFLOW, "database"], env=env)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(timeout=2)  # it waits for the first to go, and does nothing
    finally:
        second.kill()
        second.wait(timeout=10)
    assert database.sql("select 1").stdout.strip() == "1"


def test_a_folder_with_somebody_elses_files_is_left_alone(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious").write_text("x")
    env = dict(os.environ, DATABASE_DIR=str(tmp_path / "data"), DATABASE_USER="workflow", DATABASE_PASSWORD="x",
               DATABASE_PORT=str(free_port()), DATABASE_HEALTH_PORT=str(free_port()))
    refused = run(WORKFLOW, "database", env=env, check=False, timeout=30)
    assert refused.returncode == 1 and "precious" in refused.stdout
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["lock", "precious"]


def test_when_postgresql_dies_the_component_ends_so_that_it_is_restarted(database):
    children = pathlib.Path(f"/proc/{database.process.pid}/task/{database.process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    assert database.process.wait(timeout=20) == 1


def test_every_bad_setting_is_named(tmp_path):
    env = {k: v for k, v in os.environ.items() if not k.startswith("DATABASE")}
    refused = run(WORKFLOW, "database", env=dict(env, DATABASE_PORT="x"), check=False, timeout=30)
    assert refused.returncode == 1
    for name in ("DATABASE_PORT", "DATABASE_USER", "DATABASE_PASSWORD"):
        assert name in refused.stdout
