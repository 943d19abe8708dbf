"""The API under faults of its machine: what cannot be done is refused and says so, what can be done goes on, and when the fault is
over everything works again, without a restart."""

import json
import pathlib
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from engine_under_test import Engine  # noqa: E402
from faults import Shim, SmallDisk, idle_connections, limited, no_descriptors, stopped  # noqa: E402
from workflow_testing import wait_for  # noqa: E402

MAPS = "/api/v1/namespaces/default/configmaps"


def make(engine, name):
    return engine.api.send("POST", MAPS, {"metadata": {"name": name}, "data": {"text": "x" * 1000}})


def names(engine):
    return {item["metadata"]["name"] for item in engine.api.get(MAPS)["items"]}


def test_a_full_disk_refuses_writes_and_nothing_else(tmp_path):
    with SmallDisk(tmp_path / "state", megabytes=64, private=False) as disk:
        engine = Engine(disk.folder)
        try:
            assert make(engine, "before")[0] == 201
            refused = []
            with disk.full():
                for number in range(200):  # what SQLite has reserved may still take some
                    status, answer = make(engine, f"full-{number}")
                    if status != 201:
                        refused.append((number, status, answer))
                        break
                assert refused, "a full disk took everything"
                number, status, answer = refused[0]
                assert status == 503 and "no space left on the disk" in answer["message"]
                assert "before" in names(engine) and f"full-{number}" not in names(engine)
                assert engine.api.send("PATCH", MAPS + "/before", {"data": {"text": "y"}}, "application/merge-patch+json")[0] == 503
                assert engine.api.get(MAPS + "/before")["data"]["text"] == "x" * 1000
            wait_for(lambda: make(engine, "after")[0] in (201, 409), 20, "the engine writes again")
            present = names(engine)
            assert {"before", "after"} <= present
            audit = [json.loads(line) for line in (disk.folder / "audit/audit.log").read_text().splitlines()]
            assert audit[-1]["verb"] == "create"  # whole lines, and it goes on
            engine.kill()
            engine.start()
            assert names(engine) == present
        finally:
            engine.kill()


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    engine = Engine(tmp_path_factory.mktemp("engine"))
    yield engine
    engine.kill()


def test_without_a_descriptor_left_who_is_connected_is_served_and_new_ones_are_later(engine):
    connection = engine.api.connect()
    ask = lambda: (connection.request("GET", MAPS), connection.getresponse().read())
    ask()
    with no_descriptors(engine.process):
        ask()
        connection.request("POST", MAPS, json.dumps({"metadata": {"name": "tight"}}), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 201
    wait_for(engine.answers, 20, "new connections are answered again")
    connection.close()


def test_a_crowd_of_idle_connections_leaves_room_for_who_asks(engine):
    with limited(engine.process, "NOFILE", 400), idle_connections(("127.0.0.1", engine.port), 300):
        wait_for(engine.answers, 60, "the engine answers beside 300 connections that only wait")


def test_who_was_held_up_goes_on(engine):
    with stopped(engine.process):
        pass
    assert make(engine, "held-up")[0] == 201


def test_a_clock_that_jumps_ends_tokens_and_nothing_else(tmp_path):
    shim = Shim(tmp_path)
    state = tmp_path / "state"
    state.mkdir()
    engine = Engine(state, shim.env)
    try:
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        wait_for(lambda: engine.api.send("GET", account)[0] == 200, 20, "the account of every namespace")
        token = engine.api.send("POST", account + "/token", {"spec": {"expirationSeconds": 3600}})[1]["status"]["token"]
        review = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
        ask = lambda: engine.api.send("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review,
                                      headers={"Authorization": "Bearer " + token})[0]
        assert ask() == 201
        with shim.clock_ahead(3 * 3600):
            assert ask() == 401
            assert make(engine, "ahead")[0] == 201
            events = [event["type"] for event in engine.api.watch(MAPS + "?watch=1&allowWatchBookmarks=true&timeoutSeconds=1")]
            assert events[-1] == "BOOKMARK" and events.count("BOOKMARK") == 1
        assert ask() == 201
        assert make(engine, "back")[0] == 201
        assert {"ahead", "back"} <= names(engine)
    finally:
        engine.kill()


def test_a_slow_disk_makes_writers_wait_and_nobody_else(tmp_path):


    shim = Shim(tmp_path)
    state = tmp_path / "state"
    state.mkdir()
    engine = Engine(state, shim.env)
    try:
        wait_for(lambda: "kube-root-ca.crt" in names(engine), 20, "the ConfigMap of every namespace")
        made = []
        with shim.slow_disk(3.0):
            writer = threading.Thread(target=lambda: made.append(make(engine, "slow")[0]))
            writer.start()
            while not made:  # what is not on the disk is not shown; reading goes on meanwhile
                seen = names(engine)
                if "slow" in seen:
                    break
                assert seen == {"kube-root-ca.crt"}
            writer.join()
        assert made == [201] and "slow" in names(engine)
    finally:
        engine.kill()
