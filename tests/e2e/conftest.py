import json
import os
import pathlib
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from platform_under_test import Platform, User  # noqa: E402
from workflow_testing import run  # noqa: E402


def pytest_configure():
    if os.geteuid() != 0:
        raise pytest.UsageError("the end-to-end tests start containers: run them as root")


@pytest.fixture(scope="session")
def folder():
    """A folder in memory: images are unpacked and thrown away in seconds."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="workflow-e2e-"))
    run("mount", "-t", "tmpfs", "-o", "size=10g", "workflow-e2e", path)
    yield path
    if os.environ.get("WORKFLOW_KEEP"):
        return
    run("umount", "--lazy", path)
    path.rmdir()


@pytest.fixture(scope="session")
def platform(folder):
    """The platform that all tests of a run share. The very first account is its administrator."""
    built = Platform(folder / "state")
    print(built.up().stdout)
    yield built
    if os.environ.get("WORKFLOW_KEEP"):
        return
    logs = os.environ.get("WORKFLOW_E2E_LOGS")
    if logs:
        pathlib.Path(logs).mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder / "state" / "log", pathlib.Path(logs) / "log", dirs_exist_ok=True)
        shutil.copytree(folder / "state" / "logs", pathlib.Path(logs) / "pods", dirs_exist_ok=True)
    built.down()


@pytest.fixture(scope="session")
def admin(platform, folder):
    return User(platform, "admin", folder).register()


@pytest.fixture(scope="session")
def alice(platform, admin, folder):
    return User(platform, "alice", folder).register(admin)


@pytest.fixture(scope="session")
def mallory(platform, admin, folder):
    return User(platform, "mallory", folder).register(admin)


@pytest.fixture(scope="module")
def app(request, alice):
    """The module's own hello-world app, deployed once; its name comes from the module."""
    name = "e2e-" + request.module.__name__.removeprefix("test_").replace("_", "-")
    alice.deploy(name, "hello")
    alice.platform.wait_served(name, "Powered by")
    yield name
    alice.deis("destroy", "-a", name, f"--confirm={name}", check=False)


@pytest.fixture
def releases(alice):
    """The app's release numbers that the controller lists, newest first."""

    def listed(name):
        out = alice.deis("releases:list", "-a", name).stdout
        return [word for line in out.splitlines() for word in line.split()[:1] if word[:1] == "v" and word[1:].isdigit()]

    return listed


__all__ = ["json"]
