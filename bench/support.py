"""What the benchmarks share: where the platform is, percentiles, and the form of a result line."""

import hashlib
import json
import math
import os
import pathlib
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
BIN = pathlib.Path(os.environ.get("WORKFLOW_BIN", ROOT / "build" / "bin"))
DEIS = BIN / "deis"


class Platform:
    """The running platform, as `workflow up` remembers it; single settings can be overridden by the environment."""

    def __init__(self):
        self.state = pathlib.Path(os.environ.get("WORKFLOW_STATE", "/var/lib/workflow"))
        try:
            saved = json.loads((self.state / "settings.json").read_text())
        except FileNotFoundError:
            saved = {}
        self.domain = os.environ.get("WORKFLOW_DOMAIN") or saved.get("domain", "localhost")
        self.http_port = int(os.environ.get("WORKFLOW_HTTP_PORT") or saved.get("http-port", 80))
        self.ssh_port = int(os.environ.get("WORKFLOW_SSH_PORT") or saved.get("ssh-port", 2222))
        self.address = os.environ.get("WORKFLOW_ADDRESS", "127.0.0.1")

    @property
    def controller(self):
        port = "" if self.http_port == 80 else f":{self.http_port}"
        return f"http://deis.{self.domain}{port}"

    def remote(self, app):
        return f"ssh://git@deis-builder.{self.domain}:{self.ssh_port}/{app}.git"

    @property
    def bridge_address(self):
        """Where pods reach programs on this machine."""
        name = "wf-" + hashlib.sha256(str(self.state.absolute()).encode()).hexdigest()[:6]
        for interface in json.loads(run("ip", "-j", "-4", "address", "show", "dev", name)):
            return interface["addr_info"][0]["local"]

    def kubectl(self, *argv, document=None):
        env = dict(os.environ, KUBECONFIG=str(self.state / "kubeconfig"))
        done = subprocess.run(["kubectl", *argv], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              input=None if document is None else json.dumps(document), timeout=600)
        if done.returncode != 0:
            raise SystemExit(f"kubectl {' '.join(argv)} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout


def percentile(values, p):
    """The smallest value that at least p percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * p / 100) - 1)]


def report(figure, value, unit, reference=None):
    """A result: figure value unit reference ratio. The ratio is value / reference, whichever of both is better."""
    if reference is None:
        print(f"{figure} {value:.4g} {unit} - -", flush=True)
    else:
        print(f"{figure} {value:.4g} {unit} {reference:.4g} {value / reference:.3f}", flush=True)


def note(text):
    print(text, file=sys.stderr, flush=True)


def run(*argv, check=True, **options):
    """Output of a program; its failure ends the benchmark and shows what it said."""
    options.setdefault("timeout", 300)
    done = subprocess.run([str(a) for a in argv], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, **options)
    if check and done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, argv))} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, limit, what, every=0.01):
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {limit} s: {what}")
        time.sleep(every)


def stop(process):
    """Ends a program that we started."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
