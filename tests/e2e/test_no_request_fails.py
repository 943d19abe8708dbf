"""Requests go on while everything changes under them."""

import contextlib
import os
import subprocess
import sys

from platform_under_test import Load
from workflow_testing import wait_for


def test_200_requests_a_second_during_push_scale_config_and_rollback(alice, platform, app, releases):
    alice.deis("scale", "web=2", "-a", app)
    with Load(platform, app, per_second=200) as load:
        first = releases(app)[0]
        page = alice.folder / app / "notes.txt"
        page.write_text("changed\n")
        alice.commit(app, "change")
        alice.push(app)
        alice.deis("scale", "web=3", "-a", app)
        alice.deis("config:set", "POWERED_BY=no downtime", "-a", app)
        alice.deis("scale", "web=1", "-a", app)
        alice.deis("rollback", first, "-a", app)
        alice.deis("ps:restart", "-a", app)
    assert load.sent > 500, "the load never ran"
    assert load.failures == [], f"{len(load.failures)} of {load.sent} requests failed: {load.failures[:5]}"


@contextlib.contextmanager
def busy_processors():
    """As a build keeps them."""
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * os.cpu_count())]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def test_done_is_served_also_while_all_processors_are_busy(alice, platform, app):
    with busy_processors():
        alice.deploy("e2e-busy", "hello")
        assert [platform.app("e2e-busy")[0] for _ in range(5)] == [200] * 5
        domain = "busy.example.com"
        alice.deis("domains:add", domain, "-a", "e2e-busy")
        assert platform.get(domain, "/")[0] == 200
        with Load(platform, app, per_second=20) as load:
            for value in ("one", "two", "three"):
                alice.deis("config:set", f"POWERED_BY={value}", "-a", app)
                assert value in platform.app(app)[2]
    assert load.sent > 20, "the load never ran"
    assert load.failures == [], f"{len(load.failures)} of {load.sent} requests failed: {load.failures[:5]}"


def test_the_controller_answers_while_it_is_replaced(alice, platform):
    replicas = lambda: {pod["metadata"]["name"] for pod in platform.pods("deis") if pod["metadata"]["labels"]["app"] == "deis-controller"}
    before = replicas()
    with Load(platform, "deis", per_second=100, path="/v2/", status=401) as load:
        platform.kubectl("-n", "deis", "rollout", "restart", "deployment/deis-controller")
        wait_for(lambda: replicas() and not replicas() & before, 60, "the controller is another one")
    assert load.sent > 50, "the load never ran"
    assert load.failures == [], f"{len(load.failures)} of {load.sent} requests failed: {load.failures[:5]}"
