"""kill -9 of everything, one after the other; stopping and starting the whole."""

import concurrent.futures
import os
import pathlib
import subprocess
import time

import pytest

from platform_under_test import Load, kill
from workflow_testing import WORKFLOW, wait_for

COMPONENTS = ["controller", "database", "objectstore", "registry", "builder", "router"]
# The way to the app itself may be interrupted only by these, and only briefly.
ON_THE_WAY = {"router": 5, "containerd": 5}


def pids(platform, component):
    """The processes of this platform that run `component`."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            cgroup = (entry / "cgroup").read_text()
        except OSError:
            continue
        program = os.path.basename(words[0])
        if component == "containerd":
            matches = program == "containerd" and str(platform.state) in " ".join(words)
        elif component in ("engine", "keeper"):
            matches = program == "workflow" and words[1:2] == [component] and str(platform.state) in words
        else:
            matches = program == "workflow" and words[1:2] == [component] and instance(platform) in cgroup
        if matches:
            found.append(int(entry.name))
    return found


def instance(platform):
    import hashlib

    return "workflow-" + hashlib.sha256(str(platform.state).encode()).hexdigest()[:6]


def whole(platform):
    return subprocess.run([WORKFLOW, "status", "--state", platform.state], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, timeout=30).returncode == 0


@pytest.mark.parametrize("component", COMPONENTS + ["engine", "keeper", "containerd"])
def test_after_kill_9_apps_serve_and_the_platform_is_whole_within_15_s(alice, platform, app, releases, component):
    before = releases(app)
    victims = wait_for(lambda: pids(platform, component), 5, f"{component} runs")
    with Load(platform, app, per_second=50, threads=4) as load:
        time.sleep(0.5)
        killed = time.time()
        for victim in victims[:1]:
            kill(victim)
        wait_for(lambda: victims[0] not in pids(platform, component) and pids(platform, component), 15,
                 f"{component} is back")
        wait_for(lambda: whole(platform), 15 - (time.time() - killed) + 1, "the platform is whole")
        time.sleep(1)
    late = [f for f in load.failures if f[0] > killed + ON_THE_WAY.get(component, 0)]
    assert late == [], f"{len(late)} of {load.sent} requests failed: {late[:5]}"
    assert releases(app) == before
    # Whole means: it takes work. A config change goes through controller, database, engine and router.
    alice.deis("config:set", f"POWERED_BY=after {component}", "-a", app)
    platform.wait_served(app, f"Powered by after {component}")


def test_a_one_off_command_outlives_the_engine(alice, platform, app):
    """What tells of its output and its end is killed while it runs."""
    running = lambda: [p for p in platform.pods(app) if "-run-" in p["metadata"]["name"] and p["status"]["phase"] == "Running"]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        command = pool.submit(alice.deis, "run", "-a", app, "--", "echo begun; sleep 10; echo over; exit 3", check=False)
        wait_for(lambda: running() or command.done(), 60, "the command runs")
        victim = pids(platform, "engine")[0]
        kill(victim)
        wait_for(lambda: set(pids(platform, "engine")) - {victim}, 30, "the engine is back")
        done = command.result()
    assert done.stdout.split("...\n", 1)[-1].splitlines()[-2:] == ["begun", "over"], done.stdout + done.stderr
    assert done.returncode == 3
    wait_for(lambda: whole(platform), 60, "the platform is whole")


def test_a_push_works_after_all_of_that(alice, platform, app):
    (alice.folder / app / "notes.txt").write_text("after the storm\n")
    alice.commit(app, "after")
    assert "deployed to Workflow" in alice.push(app)


def left_behind(platform):
    """What of this platform is on the machine: processes, mounts, interfaces, tables, cgroups."""
    state, name = str(platform.state), instance(platform)
    left = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
                if state in words or name in (entry / "cgroup").read_text():
                    left.append(f"process {entry.name} {words}")
            except OSError:
                pass
    left += [line for line in pathlib.Path("/proc/mounts").read_text().splitlines() if state in line or name in line]
    short = name.removeprefix("workflow-")
    for command in (["ip", "-o", "link"], ["nft", "list", "tables"], ["ip", "netns"]):
        out = subprocess.run(command, text=True, stdout=subprocess.PIPE, check=True).stdout
        left += [line for line in out.splitlines() if short in line]
    left += [str(path) for path in pathlib.Path("/sys/fs/cgroup").glob(f"*/{name}")]
    return left


def test_down_leaves_nothing_behind_and_up_brings_every_app_back(alice, platform, app, releases):
    before, page = releases(app), platform.app(app)[2]
    interfaces = subprocess.run(["ip", "-o", "link"], text=True, stdout=subprocess.PIPE).stdout.count("veth")
    assert interfaces > 0
    platform.down()
    assert left_behind(platform) == []
    with pytest.raises(OSError):
        platform.app(app)
    began = time.time()
    platform.up()
    assert time.time() - began < 60
    platform.wait_served(app, "Powered by", limit=30)
    assert platform.app(app)[2].splitlines()[0] == page.splitlines()[0]
    assert releases(app) == before


def test_up_on_a_running_platform_changes_nothing(platform, app):
    before = {p["metadata"]["uid"] for p in platform.pods("deis") + platform.pods(app)}
    platform.up()
    assert {p["metadata"]["uid"] for p in platform.pods("deis") + platform.pods(app)} == before
