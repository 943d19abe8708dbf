"""kubectl in two versions, and programs of the Kubernetes client libraries, got once into build/tools."""

import fcntl
import functools
import re
import shutil
import subprocess

import pytest

from workflow_testing import ROOT

TOOLS = ROOT / "build" / "tools"
SOURCES = ROOT / "tests" / "support" / "kubernetes"


def one_at_a_time(get):
    """Several of pytest's workers may want the same tool; one of them gets it and the others wait."""
    @functools.wraps(get)
    def locked(*arguments):
        TOOLS.mkdir(parents=True, exist_ok=True)
        with open(TOOLS / f"{get.__name__}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return get(*arguments)
    return locked


@one_at_a_time
def debian_kubectl():
    """The one of Debian 12, unpacked: installing it would replace the machine's own."""
    folder = TOOLS / "kubernetes-client"
    program = folder / "usr/bin/kubectl"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        got = subprocess.run(["apt-get", "download", "-q", "kubernetes-client"], cwd=folder, text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
        packages = list(folder.glob("*.deb"))
        if not packages:
            pytest.skip(f"Debian's kubectl cannot be had here: {got.stdout}")
        subprocess.run(["dpkg-deb", "-x", packages[0], folder], check=True)
    return program


def kubectl():
    """The machine's own, or Debian's."""
    return shutil.which("kubectl") or debian_kubectl()


@one_at_a_time
def go_program(name):
    """A program of tests/support/kubernetes."""
    version = re.search(r"go(\d+)\.(\d+)", subprocess.run(["go", "version"], text=True, stdout=subprocess.PIPE).stdout) \
        if shutil.which("go") else None
    if not version or (int(version[1]), int(version[2])) < (1, 26):
        pytest.skip("the Kubernetes modules need Go 1.26 or newer")
    program = TOOLS / ("kubectl-newest" if name == "kubectl" else f"kubernetes-{name}")
    subprocess.run(["go", "build", "-ldflags", "-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2", "-o", program, f"./{name}"], cwd=SOURCES, check=True, timeout=900)
    return program


def newest_kubectl():
    return go_program("kubectl")


@one_at_a_time
def python_with_kubernetes():
    """A Python whose `kubernetes` module is the newest of PyPI."""
    folder = TOOLS / "python-kubernetes"
    python = folder / "bin/python"
    if not (folder / "complete").exists():
        subprocess.run(["/usr/bin/python3", "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "kubernetes"], check=True, timeout=300)
        (folder / "complete").touch()
    return python


__all__ = ["kubectl", "debian_kubectl", "newest_kubectl", "go_program", "python_with_kubernetes"]
