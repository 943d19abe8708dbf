"""A component of ours as the first process of a PID namespace, as in a pod: with a real tree of processes."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from faults import children_of  # noqa: E402
from objectstore_under_test import ACCESS, SECRET  # noqa: E402
from workflow_testing import WORKFLOW, free_port, run, wait_for  # noqa: E402


class FirstProcess:
    """`workflow objectstore` as process 1; `pid` is its number out here."""

    def __init__(self, folder, **settings):
        if os.geteuid() != 0:
            pytest.skip("a PID namespace needs root")
        self.port = free_port()
        env = {"PATH": os.environ["PATH"], "OBJECTSTORE_DIR": str(folder / "objects"), "OBJECTSTORE_PORT": str(self.port),
               "S3_ACCESS_KEY": ACCESS, "S3_SECRET_KEY": SECRET, **settings}
        self.outside = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", WORKFLOW, "objectstore"],
                                        env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    @property
    def pid(self):
        return wait_for(lambda: next(iter(children_of(self.outside)), None), what="the namespace has a first process")

    def answers(self):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readiness", timeout=2).status == 200
        except OSError:
            return False

    def inside(self, script):
        return run("nsenter", "--target", self.pid, "--pid", "--mount", "sh", "-c", script).stdout

    def zombies(self):
        return [pid for pid, state in children_of(self.pid).items() if state == "Z"]

    def end(self):
        self.outside.kill()
        self.outside.communicate()


@pytest.fixture
def first(tmp_path):
    it = FirstProcess(tmp_path)
    wait_for(it.answers, 30, "the object store answers")
    yield it
    it.end()


def test_what_it_inherits_is_reaped(first):
    program = next(iter(children_of(first.pid)))
    # Each shell ends before its child does, which process 1 inherits; the last one tells us its number inside.
    orphans = [int(first.inside("sleep 0.3 >/dev/null 2>&1 & echo $!")) for _ in range(20)]
    assert len(set(orphans)) == 20
    alive = lambda: first.inside("for p in /proc/[0-9]*; do echo ${p#/proc/}; done").split()
    wait_for(lambda: not set(map(str, orphans)) & set(alive()), 30, "the orphans are gone, and are no zombies")
    assert first.zombies() == []
    assert list(children_of(first.pid)) == [program]
    assert first.answers()


def test_waiting_costs_little_memory(first):
    """What the start of a whole component has read is not kept by who only waits for it: that alone is some 25 MB."""
    rollup = pathlib.Path(f"/proc/{first.pid}/smaps_rollup").read_text()
    assert int(re.search(r"(?m)^Rss: +([0-9]+) kB", rollup)[1]) < 10_000, rollup


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_program_and_its_status_is_ours(first, number):
    os.kill(first.pid, number)
    said, _ = first.outside.communicate(timeout=30)
    assert first.outside.returncode == 0, said
    assert f"signal={number.name}" in said


def test_a_program_that_is_killed_ends_the_first_process_with_its_status(first):
    program = next(iter(children_of(first.pid)))
    os.kill(program, signal.SIGKILL)
    first.outside.communicate(timeout=30)
    assert first.outside.returncode == 128 + signal.SIGKILL


def test_a_bad_start_is_told_with_its_status(tmp_path):
    first = FirstProcess(tmp_path, OBJECTSTORE_PORT="none")
    said, _ = first.outside.communicate(timeout=30)
    assert first.outside.returncode == 1
    assert "OBJECTSTORE_PORT" in said
