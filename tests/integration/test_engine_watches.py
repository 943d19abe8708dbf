"""Watches: when they end, and what they hold while they last."""

import json
import pathlib
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from engine_under_test import Engine  # noqa: E402

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    engine = Engine(tmp_path_factory.mktemp("engine"))
    yield engine
    engine.kill()


def test_a_watch_with_bookmarks_ends_with_one_bookmark(engine):
    text = engine.kubectl("get", "--raw", MAPS + "?watch=1&allowWatchBookmarks=true&timeoutSeconds=1").stdout
    assert [json.loads(line)["type"] for line in text.splitlines()] == ["ADDED", "BOOKMARK"]  # kube-root-ca.crt


def test_a_watch_without_bookmarks_ends(engine):
    text = engine.kubectl("get", "--raw", MAPS + "?watch=1&timeoutSeconds=1").stdout
    assert [json.loads(line)["type"] for line in text.splitlines()] == ["ADDED"]


@pytest.mark.parametrize("bookmarks", ["true", "false"])
def test_a_watch_ends_while_events_come_without_a_pause(engine, bookmarks):
    over = threading.Event()

    def write():
        number = 0
        while not over.is_set():
            number += 1
            engine.api.send("POST", MAPS, {"metadata": {"generateName": "busy-", "labels": {"busy": "yes"}}, "data": {"n": str(number)}})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        path = f"{MAPS}?watch=1&labelSelector=busy&allowWatchBookmarks={bookmarks}&timeoutSeconds=2"
        events = [event["type"] for event in engine.api.watch(path)]
    finally:
        over.set()
        writer.join()
    assert events.count("ADDED") > 1
    assert events.count("BOOKMARK") <= 1
    engine.api.send("DELETE", MAPS + "?labelSelector=busy")
