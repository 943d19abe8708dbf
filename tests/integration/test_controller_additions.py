"""What the API has beyond the original: events and their stream, repeated requests, dry runs, limited tokens, ETags, descriptions."""

import concurrent.futures
import json
import pathlib
import re
import subprocess
import sys
import threading

import pytest
import requests

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from controller_under_test import (  # noqa: E402, F401
    Api, Controller, admin, alice, app, bob, cluster, controller, deployed, no_cluster, postgres, said, start_controller)
from workflow_testing import ROOT, wait_for  # noqa: E402


def events(user, app):
    return user.get(f"/v2/apps/{app}/events/").json()["results"]


# --- events


def test_each_change_leaves_an_event_of_who_and_what(app, alice, bob):
    alice.post(f"/v2/apps/{app}/perms/", {"username": "bob"})
    bob.post(f"/v2/apps/{app}/config/", {"values": {"SECRET": "s3cret"}, "memory": {"web": "1G"}})
    bob.post(f"/v2/apps/{app}/config/", {"values": {"SECRET": "other"}, "memory": {"web": "2G"}})
    bob.post(f"/v2/apps/{app}/settings/", {"maintenance": True})
    alice.post(f"/v2/apps/{app}/domains/", {"domain": f"www.{app}.example.com"})
    told = [(e["user"], e["what"], e["before"], e["after"]) for e in reversed(events(alice, app))]
    assert told[1] == ("alice", "alice created initial release", {}, {"owner": "alice", "release": 1})
    assert told[4][:2] == ("alice", f"User bob was granted access to {app}")
    config = [t for t in told if re.fullmatch(f"config {app}-[0-9a-f]{{7}} updated", t[1])]
    assert config[1][2:] == ({"memory": {}, "values": {}}, {"memory": {"web": "1G"}, "values": {"SECRET": "***"}})
    assert config[2][2:] == ({"memory": {"web": "1G"}, "values": {"SECRET": "***"}}, {"memory": {"web": "2G"}, "values": {"SECRET": "***"}})
    assert ("bob", "bob added SECRET and bob changed limits for memory", {"release": 1}, {"release": 2}) in told
    assert [t[2:] for t in told if t[1].startswith("appsettings")] == [({}, {}), ({"maintenance": False}, {"maintenance": True})]
    assert told[-1] == ("alice", f"domain www.{app}.example.com added", {}, {"domain": f"www.{app}.example.com"})


def test_no_event_and_no_log_line_tells_a_secret(app, alice, controller):
    alice.post(f"/v2/apps/{app}/config/", {"values": {"PORT": "5000", "KEY": "hunter2-value"},
                                           "registry": {"username": "u", "password": "hunter2-registry"}})
    alice.post("/v2/tokens/", {"name": "t"})
    assert "hunter2" not in json.dumps(events(alice, app)) and "hunter2" not in controller.output()
    assert alice.token not in controller.output()
    assert "hunter2" not in controller.sql("select * from events")


def test_events_are_for_those_who_may_use_the_app_and_die_with_it(alice, bob, admin):
    name = alice.create_app()
    assert bob.get(f"/v2/apps/{name}/events/").status_code == 403
    assert admin.get(f"/v2/apps/{name}/events/").status_code == 200
    alice.delete(f"/v2/apps/{name}/")
    assert bob.create_app(name) == name
    assert {e["user"] for e in events(bob, name)} == {"bob"}
    assert alice.get("/v2/events/").status_code == 403
    everything = admin.get("/v2/events/?limit=1000").json()["results"]
    assert ("alice", name, "destroyed") in [(e["user"], e["app"], e["what"]) for e in everything]
    assert [e["id"] for e in everything] == sorted((e["id"] for e in everything), reverse=True)
    bob.delete(f"/v2/apps/{name}/")


def test_events_cannot_be_changed(controller, app):
    for change in ("update events set what = 'x'", "delete from events", "truncate events"):
        assert controller.postgres.psql(change, controller.database, check=False).returncode != 0


class Stream(threading.Thread):
    """Reads server-sent events until told to stop."""

    def __init__(self, user, path, headers=None):
        super().__init__(daemon=True)
        self.answer = requests.get(user.url + path, headers={"Authorization": f"token {user.token}", "Accept": "text/event-stream",
                                                             **(headers or {})}, stream=True, timeout=30)
        self.seen, self.ended = [], False
        self.start()

    def run(self):
        event = {}
        try:
            for line in self.answer.iter_lines(chunk_size=1, decode_unicode=True):
                if not line:
                    if "data" in event:
                        self.seen.append(event)
                    event = {}
                elif not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    event[name] = value
        except requests.RequestException:
            pass
        self.ended = True

    def whats(self):
        return [json.loads(e["data"])["what"] for e in self.seen if e["event"] == "change"]


def test_a_stream_tells_changes_and_progress_as_they_happen(deployed, alice, bob):
    assert bob.get(f"/v2/apps/{deployed}/events/stream").status_code == 403
    stream = Stream(alice, f"/v2/apps/{deployed}/events/stream")
    assert stream.answer.headers["Content-Type"] == "text/event-stream"
    alice.post(f"/v2/apps/{deployed}/config/", {"values": {"A": "1"}})
    wait_for(lambda: "alice added A" in stream.whats(), 10, "the release is told")
    assert any(e["event"] == "progress" and "web" in e["data"] for e in stream.seen), stream.seen
    last = [e["id"] for e in stream.seen if e["event"] == "change"][0]
    again = Stream(alice, f"/v2/apps/{deployed}/events/stream", {"Last-Event-ID": last})
    wait_for(lambda: again.whats() == stream.whats()[1:], 10, "a reader goes on where it was")
    from_the_start = Stream(alice, f"/v2/apps/{deployed}/events/stream?since=0")
    wait_for(lambda: from_the_start.whats()[1:2] == ["alice created initial release"], 10, "all that happened")
    assert alice.get(f"/v2/apps/{deployed}/events/stream?since=x").status_code == 400
    alice.delete(f"/v2/apps/{deployed}/")
    wait_for(lambda: stream.ended and again.ended, 10, "the streams end with the app")


def test_a_stream_tells_what_another_controller_does(postgres, cluster):  # noqa: F811
    first = Controller(postgres, cluster.kubeconfig).start()
    second = Controller(postgres, cluster.kubeconfig, database=first.database).start()
    try:
        user = first.register("u")
        app = user.create_app()
        stream = Stream(Api(second.url, user.token), f"/v2/apps/{app}/events/stream")
        user.post(f"/v2/apps/{app}/config/", {"values": {"A": "1"}})
        wait_for(lambda: "u added A" in stream.whats(), 10, "the other's change is told")
        user.delete(f"/v2/apps/{app}/")
    finally:
        assert [first.stop(), second.stop()] == [0, 0]


# --- jobs


def test_jobs_are_listed_with_their_outcome(deployed, alice, bob, cluster):  # noqa: F811
    alice.post(f"/v2/apps/{deployed}/scale/", {"web": 2})
    alice.post(f"/v2/apps/{deployed}/builds/", {"image": cluster.missing_image, "procfile": {"web": "serve"}})
    listed = alice.get(f"/v2/apps/{deployed}/jobs/").json()["results"]
    assert [(j["kind"], j["state"], j["release"]) for j in listed] == [("deploy", "failed", 4), ("scale", "done", 3), ("deploy", "done", 3)]
    assert listed[0]["message"].startswith("(app::deploy): ") and listed[1]["structure"] == {"web": 2}
    assert alice.get(f"/v2/apps/{deployed}/jobs/{listed[0]['id']}/").json() == listed[0]
    assert said(alice.get(f"/v2/apps/{deployed}/jobs/0/")) == (404, "No Job matches the given query.")
    assert bob.get(f"/v2/apps/{deployed}/jobs/").status_code == 403


# --- requests that are sent again


def again(user, method, path, body, key):
    return Api(user.url, user.token).call(method, path, body, headers={"Idempotency-Key": key})


def test_a_request_with_a_key_is_done_once(deployed, alice):
    path, body = f"/v2/apps/{deployed}/config/", {"values": {"ONCE": "1"}}
    first, second = (again(alice, "POST", path, body, "k-1") for _ in range(2))
    assert (first.status_code, first.json()) == (second.status_code, second.json()) and first.status_code == 201
    assert "Idempotency-Replayed" not in first.headers and second.headers["Idempotency-Replayed"] == "true"
    assert said(again(alice, "POST", path, {"values": {"OTHER": "1"}}, "k-1"))[0] == 422
    assert again(alice, "POST", path, body, "k-2").status_code == 409  # nothing changed: the answer of its own key
    assert again(alice, "POST", path, body, "k-2").headers["Idempotency-Replayed"] == "true"
    for key in ("a b", "x" * 256):
        assert again(alice, "POST", path, body, key).status_code == 400


def test_keys_of_different_users_are_different(alice, bob):
    names = [again(user, "POST", "/v2/apps/", {}, "same").json()["id"] for user in (alice, bob, alice, bob)]
    assert names[0] == names[2] and names[1] == names[3] and names[0] != names[1]
    alice.delete(f"/v2/apps/{names[0]}/")
    bob.delete(f"/v2/apps/{names[1]}/")


def test_of_the_same_request_sent_at_once_all_get_the_one_answer(deployed, alice, cluster):  # noqa: F811
    body = {"image": cluster.image, "procfile": {"web": "serve"}}
    with concurrent.futures.ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: again(alice, "POST", f"/v2/apps/{deployed}/builds/", body, "at-once"), range(6)))
    assert {a.status_code for a in answers} == {201} and len({a.json()["uuid"] for a in answers}) == 1
    assert alice.get(f"/v2/apps/{deployed}/releases/").json()["results"][0]["version"] == 4


def test_a_request_whose_controller_died_is_taken_up_by_its_key(postgres, cluster):  # noqa: F811
    first = Controller(postgres, cluster.kubeconfig).start()
    second = Controller(postgres, cluster.kubeconfig, database=first.database).start()
    try:
        user = first.register("u")
        app = user.create_app()
        user.post(f"/v2/apps/{app}/config/", {"values": {"PORT": "5000"}})
        assert user.post(f"/v2/apps/{app}/builds/", {"image": cluster.image, "procfile": {"web": "serve"}}).status_code == 201
        body = {"values": {"TAKEN_UP": "1"}}

        def send():
            try:
                again(user, "POST", f"/v2/apps/{app}/config/", body, "lost")
            except requests.RequestException:
                pass

        thread = threading.Thread(target=send)
        thread.start()
        wait_for(lambda: first.sql("select count(*) from requests where job_id is not null") == "1", 10, "the work has begun")
        first.kill()
        thread.join()
        answer = again(Api(second.url, user.token), "POST", f"/v2/apps/{app}/config/", body, "lost")
        assert (answer.status_code, answer.json()["values"]) == (201, {"PORT": "5000", "TAKEN_UP": "1"})
        other = Api(second.url, user.token)
        assert [r["version"] for r in other.get(f"/v2/apps/{app}/releases/").json()["results"]] == [4, 3, 2, 1]
        other.delete(f"/v2/apps/{app}/")
    finally:
        first.stop()
        assert second.stop() == 0


# --- dry runs


def test_a_dry_run_tells_what_would_change_and_changes_nothing(deployed, alice):
    alice.post(f"/v2/apps/{deployed}/config/", {"values": {"A": "1"}, "memory": {"web": "1G"}})
    before = alice.get(f"/v2/apps/{deployed}/releases/").json(), events(alice, deployed), alice.get(f"/v2/apps/{deployed}/").json()
    config = alice.post(f"/v2/apps/{deployed}/config/?dry_run=true", {"values": {"A": None, "B": "2"}, "memory": {"web": "2G"}})
    assert said(config) == (200, {"dry_run": True, "summary": "alice added B, deleted A and alice changed limits for memory",
                                  "before": {"memory": {"web": "1G"}, "values": {"A": "***"}},
                                  "after": {"memory": {"web": "2G"}, "values": {"B": "***"}}})
    scale = alice.post(f"/v2/apps/{deployed}/scale/?dry_run=1", {"web": 3, "worker": 2})
    assert said(scale) == (200, {"dry_run": True, "summary": "alice scaled pods web=3 worker=2", "before": {"web": 1},
                                 "after": {"web": 3, "worker": 2}})
    rollback = alice.post(f"/v2/apps/{deployed}/releases/rollback/?dry_run=true", {"version": 3})
    assert said(rollback) == (200, {"dry_run": True, "summary": "alice rolled back to v3",
                                    "before": {"memory": {"web": "1G"}, "values": {"A": "***"}}, "after": {"memory": {}, "values": {}}})
    assert before == (alice.get(f"/v2/apps/{deployed}/releases/").json(), events(alice, deployed), alice.get(f"/v2/apps/{deployed}/").json())


@pytest.mark.parametrize("path, body, status", [
    ("config/?dry_run=true", {"values": {"0": "x"}}, 400), ("config/?dry_run=true", {"values": {"NONE": None}}, 422),
    ("config/?dry_run=true", {}, 409), ("scale/?dry_run=true", {"ghost": 1}, 404), ("releases/rollback/?dry_run=true", {"version": 99}, 400),
    ("config/?dry_run=perhaps", {"values": {"A": "1"}}, 400),
])
def test_a_dry_run_refuses_what_the_real_one_would(deployed, alice, path, body, status):
    assert alice.post(f"/v2/apps/{deployed}/{path}", body).status_code == status


# --- tokens with less power


def limited(alice, **limits):
    answer = alice.post("/v2/tokens/", {"name": "limited", **limits})
    assert answer.status_code == 201, answer.text
    return Api(alice.url, answer.json()["token"], "alice"), answer.json()["id"]


def test_a_token_may_be_limited_to_reading(app, alice):
    reader, _ = limited(alice, scope="read")
    assert reader.get(f"/v2/apps/{app}/config/").status_code == 200
    for method, path in (("POST", f"/v2/apps/{app}/config/"), ("DELETE", f"/v2/apps/{app}/"), ("POST", "/v2/keys/"),
                         ("POST", "/v2/tokens/"), ("POST", "/v2/auth/tokens/"), ("DELETE", "/v2/auth/cancel/")):
        assert said(reader.call(method, path, {})) == (403, "This token may only read."), path


def test_a_token_may_be_limited_to_some_apps(app, alice):
    other = alice.create_app()
    deployer, _ = limited(alice, apps=[app])
    assert deployer.post(f"/v2/apps/{app}/config/", {"values": {"A": "1"}}).status_code == 201
    assert said(deployer.get(f"/v2/apps/{other}/")) == (403, f"This token is not for the app {other}.")
    assert [a["id"] for a in deployer.get("/v2/apps/").json()["results"]] == [app]
    assert deployer.get("/v2/auth/whoami/").json()["username"] == "alice" and deployer.get("/v2/").status_code == 200
    for method, path in (("GET", "/v2/keys/"), ("GET", "/v2/certs/"), ("POST", "/v2/apps/"), ("POST", "/v2/tokens/"),
                         ("POST", "/v2/auth/passwd/"), ("DELETE", f"/v2/apps/{other}/perms/bob")):
        assert deployer.call(method, path, {}).status_code == 403, path
    alice.delete(f"/v2/apps/{other}/")


def test_a_token_ends_when_it_is_told_to(alice, controller):
    mortal, number = limited(alice, expires_in=3600)
    assert mortal.get("/v2/").status_code == 200
    controller.sql(f"update tokens set expires = now() - interval '1 second' where id = {number}")
    assert said(mortal.get("/v2/")) == (401, "Invalid token.")


def test_tokens_are_listed_without_their_text_and_removed(alice, bob):
    token, number = limited(alice, scope="read", apps=["some-app"], expires_in=60)
    shown = [t for t in alice.get("/v2/tokens/").json()["results"] if t["id"] == number][0]
    assert (shown["name"], shown["scope"], shown["apps"]) == ("limited", "read", ["some-app"]) and "token" not in shown
    assert bob.delete(f"/v2/tokens/{number}/").status_code == 404
    assert said(alice.delete(f"/v2/tokens/{number}/")) == (204, None)
    assert token.get("/v2/").status_code == 401
    assert alice.get("/v2/").status_code == 200


@pytest.mark.parametrize("body, field", [
    ({}, "name"), ({"name": "x", "scope": "some"}, "scope"), ({"name": "x", "apps": []}, "apps"), ({"name": "x", "apps": ["Not An App"]}, "apps"),
    ({"name": "x", "expires_in": 0}, "expires_in"), ({"name": "x", "expires_in": "soon"}, "expires_in"), ({"name": "x" * 129}, "name"),
])
def test_a_token_that_cannot_be_is_refused_by_field(alice, body, field):
    answer = alice.post("/v2/tokens/", body)
    assert answer.status_code == 400 and list(answer.json()) == [field], answer.text


# --- ETags


def test_who_has_the_answer_already_is_told_so(app, alice):
    first = alice.get(f"/v2/apps/{app}/config/")
    etag = first.headers["ETag"]
    known = alice.get(f"/v2/apps/{app}/config/", headers={"If-None-Match": etag})
    assert (known.status_code, known.content, known.headers["ETag"]) == (304, b"", etag)
    alice.post(f"/v2/apps/{app}/config/", {"values": {"A": "1"}})
    assert alice.get(f"/v2/apps/{app}/config/", headers={"If-None-Match": etag}).status_code == 200


def test_a_config_that_changed_meanwhile_is_not_overwritten(app, alice):
    path = f"/v2/apps/{app}/config/"
    etag = alice.get(path).headers["ETag"]
    assert alice.call("POST", path, {"values": {"A": "1"}}, headers={"If-Match": etag}).status_code == 201
    assert said(alice.call("POST", path, {"values": {"B": "1"}}, headers={"If-Match": etag})) == (412, "The config has changed since you read it")
    assert alice.get(path).json()["values"] == {"A": "1"}


# --- logins that fail


def test_who_guesses_passwords_has_to_wait(start_controller, no_cluster):  # noqa: F811
    controller = start_controller(no_cluster, LOGIN_FAILURES="3")
    controller.register("victim")
    tries = [controller.anonymous().post("/v2/auth/login/", {"username": "victim", "password": "guess"}) for _ in range(4)]
    assert [t.status_code for t in tries] == [400, 400, 400, 429]
    assert 0 < int(tries[3].headers["Retry-After"]) <= 60
    assert controller.anonymous().post("/v2/auth/login/", {"username": "victim", "password": "secret-1"}).status_code == 429
    controller.register("somebody")  # others are not kept out


# --- the description


def test_the_description_names_every_path_and_needs_no_token(controller):
    answer = controller.anonymous().get("/v2/openapi.json")
    described = answer.json()
    assert answer.status_code == 200 and described["openapi"].startswith("3.1")
    operations = [o for path in described["paths"].values() for o in path.values()]
    assert len(operations) >= 66 and len({o["operationId"] for o in operations}) == len(operations)
    named = set(re.findall(r'"#/components/schemas/(\w+)"', answer.text))
    assert named - {"Time"} <= set(described["components"]["schemas"])
    assert set(described["components"]["schemas"]) - named == set(), "schemas that nothing refers to"


def test_the_documentation_is_made_from_the_description(controller, tmp_path):
    (tmp_path / "openapi.json").write_text(controller.anonymous().get("/v2/openapi.json").text)
    made = subprocess.run([ROOT / "tools/api-docs", tmp_path / "openapi.json"], text=True, stdout=subprocess.PIPE, check=True).stdout
    assert made == (ROOT / "docs/api.md").read_text(), "run tools/api-docs URL > docs/api.md and commit"
