"""What the integration and end-to-end tests share: where the programs are, free ports, waiting for a condition."""

import ipaddress
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("WORKFLOW_BIN", ROOT / "build" / "bin"))
WORKFLOW = BIN / "workflow"
DEIS = BIN / "deis"


def free_port():
    """A TCP port that nothing listens on now, outside the kernel's ephemeral range."""
    for step in range(10000):
        port = 21000 + (os.getpid() * 2503 + step) % 10000  # test runs side by side look in different places
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
            if port not in _given:
                _given.add(port)
                return port
    raise RuntimeError("no free port")


_given = set()


def free_network(avoid=()):
    """A /24 that no route of this machine touches, so that platforms run side by side."""
    routes = json.loads(subprocess.run(["ip", "-j", "-4", "route"], check=True, stdout=subprocess.PIPE).stdout)
    taken = [ipaddress.ip_network(route["dst"], strict=False) for route in routes if route["dst"] != "default"]
    for step in range(60):
        network = ipaddress.ip_network(f"10.{100 + (os.getpid() + step) % 60}.9.0/24")
        if network not in avoid and not any(network.overlaps(other) for other in taken):
            return network
    raise RuntimeError("no free network")


def open_folder(prefix):
    """A temporary folder that other users may enter. pytest's are its user's alone, again at each start of a pytest."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=prefix))
    folder.chmod(0o755)
    return folder


def wait_for(condition, limit=10.0, what="condition", every=0.02):
    """Returns the first true result of `condition`; fails the test after `limit` seconds, naming `what`."""
    deadline = time.monotonic() + limit
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {limit} s: {what}")
        time.sleep(every)


def run(*argv, check=True, **options):
    """subprocess.run with text output; a failure shows what the program said."""
    options.setdefault("timeout", 120)
    done = subprocess.run([str(a) for a in argv], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, argv))} ended with {done.returncode}:\n{done.stdout}")
    return done
