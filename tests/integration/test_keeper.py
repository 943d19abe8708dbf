"""The keeper with the real engine: it keeps it running whatever happens to the machine, its logs bounded, its state private."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from engine_with_pods import missing_parts  # noqa: E402
from faults import Shim, SmallDisk, full_process_table, no_descriptors  # noqa: E402
from workflow_testing import ROOT, WORKFLOW, free_network, free_port, run, wait_for  # noqa: E402


class Kept:
    """`workflow keeper` on a state folder on a small disk of its own."""

    def __init__(self, state):
        self.state = state
        self.port = free_port()
        ports = {name: free_port() for name in ("http-port", "https-port", "ssh-port", "status-port")}
        (state / "settings.json").write_text(json.dumps({
            "domain": "localhost", "api-port": self.port, **ports, "pod-cidr": "10.238.0.0/24", "service-cidr": "10.239.0.0/24",
            "build-env": {}}))
        (state / "log").mkdir()
        (state / "log" / "engine.log").touch(0o600)
        with (state / "log" / "engine.log").open("ab") as log:  # as `workflow up` starts it
            self.process = subprocess.Popen([WORKFLOW, "keeper", "--state", state], stdout=log, stderr=log)
        wait_for(self.answers, 60, "the engine answers")

    def number(self, name):
        """Of keeper, twin or engine, when it runs."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int((self.state / f"{name}.pid").read_text().split()[0])
            os.kill(pid, 0)
            return pid

    def engines(self):
        """All that run on this state folder, by what they are."""
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if words[1:4] == [b"engine", b"--state", os.fsencode(self.state)] and (entry / "stat").read_text().rsplit(") ")[1][0] != "Z":
                    found.append(int(entry.name))
        return found

    def answers(self):
        done = run("curl", "-sk", "-m", "2", f"https://127.0.0.1:{self.port}/readyz", check=False)
        return done.stdout.strip() == "ok"

    def close(self):
        """As `workflow down`: the twin first, or it would take the keeper's place."""
        for name in ("twin", "keeper", "twin"):
            if pid := self.number(name):
                os.kill(pid, signal.SIGTERM)
                wait_for(lambda: self.process.poll() is not None if pid == self.process.pid else not pathlib.Path(f"/proc/{pid}").exists(),
                         20, f"the {name} has ended")
        for pid in self.engines():
            os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not self.engines(), 60, "the engine has ended")
        run(WORKFLOW, "engine", "--state", self.state, "--api-port", self.port, "--pod-cidr", "10.238.0.0/24", "--service-cidr",
            "10.239.0.0/24", "--teardown", timeout=120)


@pytest.fixture(scope="module")
def kept():
    why = missing_parts()
    if why:
        pytest.skip(why)
    folder = pathlib.Path(run("mktemp", "-d", "/tmp/wf-kept-XXXX").stdout.strip())
    with SmallDisk(folder / "state", megabytes=256, private=False) as disk:
        (folder / "state").chmod(0o755)  # as earlier versions made it
        it = Kept(folder / "state")
        it.disk = disk
        try:
            yield it
        finally:
            it.close()
    run("rm", "-r", folder)


def test_nobody_else_reads_the_state(kept):
    assert stat.S_IMODE(kept.state.stat().st_mode) == 0o700
    secrets = [path for path in [*kept.state.glob("*"), *(kept.state / "log").glob("*")] if path.is_file()]
    for path in secrets:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert {"engine.db", "engine.db-wal", "kubeconfig", "settings.json", "engine.log"} <= {path.name for path in secrets}
    for path in [*secrets, *(kept.state / "pki").glob("*")]:
        tried = run("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "cat", path, check=False)
        assert tried.returncode != 0 and "Permission denied" in tried.stdout, path


def test_a_log_that_grows_while_the_engine_runs_is_bounded(kept):
    log = kept.state / "log" / "engine.log"
    line = b"x" * 999 + b"\n"
    with log.open("ab") as writer:
        for _ in range(20_000):
            writer.write(line)
    wait_for(lambda: log.stat().st_size < 16 << 20, 20, "the log begins anew")
    old = log.with_name("engine.log.1")
    assert 16 << 20 < old.stat().st_size < 32 << 20
    assert stat.S_IMODE(old.stat().st_mode) == 0o600
    engine = kept.number("engine")
    os.kill(engine, signal.SIGKILL)  # the keeper says so in the same file
    wait_for(lambda: b"engine has ended" in log.read_bytes(), 30, "the log goes on")
    wait_for(kept.answers, 60, "the engine answers again")
    old.unlink()


def test_a_full_disk_ends_neither_keeper_nor_its_knowledge_of_the_engine(kept):
    keeper = kept.number("keeper")
    for _ in range(2):
        engine = kept.number("engine")
        with kept.disk.full():
            os.kill(engine, signal.SIGKILL)
            wait_for(lambda: engine not in kept.engines(), 20, "the engine is dead")
            # It tries, and cannot write down the number of what it starts: it may give up neither itself nor what it started.
            wait_for(lambda: kept.number("engine") != engine, 20, "the old number names nobody")
            assert kept.process.poll() is None
        wait_for(kept.answers, 90, "the engine answers again")
        assert kept.number("keeper") == keeper
        assert kept.engines() == [wait_for(lambda: kept.number("engine"), 20, "the engine's number is on disk")]


def test_without_a_descriptor_or_a_process_the_keeper_waits(kept):
    keeper = kept.number("keeper")
    for fault in (no_descriptors(keeper), full_process_table(keeper)):
        with fault:
            before = wait_for(lambda: kept.number("engine"), 20, "the engine's number is on disk")
            os.kill(before, signal.SIGKILL)
            wait_for(lambda: before not in kept.engines(), 20, "the engine is dead")
        wait_for(kept.answers, 90, "the engine answers again")
        assert kept.number("keeper") == keeper
        assert len(kept.engines()) == 1


def test_up_waits_for_a_keeper_that_is_slow_to_begin(tmp_path):
    """The keeper's number takes a second to reach the disk: that is no keeper that has ended."""
    why = missing_parts()
    if why:
        pytest.skip(why)
    folder = pathlib.Path(run("mktemp", "-d", "/tmp/wf-slow-XXXX").stdout.strip())
    # As installed, but without images: up goes on until it wants them.
    program = folder / "build/bin/workflow"
    for part in ("build/bin", "build/images", "deploy"):
        (folder / part).mkdir(parents=True)
    shutil.copy(WORKFLOW, program)
    shutil.copy(ROOT / "deploy/single-machine.yaml", folder / "deploy")
    nowhere = {"ref": "localhost/workflow/nowhere:1", "file": "nowhere.tar"}
    (folder / "build/images/images.json").write_text(json.dumps({"platform": nowhere, "stack": nowhere}))
    pods = free_network()
    options = ["--state", folder / "state", "--pod-cidr", pods, "--service-cidr", free_network(avoid=(pods,))]
    for name in ("http", "https", "ssh", "status", "api"):
        options += [f"--{name}-port", free_port()]
    shim = Shim(tmp_path)
    try:
        with shim.slow_disk(1.0):
            started = subprocess.Popen([program, "up", *map(str, options)], env={**os.environ, **shim.env}, text=True, stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT)
            wait_for(lambda: (folder / "state/keeper.pid").exists() or started.poll() is not None, 120, "the keeper has begun, or up given up")
        said, _ = started.communicate(timeout=300)
        assert "engine ready" in said, said
        assert "nowhere.tar" in said
    finally:
        run(program, "down", "--state", folder / "state", timeout=240)
        run("rm", "-r", folder)
