"""What `deis logs` shows of the platform's own doing. What containers write is in the end-to-end tests, with real pods."""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from controller_under_test import (  # noqa: E402, F401
    Api, Controller, admin, alice, app, bob, build, cluster, controller, deployed, no_cluster, postgres, said, start_controller)

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 deis\[controller\]: (INFO|ERROR) .+")


def log(user, app, query=""):  # noqa: F811
    """Its lines; without those that say that the pretended node has no logs."""
    answer = user.get(f"/v2/apps/{app}/logs{query}")
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "text/plain", answer.text
    return [line for line in answer.text.splitlines() if ": WARN " not in line]


def test_a_pod_that_cannot_be_asked_is_named_and_hides_nothing(deployed, alice):
    warnings = [line for line in alice.get(f"/v2/apps/{deployed}/logs").text.splitlines() if ": WARN " in line]
    assert re.search(rf"deis\[controller\]: WARN the log of {deployed}-web-[a-z0-9-]+ cannot be read now: .", warnings[0])
    assert "INFO alice created initial release" in log(alice, deployed)[1]


def test_a_log_tells_who_did_what_in_the_form_of_the_original(deployed, alice, cluster):  # noqa: F811
    alice.post(f"/v2/apps/{deployed}/scale/", {"web": 2})
    alice.post(f"/v2/apps/{deployed}/domains/", {"domain": f"www.{deployed}.example.com"})
    lines = log(alice, deployed)
    assert all(LINE.fullmatch(line) for line in lines), lines
    said_ = [re.sub(r".*?: ", "", line, count=1) for line in lines]
    for wanted in ("INFO alice created initial release", "INFO alice added PORT", f"INFO alice deployed {cluster.image}",
                   "INFO alice scaled pods web=2", f"INFO domain www.{deployed}.example.com added"):
        assert wanted in said_, said_
    assert [line[:19] for line in lines] == sorted(line[:19] for line in lines)
    assert re.fullmatch(rf"INFO config {deployed}-[0-9a-f]{{7}} updated", said_[0])
    assert said_[1] == "INFO alice created initial release"
    assert re.fullmatch(rf"INFO appsettings {deployed}-[0-9a-f]{{7}} updated", said_[2])
    assert said_[3] == f"INFO domain {deployed} added"
    assert any(re.fullmatch(rf"INFO build {deployed}-[0-9a-f]{{7}} created", line) for line in said_)


def test_a_log_is_as_long_as_asked(app, alice):  # noqa: F811
    alice.post(f"/v2/apps/{app}/config/", {"values": {"A": "1"}})
    everything = log(alice, app)
    assert len(everything) == 6 and log(alice, app, "?log_lines=2") == everything[-2:]
    assert log(alice, app, "/?log_lines=1") == everything[-1:]
    for text in ("", "x", "100000000000000000000"):
        assert log(alice, app, f"?log_lines={text}") == everything


def test_a_log_tells_why_a_deploy_failed(deployed, alice, cluster):  # noqa: F811
    refused = build(alice, deployed, cluster.missing_image)
    assert refused.status_code == 400
    lines = log(alice, deployed)
    assert any(": INFO v4 failed" in line for line in lines), lines
    first = refused.json()["detail"].splitlines()[0]
    assert first.startswith("(app::deploy): ") and any(line.endswith(f": ERROR {first}") for line in lines), lines


def test_a_log_is_for_those_who_may_use_the_app_and_has_no_secrets(app, alice, bob, controller):  # noqa: F811
    alice.post(f"/v2/apps/{app}/config/", {"values": {"KEY": "hunter2"}})
    assert "hunter2" not in "".join(log(alice, app))
    assert bob.get(f"/v2/apps/{app}/logs").status_code == 403
    assert controller.anonymous().get(f"/v2/apps/{app}/logs").status_code == 401


def test_without_the_cluster_there_is_no_log(app, alice, controller, postgres, no_cluster):  # noqa: F811
    blind = Controller(postgres, no_cluster, database=controller.database).start()
    try:
        answer = Api(blind.url, alice.token).get(f"/v2/apps/{app}/logs")
        assert (answer.status_code, answer.text, answer.headers["Content-Type"]) == (500, f"Error accessing logs for {app}", "text/plain")
    finally:
        blind.stop()
