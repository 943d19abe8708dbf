"""./quickstart on a machine that has only git and apt: a clean Debian 12 root, entered as its own root file system."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from workflow_testing import run  # noqa: E402

PORTS = ["--http-port", "18180", "--https-port", "18543", "--ssh-port", "12322", "--status-port", "19190",
         "--api-port", "16543", "--pod-cidr", "10.152.0.0/24", "--service-cidr", "10.153.0.0/24"]

# Runs inside a new mount namespace: makes the clean root the only root that its processes see.
ENTER = r"""
set -eu
root=$1; shift
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
mkdir -p "$root/old" "$CACHE" "$root/var/cache/ccache"
mount --bind "$CACHE" "$root/var/cache/ccache"
cd "$root"
pivot_root . old
cd /
umount -l /old
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb CCACHE_DIR=/var/cache/ccache LANG=C.UTF-8 "$@"
"""


def apt_sources():
    """The Debian suites of this machine's own configuration, and no other vendor's."""
    files = [pathlib.Path("/etc/apt/sources.list"), *pathlib.Path("/etc/apt/sources.list.d").glob("*")]
    one_line, stanzas = [], []
    for file in files:
        if not file.is_file():
            continue
        text = file.read_text()
        if file.suffix == ".sources":
            stanzas += [s for s in re.split(r"\n\s*\n", text) if "bookworm" in s and "debian" in s.lower() and "Signed-By: /usr/share/keyrings/debian" in s]
        else:
            one_line += [line for line in text.splitlines() if re.match(r"deb .*\bbookworm(-updates|-security)? .*main", line)]
    return one_line, stanzas


@pytest.fixture(scope="module")
def bare_root():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="workflow-bare-", dir="/var/tmp"))
    root = folder / "root"
    one_line, stanzas = apt_sources()
    sources = folder / "debian.sources"
    sources.write_text("\n\n".join(stanzas) + "\n")
    inputs = [str(sources)] if stanzas else one_line
    run("mmdebstrap", "--variant=apt", "--include=git,ca-certificates,mount", "--mode=root", "--quiet", "bookworm", root, *inputs,
        timeout=600)
    # What a machine's owner sets up: the authorities it trusts, its resolver, its name, its clone of the repository.
    own = pathlib.Path("/usr/local/share/ca-certificates")
    if own.is_dir() and any(own.iterdir()):
        shutil.copytree(own, root / "usr/local/share/ca-certificates", dirs_exist_ok=True)
        run("chroot", root, "update-ca-certificates")
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    shutil.copy("/etc/hosts", root / "etc/hosts")
    run("git", "clone", "-q", "--no-hardlinks", ROOT, root / "srv/workflow")
    # Downloads are the one thing that is shared with earlier runs, besides compiled objects.
    archives = pathlib.Path("/var/cache/apt/archives")
    if archives.is_dir():
        (root / "var/cache/apt/archives").mkdir(parents=True, exist_ok=True)
        for package in archives.glob("*.deb"):
            shutil.copy(package, root / "var/cache/apt/archives")
    yield root
    shutil.rmtree(folder, ignore_errors=True)


def inside(root, *argv, **options):
    env = dict(os.environ, CACHE=os.environ.get("CCACHE_DIR", os.path.expanduser("~/.cache/ccache")))
    return run("unshare", "-m", "bash", "-c", ENTER, "enter", root, *argv, env=env, **options)


def test_quickstart_takes_a_bare_machine_to_a_served_page(bare_root, record_property):
    for program in ("curl", "clang-19", "cmake", "containerd", "python3"):
        assert not list(bare_root.glob(f"usr/*bin/{program}")), f"the root is not bare: it has {program}"
    began = time.time()
    try:
        first = inside(bare_root, "/srv/workflow/quickstart", *PORTS, timeout=1500)
        took = time.time() - began
        assert re.search(r"^  \[\d+/\d+\] ", first.stdout, re.M), "nothing told how far the build was"
        url = first.stdout.strip().splitlines()[-1]
        assert url == "http://hello.localhost:18180", first.stdout[-2000:]
        page = inside(bare_root, "curl", "-fsS", url).stdout
        assert "Powered by" in page
        record_property("seconds_from_bare_to_served", round(took))

        pushed = inside(bare_root, "sh", "-c", "cat /var/lib/workflow/quickstart/hello/.git/refs/heads/master").stdout
        began = time.time()
        second = inside(bare_root, "/srv/workflow/quickstart", *PORTS, timeout=300)
        assert second.stdout.strip().splitlines()[-1] == url
        assert "Everything up-to-date" in second.stdout
        assert "nothing has changed: all of it is built already" in second.stdout
        record_property("seconds_of_second_run", round(time.time() - began))
        assert inside(bare_root, "sh", "-c", "cat /var/lib/workflow/quickstart/hello/.git/refs/heads/master").stdout == pushed
    finally:
        down = inside(bare_root, "/srv/workflow/build/bin/workflow", "down", timeout=240, check=False)
    assert down.returncode == 0, down.stdout
