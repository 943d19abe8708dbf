"""Builds, releases, scaling and pods: what a deploy does, and that none ever half-happens. Real controllers, PostgreSQL, cluster."""

import concurrent.futures
import hashlib
import hmac
import http.server
import pathlib
import sys
import threading
import time
import urllib.parse

import pytest
import requests

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from controller_under_test import (  # noqa: E402, F401
    Controller, admin, alice, app, build, cluster, controller, deployed, postgres, said, start_controller)
from workflow_testing import free_port, wait_for  # noqa: E402

DENIED = "You do not have permission to perform this action."


@pytest.fixture(scope="module")
def image(cluster):  # noqa: F811
    return cluster.image


def structure(user, app):
    return user.get(f"/v2/apps/{app}/").json()["structure"]


def releases(user, app):
    return user.get(f"/v2/apps/{app}/releases/").json()["results"]


def pods(user, app, path=""):
    return user.get(f"/v2/apps/{app}/pods/{path}").json()["results"]


# --- builds


def test_a_build_is_deployed_as_a_release(app, alice, image):
    alice.post(f"/v2/apps/{app}/config/", {"values": {"PORT": "5000"}})
    answer = build(alice, app, image)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert list(made) == ["owner", "app", "image", "sha", "procfile", "dockerfile", "created", "updated", "uuid"]
    assert (made["owner"], made["image"], made["sha"], made["procfile"], made["dockerfile"]) == ("alice", image, "", {"web": "serve"}, "")
    newest = releases(alice, app)[0]
    assert (newest["version"], newest["summary"], newest["build"], newest["failed"]) == (3, f"alice deployed {image}", made["uuid"], False)
    assert alice.get(f"/v2/apps/{app}/builds/").json()["results"] == [made]
    assert alice.get(f"/v2/apps/{app}/builds/{made['uuid']}/").json() == made
    for wrong in ("00000000-0000-0000-0000-000000000000", "x", "%ff"):
        assert alice.get(f"/v2/apps/{app}/builds/{wrong}/").status_code in (400, 404)
    shown = alice.get(f"/v2/apps/{app}/").json()
    assert (shown["structure"], shown["procfile_structure"]) == ({"web": 1}, {"web": "serve"})
    listed = pods(alice, app)
    assert [(p["type"], p["release"], p["state"]) for p in listed] == [("web", "v3", "up")]
    assert listed[0]["name"].startswith(f"{app}-web-") and listed[0]["started"].endswith("Z")
    for method in ("PUT", "PATCH", "DELETE"):
        assert alice.call(method, f"/v2/apps/{app}/builds/").status_code == 405


def test_two_builds_of_one_image_are_two_releases(deployed, alice, image):
    first = releases(alice, deployed)[0]
    assert build(alice, deployed, image).status_code == 201
    second = releases(alice, deployed)[0]
    assert second["version"] == first["version"] + 1 and second["build"] != first["build"]
    assert second["config"] == first["config"]


@pytest.mark.parametrize("more, expected", [
    ({"procfile": {}}, {"cmd": 1}),
    ({"procfile": {"worker": "work"}}, {"cmd": 1}),
    ({"procfile": {"web": "serve", "worker": "work"}}, {"web": 1}),
    ({"procfile": {}, "dockerfile": "true", "sha": "a" * 40}, {"cmd": 1}),
    ({"procfile": {}, "sha": "a" * 8}, {"web": 1}),
    ({"procfile": {"worker": "work"}, "sha": "a" * 8}, {}),
])
def test_what_runs_after_the_first_build(app, alice, image, more, expected):
    alice.post(f"/v2/apps/{app}/config/", {"values": {"PORT": "5000"}})
    answer = build(alice, app, image, **more)
    assert answer.status_code == 201, answer.text
    assert structure(alice, app) == expected
    assert sorted(p["type"] for p in pods(alice, app)) == sorted(expected)


def test_a_type_that_leaves_the_procfile_stops(deployed, alice, image):
    alice.post(f"/v2/apps/{deployed}/scale/", {"worker": 1})
    assert build(alice, deployed, image).status_code == 201
    assert structure(alice, deployed) == {"web": 1, "worker": 0}
    assert [p["type"] for p in pods(alice, deployed)] == ["web"]


def test_scaled_to_zero_stays_zero(deployed, alice, image):
    assert said(alice.post(f"/v2/apps/{deployed}/scale/", {"web": 0})) == (204, None)
    assert build(alice, deployed, image).status_code == 201
    assert structure(alice, deployed)["web"] == 0 and pods(alice, deployed) == []


def test_procfile_policies(start_controller, cluster):  # noqa: F811
    image = cluster.image
    refusing = start_controller(cluster.kubeconfig, DEIS_DEPLOY_REJECT_IF_PROCFILE_MISSING="true").register("a")
    keeping = start_controller(cluster.kubeconfig, DEIS_DEPLOY_PROCFILE_MISSING_REMOVE="false").register("a")
    for user in (refusing, keeping):
        app = user.create_app()
        user.post(f"/v2/apps/{app}/config/", {"values": {"PORT": "5000"}})
        assert build(user, app, image).status_code == 201
        before = releases(user, app)[0]["version"]
        answer = build(user, app, image, procfile={})
        if user is refusing:
            assert said(answer) == (409, "Last deployment had a Procfile but is missing in this deploy. For a successful deployment "
                                         "provide a Procfile.")
            assert releases(user, app)[0]["version"] == before and user.get(f"/v2/apps/{app}/builds/").json()["count"] == 1
        else:
            assert answer.json()["procfile"] == {"web": "serve"} and structure(user, app) == {"web": 1}
        user.delete(f"/v2/apps/{app}/")


def test_an_administrator_builds_for_others_and_a_stranger_does_not(deployed, admin, controller, image):
    stranger = controller.register("stranger")
    assert said(build(stranger, deployed, image)) == (403, DENIED)
    assert build(admin, deployed, image).json()["owner"] == "admin"


# --- failed deploys


def test_a_failed_build_leaves_everything_as_it_was(deployed, alice, cluster):  # noqa: F811
    before = (structure(alice, deployed), alice.get(f"/v2/apps/{deployed}/config/").json(), pods(alice, deployed))
    answer = build(alice, deployed, cluster.missing_image, procfile={"web": "serve"})
    assert answer.status_code == 400 and answer.json()["detail"].startswith("(app::deploy): "), answer.text
    failed = releases(alice, deployed)[0]
    assert (failed["version"], failed["failed"]) == (4, True)
    assert failed["exception"] == "error: " + answer.json()["detail"]
    assert failed["summary"] == f"alice deployed {failed['build'][:7]} which failed"
    assert (structure(alice, deployed), alice.get(f"/v2/apps/{deployed}/config/").json(), pods(alice, deployed)) == before
    # The next change stands on the last good release, and takes the next number.
    good = alice.post(f"/v2/apps/{deployed}/config/", {"values": {"A": "1"}})
    assert good.status_code == 201, good.text
    newest = releases(alice, deployed)[0]
    assert (newest["version"], newest["summary"]) == (5, "alice added A") and newest["build"] != failed["build"]


def test_a_failed_first_build_leaves_no_counts(app, alice, cluster):  # noqa: F811
    alice.post(f"/v2/apps/{app}/config/", {"values": {"PORT": "5000"}})
    assert build(alice, app, cluster.missing_image).status_code == 400
    assert structure(alice, app) == {} and pods(alice, app) == []
    assert build(alice, app, cluster.image).status_code == 201
    assert structure(alice, app) == {"web": 1}


def test_a_port_is_needed_or_the_release_fails(app, alice, image):
    answer = build(alice, app, image)
    assert answer.status_code in (201, 400)  # 201 where the image exposes a port
    if answer.status_code == 400:
        assert "port" in answer.text.lower() and releases(alice, app)[0]["failed"]


def test_rolling_back_after_failures(deployed, alice, cluster):  # noqa: F811
    path = f"/v2/apps/{deployed}/releases/rollback/"
    assert build(alice, deployed, cluster.missing_image).status_code == 400  # v4
    assert said(alice.post(path, {"version": 4})) == (400, "Cannot roll back to failed release.")
    alice.post(f"/v2/apps/{deployed}/config/", {"values": {"A": "1"}})  # v5
    assert said(alice.post(path, {"version": 3})) == (201, {"version": 6})
    assert alice.get(f"/v2/apps/{deployed}/config/").json()["values"] == {"PORT": "5000"}
    assert {p["release"] for p in pods(alice, deployed)} == {"v6"}
    assert said(alice.post(path, {"version": 2}))[0] == 400  # it had no build


# --- scale, pods


@pytest.mark.parametrize("body, status, detail", [
    ({"web": "one"}, 400, "Invalid scaling format: invalid literal for int() with base 10: 'one'"),
    ({"web": [1]}, 400, None), ({"web": None}, 400, None), ({"web": 10 ** 9}, 400, None), ({"web": 1e300}, 400, None),
    ({"web": -1}, 400, "Invalid scaling format: [ErrorDetail(string='Must be greater than or equal to zero', code='invalid')]"),
    ({"nothing": 1}, 404, "Container type nothing does not exist in application"),
])
def test_a_count_that_cannot_be(deployed, alice, body, status, detail):
    answer = alice.post(f"/v2/apps/{deployed}/scale/", body)
    assert answer.status_code == status, answer.text
    if detail:
        assert said(answer)[1] == detail
    assert structure(alice, deployed) == {"web": 1}


def test_scaling_up_and_down(deployed, alice):
    path, count = f"/v2/apps/{deployed}/scale/", len(releases(alice, deployed))
    assert said(alice.post(path, {"web": 3, "worker": "2"})) == (204, None)
    assert structure(alice, deployed) == {"web": 3, "worker": 2}
    assert sorted(p["type"] for p in pods(alice, deployed)) == ["web"] * 3 + ["worker"] * 2
    assert [p["type"] for p in pods(alice, deployed, "worker/")] == ["worker"] * 2
    assert pods(alice, deployed, "nothing/") == []
    name = pods(alice, deployed, "web/")[0]["name"]
    assert [p["name"] for p in pods(alice, deployed, f"web/{name}/")] == [name]
    assert said(alice.get(f"/v2/apps/{deployed}/pods/web/nobody/")) == (200, {"results": [], "count": 0})
    assert said(alice.post(path, {"web": 1, "worker": 0})) == (204, None)
    wait_for(lambda: [p["type"] for p in pods(alice, deployed)] == ["web"], 30, "the surplus is gone")
    assert said(alice.post(path, {"web": 1})) == (204, None)
    assert len(releases(alice, deployed)) == count


def test_a_new_release_keeps_the_counts(deployed, alice):
    alice.post(f"/v2/apps/{deployed}/scale/", {"web": 2})
    assert alice.post(f"/v2/apps/{deployed}/config/", {"values": {"A": "1"}}).status_code == 201
    assert [p["release"] for p in pods(alice, deployed)] == ["v4", "v4"]


def test_restarts_answer_with_the_pods(deployed, alice):
    path = f"/v2/apps/{deployed}/pods/"
    for which in ("restart/", "web/restart/"):
        answer = alice.post(path + which)
        assert answer.status_code == 200 and [p["type"] for p in answer.json()] == ["web"], answer.text
    assert said(alice.post(path + "worker/restart/")) == (200, [])
    told = [e["what"] for e in alice.get(f"/v2/apps/{deployed}/events/").json()["results"]]
    assert told[:2] == ["alice restarted pods of web", "alice restarted pods"]


# --- hooks


def test_the_builders_build_hook(deployed, controller, alice, image):
    body = {"receive_user": "alice", "receive_repo": deployed, "image": f"home/{deployed}:git-abcdef12/push", "sha": "abcdef12",
            "procfile": {"web": "serve"}}
    answer = controller.builder().post("/v2/hooks/build/", body)
    assert said(answer) == (200, {"release": {"version": 4}})
    newest = releases(alice, deployed)[0]
    assert newest["summary"] == "alice deployed abcdef1"
    assert alice.get(f"/v2/apps/{deployed}/builds/").json()["results"][0]["sha"] == "abcdef12"
    assert said(controller.builder().post("/v2/hooks/build/", {"receive_user": "alice", "receive_repo": deployed})) == (
        400, {"image": ["This field is required."]})


class Hooks(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.calls.append((self.path, self.headers.get("Authorization"), self.rfile.read(int(self.headers["Content-Length"] or 0))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_deploy_hooks_are_told_of_each_release(start_controller, cluster):  # noqa: F811
    server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Hooks)
    server.calls = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_address[1]}/hook"
    controller = start_controller(cluster.kubeconfig, DEIS_DEPLOY_HOOK_URLS=f"http://127.0.0.1:9/broken, {base}",
                                  DEIS_DEPLOY_HOOK_SECRET_KEY="s3cret")
    user = controller.register("hooked")
    app = user.create_app()
    try:
        user.post(f"/v2/apps/{app}/config/", {"values": {"PORT": "5000", "WITH_SPACE": "x"}})
        assert build(user, app, cluster.image, sha="0123456789", dockerfile="true").status_code == 201
        wait_for(lambda: len(server.calls) == 3, 10, "three calls, one per release")
        said_by = {urllib.parse.parse_qs(path.split("?")[1])["release"][0]: (path, auth, body) for path, auth, body in server.calls}
        path, auth, body = said_by["v3"]
        assert path == f"/hook?app={app}&release=v3&release_summary=hooked+deployed+0123456&sha=0123456789&user=hooked"
        assert auth == hmac.new(b"s3cret", (base + path[len("/hook"):]).encode(), hashlib.sha1).hexdigest()
        assert body == b""
        assert f"release_summary=hooked+created+initial+release&sha=&user=hooked" in said_by["v1"][0]
    finally:
        user.delete(f"/v2/apps/{app}/")
        server.shutdown()


# --- jobs


def test_of_changes_at_once_one_wins_and_the_others_are_told(deployed, alice):
    def change(i):
        return alice_of(alice).post(f"/v2/apps/{deployed}/config/", {"values": {f"KEY{i}": "1"}})

    with concurrent.futures.ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(change, range(6)))
    won = [a for a in answers if a.status_code == 201]
    lost = [a for a in answers if a.status_code == 409]
    assert won and len(won) + len(lost) == 6, [a.text for a in answers]
    for answer in lost:
        assert answer.json()["detail"].startswith(f"Deployment for {deployed}-") and answer.json()["detail"].endswith("is already in progress")
    shown = alice.get(f"/v2/apps/{deployed}/config/").json()["values"]
    assert len(shown) == 1 + len(won)
    assert [r["version"] for r in releases(alice, deployed)] == list(range(3 + len(won), 0, -1))


def alice_of(user):
    from controller_under_test import Api
    return Api(user.url, user.token, user.username)


def test_a_client_that_goes_away_stops_nothing(deployed, alice, controller):
    body = {"values": {"GONE": "1"}}
    with pytest.raises((requests.ReadTimeout, requests.ConnectionError)):
        alice_of(alice).post(f"/v2/apps/{deployed}/config/", body, timeout=0.005)
    wait_for(lambda: controller.sql("select count(*) from jobs where state = 'running'") == "0", 30, "no job runs")
    wait_for(lambda: alice.get(f"/v2/apps/{deployed}/config/").json()["values"].get("GONE") == "1", 30, "the change is live")


def test_what_a_killed_controller_began_another_ends(postgres, cluster):  # noqa: F811
    first = Controller(postgres, cluster.kubeconfig).start()
    second = Controller(postgres, cluster.kubeconfig, database=first.database).start()
    user = first.register("survivor")
    app = user.create_app()
    try:
        user.post(f"/v2/apps/{app}/config/", {"values": {"PORT": "5000"}})
        assert build(user, app, cluster.image).status_code == 201
        for round_ in range(3):
            thread = threading.Thread(target=lambda: ignoring_errors(
                lambda: alice_of(user).post(f"/v2/apps/{app}/config/", {"values": {f"ROUND{round_}": "1"}})))  # noqa: B023
            thread.start()
            time.sleep(0.01 * (round_ + 1))  # somewhere inside the deploy
            first.kill()
            thread.join()
            wait_for(lambda: first.sql("select count(*) from jobs where state = 'running'") == "0", 30, "the job is ended")
            first.start()
            other = second.login("survivor")
            stored = first.sql(f"select count(*) from configs where vars like '%ROUND{round_}%'") != "0"
            shown = other.get(f"/v2/apps/{app}/config/").json()["values"]
            assert (f"ROUND{round_}" in shown) == stored
            assert {p["release"] for p in pods(other, app)} == {f"v{releases(other, app)[0]['version']}"}
        assert first.sql("select count(*) from releases where state = 'pending'") == "0"
    finally:
        second.login("survivor").delete(f"/v2/apps/{app}/")
        assert [first.stop(), second.stop()] == [0, 0]


def ignoring_errors(work):
    try:
        work()
    except requests.RequestException:
        pass


def test_an_app_may_be_destroyed_while_it_is_deployed(alice, cluster, controller):  # noqa: F811
    for _ in range(3):
        name = alice.create_app()
        alice.post(f"/v2/apps/{name}/config/", {"values": {"PORT": "5000"}})
        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            building = threads.submit(lambda: build(alice_of(alice), name, cluster.image))  # noqa: B023
            assert said(alice.delete(f"/v2/apps/{name}/")) == (204, None)
            assert building.result().status_code in (201, 400, 404, 409, 503)
        assert controller.process.poll() is None
        assert said(alice.get(f"/v2/apps/{name}/"))[0] == 404
        again = alice.post("/v2/apps/", {"id": name})  # nothing of it is left over
        assert again.status_code == 201, again.text
        alice.delete(f"/v2/apps/{name}/")


def test_a_failed_release_is_told_again_after_a_restart(deployed, alice, controller, cluster):  # noqa: F811
    build(alice, deployed, cluster.missing_image)
    before = releases(alice, deployed)
    assert controller.stop() == 0
    controller.start()
    assert releases(alice, deployed) == before


def test_the_service_has_what_the_app_says_and_keeps_what_operators_say(app, alice, image, cluster, controller):  # noqa: F811
    path, api = f"/api/v1/namespaces/{app}/services/{app}", cluster.engine.api
    mine = lambda: api.get(path)["metadata"]["annotations"]  # noqa: E731
    assert api.get(path)["spec"]["selector"] == {
        "app": app, "heritage": "deis", "type": "web", "router.deis.io/serving": "true"}
    alice.post(f"/v2/apps/{app}/config/", {"values": {"PORT": "5000"}})
    assert build(alice, app, image, procfile={}).status_code == 201
    assert api.get(path)["spec"]["selector"]["type"] == "cmd"
    # Somebody edits by hand: what is ours comes back, the rest stays.
    api.send("PATCH", path, {"metadata": {"annotations": {"router.deis.io/nginx.x": "1", "router.deis.io/whitelist": "9.9.9.9"}}},
             "application/merge-patch+json")
    assert alice.post(f"/v2/apps/{app}/settings/", {"maintenance": True}).status_code == 201
    assert (mine()["router.deis.io/maintenance"], mine()["router.deis.io/nginx.x"]) == ("true", "1")
    assert "router.deis.io/whitelist" not in mine()
    alice.post(f"/v2/apps/{app}/whitelist/", {"addresses": ["10.0.0.0/8"]})
    assert mine()["router.deis.io/whitelist"] == "10.0.0.0/8"
    alice.delete(f"/v2/apps/{app}/whitelist/", {"addresses": ["10.0.0.0/8"]})
    assert "router.deis.io/whitelist" not in mine() and mine()["router.deis.io/nginx.x"] == "1"
    assert api.get(path)["spec"]["selector"]["type"] == "cmd"  # settings do not lead requests elsewhere
    # One that was lost leads to what runs.
    api.send("DELETE", path)
    assert alice.post(f"/v2/apps/{app}/settings/", {"maintenance": False}).status_code == 201
    assert api.get(path)["spec"]["selector"]["type"] == "cmd"
    owners = {m["manager"] for m in api.get(path)["metadata"]["managedFields"]}
    assert owners == {"workflow", "workflow-release"}
