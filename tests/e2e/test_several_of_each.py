"""Three controllers and two routers, replaced one after the other as an upgrade does, while people work."""

import json
import threading

import pytest

from platform_under_test import Load
from workflow_testing import wait_for

REPLICAS = {"deis-controller": 3, "deis-router": 2}


def deployment(platform, name):
    return json.loads(platform.kubectl("get", "deployment", name, "-n", "deis", "-o", "json"))


def pods_of(platform, name):
    return {pod["metadata"]["name"] for pod in platform.pods("deis") if pod["metadata"]["labels"].get("app") == name}


def wait_for_replicas(platform, count):
    def settled():
        states = [deployment(platform, name) for name in REPLICAS]
        return all(state["status"].get("observedGeneration") == state["metadata"]["generation"]
                   and state["status"].get("updatedReplicas", 0) == state["status"].get("availableReplicas", 0) == count[state["metadata"]["name"]]
                   and len(pods_of(platform, state["metadata"]["name"])) == count[state["metadata"]["name"]] for state in states)

    wait_for(settled, 180, f"the replicas are {count}")


@pytest.fixture
def several(platform):
    before = {name: deployment(platform, name)["spec"]["replicas"] for name in REPLICAS}
    for name, count in REPLICAS.items():
        platform.kubectl("scale", "deployment", name, "-n", "deis", f"--replicas={count}")
    wait_for_replicas(platform, REPLICAS)
    yield
    for name, count in before.items():
        platform.kubectl("scale", "deployment", name, "-n", "deis", f"--replicas={count}")
    wait_for_replicas(platform, before)


def test_an_upgrade_of_all_replicas_fails_no_request_and_no_push(alice, platform, app, several, releases):
    before = {name: pods_of(platform, name) for name in REPLICAS}
    version = int(releases(app)[0].removeprefix("v"))
    with Load(platform, app, per_second=50) as apps, Load(platform, "deis", per_second=20, path="/v2/", status=401) as api:
        replaced = threading.Event()

        def replace():
            for name in REPLICAS:
                platform.kubectl("rollout", "restart", "deployment", name, "-n", "deis")
            wait_for_replicas(platform, REPLICAS)
            replaced.set()

        upgrade = threading.Thread(target=replace)
        upgrade.start()
        pushes = 0
        try:
            while not (replaced.is_set() and pushes):
                (alice.folder / app / "notes.txt").write_text(f"push {pushes} of an upgrade\n")
                alice.commit(app, f"push {pushes}")
                assert "deployed to Workflow" in alice.push(app)
                pushes += 1
                alice.deis("config:set", f"POWERED_BY=upgrade {pushes}", "-a", app)
                platform.wait_served(app, f"Powered by upgrade {pushes}", limit=60)
                if not upgrade.is_alive():
                    break
        finally:
            upgrade.join()
    assert replaced.is_set(), "the replicas were not replaced"
    assert all(before[name].isdisjoint(pods_of(platform, name)) for name in REPLICAS)
    assert int(releases(app)[0].removeprefix("v")) == version + 2 * pushes
    for load in (apps, api):
        assert load.sent > 50, "the load never ran"
        assert load.failures == [], f"{len(load.failures)} of {load.sent} requests failed: {load.failures[:5]}"


def test_no_component_asked_for_what_it_may_not(platform, app):
    """What each may is in the chart's roles; a refusal is in the engine's audit log."""
    lines = [json.loads(line) for path in sorted((platform.state / "audit").iterdir()) for line in path.read_text().splitlines()]
    of_components = [line for line in lines if line["user"]["username"].startswith("system:serviceaccount:deis:")]
    assert {line["user"]["username"].rpartition(":")[2] for line in of_components} >= {"deis-controller", "deis-builder"}
    refused = {(line["user"]["username"], line["verb"], line["requestURI"]) for line in of_components if line["responseStatus"]["code"] == 403}
    assert refused == set()
