"""kill -9 of the engine at random moments while clients change things: what it acknowledged is there afterwards, and what it
did not is there completely or not at all. WORKFLOW_KILLS sets how often (30), WORKFLOW_SEED the moments."""

import http.client
import os
import pathlib
import random
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from engine_under_test import Engine

KILLS = int(os.environ.get("WORKFLOW_KILLS", "30"))
SEED = int(os.environ.get("WORKFLOW_SEED", str(random.randrange(10 ** 6))))
BASE = "/api/v1/namespaces/default/configmaps"


class Writer(threading.Thread):
    """Creates, changes and deletes ConfigMaps of its own, and remembers what the API said of each."""

    def __init__(self, engine, number):
        super().__init__(daemon=True)
        self.engine, self.number, self.random = engine, number, random.Random(SEED * 100 + number)
        self.known = {}  # name → the value that was acknowledged; None: deleted
        self.open = {}   # name → the value of a request without an answer
        self.acknowledged, self.stopping, self.problems = 0, False, []

    def run(self):
        while not self.stopping:
            try:
                self.change()
            except (OSError, http.client.HTTPException):
                self.engine_is_down.wait(0.05)

    engine_is_down = threading.Event()  # never set: a pause that costs nothing

    def change(self):
        name = f"w{self.number}-{self.random.randrange(12)}"
        if name in self.open:
            self.settle(name)
        value, before = str(self.random.randrange(10 ** 9)), self.known.get(name)
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value, "padding": value * 50}}
        if before is None:
            request, expected = ("POST", BASE, body), {201}
        elif self.random.random() < 0.2:
            request, expected, value = ("DELETE", f"{BASE}/{name}"), {200}, None
        elif self.random.random() < 0.5:
            request, expected = ("PUT", f"{BASE}/{name}", body), {200}
        else:
            request, expected = ("PATCH", f"{BASE}/{name}", {"data": body["data"]}, "application/merge-patch+json"), {200}
        self.open[name] = value
        status, answer = self.engine.api.send(*request)
        if status not in expected:
            self.problems.append(f"{request[:2]}: {status} {answer}")
        del self.open[name]
        self.known[name] = value
        self.acknowledged += 1

    def settle(self, name):
        """What became of a request that the kill cut off: done or not, nothing between."""
        status, found = self.engine.api.send("GET", f"{BASE}/{name}")
        value = found["data"]["value"] if status == 200 else None
        if value not in (self.known.get(name), self.open[name]):
            self.problems.append(f"{name} is {value}, was {self.known.get(name)}, asked for {self.open[name]}")
        if status == 200 and found["data"]["padding"] != value * 50:
            self.problems.append(f"{name} is a mixture: {found['data']}")
        self.known[name] = value
        del self.open[name]

    def check(self, found):
        """Everything that was acknowledged, against what is there now."""
        for name, value in self.known.items():
            if name not in self.open and found.get(name) != value:
                self.problems.append(f"{name} is {found.get(name)}, acknowledged was {value}")


@pytest.fixture
def engine(tmp_path):
    built = Engine(tmp_path)
    yield built
    built.stop()


def test_no_acknowledged_write_is_lost(engine):
    moments = random.Random(SEED)
    writers = [Writer(engine, number) for number in range(4)]
    versions = 0
    for writer in writers:
        writer.start()
    for _ in range(KILLS):
        time.sleep(moments.uniform(0.02, 0.35))  # the moment of the kill, not a wait for something
        engine.kill()
        engine.start()
        listed = engine.api.get(BASE)
        version = int(listed["metadata"]["resourceVersion"])
        assert version >= versions, "resourceVersion went back"
        versions = version
        newest = max((int(o["metadata"]["resourceVersion"]) for o in listed["items"]), default=0)
        assert newest <= version
    for writer in writers:
        writer.stopping = True
    for writer in writers:
        writer.join(timeout=30)
    engine.kill()
    engine.start()
    found = {o["metadata"]["name"]: o["data"]["value"] for o in engine.api.get(BASE)["items"] if "value" in o.get("data", {})}
    for writer in writers:
        for name in list(writer.open):
            writer.settle(name)
        writer.check(found)
        assert not writer.problems, f"seed {SEED}: " + "\n".join(writer.problems[:10])
    assert sum(writer.acknowledged for writer in writers) > KILLS


def test_a_second_engine_on_the_same_folder_is_told_so(engine):
    with pytest.raises(AssertionError, match="in use by another engine"):
        Engine(engine.state)
