"""What can go wrong with a machine, made to happen to one process or one folder and taken back again: a full disk, no file
descriptor left, a clock that jumps, a slow disk, a full process table, a hung or killed process, a name server that does not
answer, connections that only wait. Nothing here touches the machine beyond that, and every fault is a context manager.

How to use it, by example (the fixtures are yours; `process` is a subprocess.Popen or a process number):

    with SmallDisk(tmp_path / "state", megabytes=64) as disk:         # a disk of its own, mounted there
        server = Server(prefix=disk.enter)                            # argv = [*prefix, WORKFLOW, "objectstore"]
        with disk.full():                                             # not a byte left; freed at the end of the block
            ...                                                       # must fail cleanly
        ...                                                           # must work again, without a restart

    With private=False the disk is mounted for everybody (an engine with pods mounts below it; `enter` is then empty).
    From the test, files on a private disk are at `disk.seen / "name"`.

    with no_descriptors(process): ...        # accept, open, socket: EMFILE. What is open stays open
    with limited(process, "NOFILE", 100): ...                         # ulimit of a process that runs
    with idle_connections(("127.0.0.1", port), 1100): ...             # opened, and silent

    shim = Shim(tmp_path)                    # a preloaded library: start the process with env={**env, **shim.env}
    with shim.clock_ahead(3600): ...         # CLOCK_REALTIME of that process jumps; timers (CLOCK_MONOTONIC) do not
    with shim.slow_disk(2.0): ...            # each fsync and fdatasync takes two seconds more

    with full_process_table(process): ...    # neither it nor its children can start a process or thread (cgroup pids)
    with stopped(process): ...               # hung: SIGSTOP, then SIGCONT
    kill_containerd(state)                   # SIGKILL to the containerd of an engine's state folder; its number

    with NameServer(tmp_path, silent=True) as names:                  # argv = [*names.enter, …]: its /etc/resolv.conf
        ...

What this machine does not allow is skipped, with the reason.
"""

import contextlib
import os
import pathlib
import resource
import shutil
import signal
import socket
import struct
import subprocess
import threading

import pytest

from workflow_testing import run, wait_for


def _number(process):
    return process if isinstance(process, int) else process.pid


class _MountNamespace:
    """A mount namespace that lives as long as this object: commands enter it with the argv prefix `enter`."""

    def __init__(self, script, *arguments):
        if os.geteuid() != 0:
            pytest.skip("mounting needs root")
        self.keeper = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c",
                                        script + " && echo ready && exec sleep infinity", "sh", *map(str, arguments)],
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = self.keeper.stdout.readline()
        if said != "ready\n":
            self.close()
            pytest.skip(f"this machine does not let us mount: {said.strip()}")
        self.enter = ["nsenter", "--target", str(self.keeper.pid), "--mount", "--"]
        self.root = pathlib.Path(f"/proc/{self.keeper.pid}/root")

    def close(self):
        self.keeper.kill()
        self.keeper.wait()
        self.keeper.stdout.close()


class SmallDisk:
    """A disk in memory, of a few megabytes, at `folder`. Other users may enter it."""

    def __init__(self, folder, megabytes=64, private=True):
        self.folder, self.megabytes, self.private = pathlib.Path(folder), megabytes, private

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        options = f"size={self.megabytes}m,mode=0755"
        if self.private:
            self.namespace = _MountNamespace(f'mount -t tmpfs -o {options} small-disk "$1"', self.folder)
            self.enter = self.namespace.enter
            self.seen = self.namespace.root / str(self.folder).lstrip("/")
        else:
            if os.geteuid() != 0:
                pytest.skip("mounting needs root")
            run("mount", "-t", "tmpfs", "-o", options, "small-disk", self.folder)
            self.enter, self.seen = [], self.folder
        return self

    def __exit__(self, *_):
        if self.private:
            self.namespace.close()
        else:
            run("umount", "--lazy", self.folder)

    @property
    def ballast(self):
        return self.seen / ".ballast"

    def fill(self):
        """Until not even a byte fits. What is freed meanwhile by others is theirs again."""
        with open(self.ballast, "ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"\0" * size)

    def free(self):
        self.ballast.unlink(missing_ok=True)

    @contextlib.contextmanager
    def full(self):
        self.fill()
        try:
            yield self
        finally:
            self.free()


@contextlib.contextmanager
def limited(process, what, value):
    """A resource limit (NOFILE, FSIZE, …) of a running process, put back at the end."""
    kind, pid = getattr(resource, "RLIMIT_" + what), _number(process)
    before = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (min(value, before[1]), before[1]))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, kind, before)


def open_files(process):
    """The numbers of its descriptors."""
    return sorted(int(name) for name in os.listdir(f"/proc/{_number(process)}/fd"))


def no_descriptors(process):
    """No further descriptor: the limit is the lowest number that is not in use."""
    used = set(open_files(process))
    return limited(process, "NOFILE", next(number for number in range(len(used) + 1) if number not in used))


@contextlib.contextmanager
def idle_connections(address, count):
    """That many TCP connections, opened and silent. Yields the sockets; those that the server refuses are left out."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + 200:
        if hard < count + 200:
            pytest.skip(f"{count} connections need more open files than this machine allows")
        resource.setrlimit(resource.RLIMIT_NOFILE, (count + 200, hard))
    sockets = []
    try:
        for _ in range(count):
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            one = socket.socket(family)
            one.settimeout(5)
            try:
                one.connect(address)
            except OSError:
                one.close()
                continue
            sockets.append(one)
        yield sockets
    finally:
        for one in sockets:
            one.close()


_SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct faults { volatile long long ahead_ns, sync_delay_ns; };
static struct faults none, *faults = &none;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("WORKFLOW_TEST_FAULTS");
  int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  void *found = fd < 0 ? MAP_FAILED : mmap(0, sizeof none, PROT_READ, MAP_SHARED, fd, 0);
  if (found != MAP_FAILED) faults = found;
  if (fd >= 0) close(fd);
}
int clock_gettime(clockid_t id, struct timespec *now) {
  static int (*next)(clockid_t, struct timespec *);
  if (!next) next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int status = next(id, now);
  if (status == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
    long long total = now->tv_sec * 1000000000ll + now->tv_nsec + faults->ahead_ns;
    now->tv_sec = total / 1000000000ll;
    now->tv_nsec = total % 1000000000ll;
  }
  return status;
}
time_t time(time_t *into) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (into) *into = now.tv_sec;
  return now.tv_sec;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec exact;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &exact);
  now->tv_sec = exact.tv_sec;
  now->tv_usec = exact.tv_nsec / 1000;
  return 0;
}
static void wait_for_the_disk(void) {
  long long delay = faults->sync_delay_ns;
  struct timespec pause = {delay / 1000000000ll, delay % 1000000000ll};
  if (delay > 0) nanosleep(&pause, 0);
}
int fsync(int fd) {
  static int (*next)(int);
  if (!next) next = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  wait_for_the_disk();
  return next(fd);
}
int fdatasync(int fd) {
  static int (*next)(int);
  if (!next) next = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  wait_for_the_disk();
  return next(fd);
}
"""


class Shim:
    """A library that is preloaded into a process (with `env`) and lies to it about the clock and the disk while told to."""

    def __init__(self, folder):
        compiler = next(filter(None, map(shutil.which, ("clang-19", "cc", "gcc"))), None)
        if not compiler:
            pytest.skip("there is no C compiler")
        folder = pathlib.Path(folder)
        library, source, self.control = folder / "faults.so", folder / "faults.c", folder / "faults.control"
        source.write_text(_SHIM)
        run(compiler, "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl")
        self._ahead = self._delay = 0
        self._tell()
        self.env = {"LD_PRELOAD": str(library), "WORKFLOW_TEST_FAULTS": str(self.control)}

    def _tell(self):
        mode = "r+b" if self.control.exists() else "wb"  # the same file always: it is mapped
        with open(self.control, mode) as file:
            file.write(struct.pack("qq", int(self._ahead * 1e9), int(self._delay * 1e9)))

    @contextlib.contextmanager
    def clock_ahead(self, seconds):
        """The wall clock jumps by so much (back, when negative), and back again at the end."""
        self._ahead = seconds
        self._tell()
        try:
            yield
        finally:
            self._ahead = 0
            self._tell()

    @contextlib.contextmanager
    def slow_disk(self, seconds):
        self._delay = seconds
        self._tell()
        try:
            yield
        finally:
            self._delay = 0
            self._tell()


def _pids_folder():
    for root in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup"):
        root = pathlib.Path(root)
        controllers = root / "cgroup.controllers"
        if controllers.exists() and "pids" in controllers.read_text().split():
            with contextlib.suppress(OSError):
                (root / "cgroup.subtree_control").write_text("+pids")
            return root
        if root.name == "pids" and (root / "cgroup.procs").exists():
            return root
    return None


def _group_of(pid, root):
    for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if root.name == "pids" and "pids" in controllers.split(",") or root.name == "cgroup" and controllers == "":
            return root / path.lstrip("/")
    return root


@contextlib.contextmanager
def full_process_table(process, spare=0):
    """The process, with what it has started, may have no more processes and threads than now, and `spare`."""
    root, pid = _pids_folder(), _number(process)
    if root is None or os.geteuid() != 0:
        pytest.skip("limiting processes needs root and the cgroup controller `pids`")
    pids = [pid]
    for one in pids:  # grows: children of children
        for task in pathlib.Path(f"/proc/{one}/task").glob("*/children"):
            pids += map(int, task.read_text().split())
    group, home = root / f"workflow-test-{pid}", _group_of(pid, root)
    group.mkdir()
    try:
        for one in pids:
            with contextlib.suppress(ProcessLookupError):
                (group / "cgroup.procs").write_text(str(one))
        now = int((group / "pids.current").read_text())
        (group / "pids.max").write_text(str(now + spare))
        yield
    finally:
        (group / "pids.max").write_text("max")

        def empty():
            for one in (group / "cgroup.procs").read_text().split():
                with contextlib.suppress(OSError):
                    (home / "cgroup.procs").write_text(one)
            with contextlib.suppress(OSError):
                group.rmdir()
            return not group.exists()

        wait_for(empty, 10, "the test's cgroup is gone")


@contextlib.contextmanager
def stopped(process):
    """The process is there, and does nothing."""
    pid = _number(process)
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: _state(pid) == "T", 10, f"process {pid} is stopped")
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _state(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0]


def children_of(process):
    """The processes that it has started and that run, or that it has not reaped (state Z), as {pid: state}."""
    found = {}
    for task in pathlib.Path(f"/proc/{_number(process)}/task").glob("*/children"):
        for pid in map(int, task.read_text().split()):
            with contextlib.suppress(OSError):
                found[pid] = _state(pid)
    return found


def kill_containerd(state):
    """Kills the containerd of an engine; containers run on, and the engine starts another."""
    pid = int((pathlib.Path(state) / "containerd" / "containerd.pid").read_text().split()[0])
    assert b"containerd" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes(), f"process {pid} is no containerd"
    os.kill(pid, signal.SIGKILL)
    return pid


class NameServer:
    """A DNS server on an address of the loopback network, and a mount namespace (`enter`) whose programs ask it and no other.
    It answers A queries for `names` ({"name": "10.1.2.3"}), "no such name" for others, and nothing at all about `silent`
    (names, or True for all). What was asked is in `asked`."""

    def __init__(self, folder, names=None, silent=(), options="", hosts=None):
        self.folder, self.names, self.silent = pathlib.Path(folder), names or {}, silent
        self.options, self.hosts = options, hosts
        self.asked = []

    def __enter__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for last in range(2, 250):
            self.address = f"127.77.{os.getpid() % 250 + 1}.{last}"
            try:
                self.socket.bind((self.address, 53))
                break
            except PermissionError:
                pytest.skip("listening on port 53 needs root")
            except OSError:
                continue
        resolv, hosts = self.folder / "resolv.conf", self.folder / "hosts"
        resolv.write_text(f"nameserver {self.address}\n{self.options}\n")
        hosts.write_text(self.hosts if self.hosts is not None else pathlib.Path("/etc/hosts").read_text())
        self.namespace = _MountNamespace('mount --bind "$1" /etc/resolv.conf && mount --bind "$2" /etc/hosts', resolv, hosts)
        self.enter = self.namespace.enter
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.sendto(b"", (self.address, 53))  # the end
        self.thread.join(10)
        self.socket.close()
        self.namespace.close()

    def _serve(self):
        while True:
            query, client = self.socket.recvfrom(4096)
            if not query:
                return
            name, end = [], 12
            while query[end]:
                name.append(query[end + 1:end + 1 + query[end]].decode())
                end += query[end] + 1
            name, kind = ".".join(name).lower(), struct.unpack(">H", query[end + 1:end + 3])[0]
            self.asked.append(name)
            if self.silent is True or name in self.silent:
                continue
            address = self.names.get(name)
            found = address is not None and kind == 1
            answer = query[:2] + struct.pack(">HHHHH", 0x8180 if address else 0x8183, 1, int(found), 0, 0) + query[12:end + 5]
            if found:
                answer += struct.pack(">HHHIH", 0xC00C, 1, 1, 5, 4) + socket.inet_aton(address)
            self.socket.sendto(answer, client)
