"""Requests go on while everything changes under them."""

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


def test_the_controller_answers_while_it_is_replaced(alice, platform):
    replicas = lambda: {pod["metadata"]["name"] for pod in platform.pods("deis") if pod["metadata"]["labels"]["app"] == "deis-controller"}
    before = replicas()
    with Load(platform, "deis", per_second=100, path="/v2/", status=401) as load:
        platform.kubectl("-n", "deis", "rollout", "restart", "deployment/deis-controller")
        wait_for(lambda: replicas() and not replicas() & before, 60, "the controller is another one")
    assert load.sent > 50, "the load never ran"
    assert load.failures == [], f"{len(load.failures)} of {load.sent} requests failed: {load.failures[:5]}"
