"""Who may do what, on every route: the table is the description that the controller serves, so that no route can be forgotten."""

import pathlib
import re
import socket
import sys

import pytest
import requests

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from controller_under_test import Api, cluster, postgres, said, start_controller  # noqa: E402, F401
from workflow_testing import run  # noqa: E402

DENIED = "You do not have permission to perform this action."
ANONYMOUS = "Authentication credentials were not provided."
# What a collaborator may not: beside these, every DELETE.
OWNERS_ALONE = {"addCollaborator"}


@pytest.fixture(scope="module")
def controller(start_controller, cluster):  # noqa: F811
    return start_controller(cluster.kubeconfig)


@pytest.fixture(scope="module")
def users(controller):
    return {name: controller.register(name) for name in ("admin", "owner", "collaborator", "stranger")}


@pytest.fixture(scope="module")
def app(users):
    name = users["owner"].create_app()
    assert users["owner"].post(f"/v2/apps/{name}/perms/", {"username": "collaborator"}).status_code == 201
    return name


@pytest.fixture(scope="module")
def routes(controller, app):
    """(operationId, method, path with values, who) of every route."""
    described = controller.anonymous().get("/v2/openapi.json").json()["paths"]
    found = []
    for path, operations in described.items():
        for method, operation in operations.items():
            security = operation["security"]
            who = "builder" if security and "builder" in security[0] else "token" if security else "anybody"
            filled = path.replace("{app}", app)
            for name, value in (("version", "v1"), ("type", "web"), ("name", "x"), ("job", "1"), ("id", "1"), ("uuid", "x"),
                                ("domain", "x.example.com"), ("username", "stranger"), ("fingerprint", "aa:bb")):
                filled = filled.replace("{" + name + "}", value)
            assert "{" not in filled, filled
            found.append((operation["operationId"], method.upper(), filled, who))
    return found


def test_every_endpoint_of_the_original_is_there(routes):
    assert len([r for r in routes if r[2] != "/metrics"]) >= 66


def test_nobody_without_a_token_gets_in(routes, controller):
    for name, method, path, who in routes:
        if who == "anybody":
            continue
        answer = controller.anonymous().call(method, path)
        assert said(answer) == (401, ANONYMOUS), name
        assert answer.headers["WWW-Authenticate"] == "Token", name
        wrong = Api(controller.url, "0" * 40).call(method, path)
        assert said(wrong) == (401, "Invalid token."), name


def test_the_builders_key_opens_the_hooks_alone(routes, controller, users):
    for name, method, path, who in routes:
        answer = controller.builder().call(method, path)
        if who == "builder":
            assert answer.status_code != 401, name
            assert said(users["admin"].call(method, path)) == (403, DENIED), name
            assert Api(controller.url, headers={"X-Deis-Builder-Auth": "wrong"}).call(method, path).status_code == 401, name
        elif who == "token":
            assert said(answer) == (401, ANONYMOUS), name


def test_a_stranger_is_refused_on_every_route_of_an_app(routes, app, users):
    tried = 0
    for name, method, path, who in routes:
        if not path.startswith(f"/v2/apps/{app}/"):
            continue
        if name == "removeCollaborator":
            path = path.replace("/stranger", "/collaborator")
        assert said(users["stranger"].call(method, path, {})) == (403, DENIED), name
        tried += 1
    assert tried > 35


def test_an_app_that_is_not_there_is_404_on_every_route(routes, app, users):
    for name, method, path, who in routes:
        if path.startswith(f"/v2/apps/{app}/"):
            path = path.replace(app, "no-such-app")
            for user in ("stranger", "admin"):
                assert said(users[user].call(method, path, {})) == (404, "No App matches the given query."), name


def test_a_collaborator_may_not_delete_nor_share(routes, app, users):
    for name, method, path, who in routes:
        if not path.startswith(f"/v2/apps/{app}/"):
            continue
        if method == "DELETE" or name in OWNERS_ALONE:
            body = {"owner": "stranger", "username": "stranger"}
            if name != "removeCollaborator":
                assert said(users["collaborator"].call(method, path, body)) == (403, DENIED), name
        elif method == "GET" and name != "streamEvents":
            assert users["collaborator"].call(method, path).status_code != 403, name
    assert said(users["collaborator"].post(f"/v2/apps/{app}/", {"owner": "collaborator"})) == (403, DENIED)
    assert said(users["collaborator"].delete(f"/v2/apps/{app}/perms/owner")) == (403, DENIED)


def test_owners_and_administrators_are_refused_nowhere_in_an_app(routes, app, users):
    harmless = {"POST": {"username": "nobody", "owner": "nobody", "domain": "under_score", "addresses": ["x"], "procfile_type": "_"}}
    tried = 0
    for name, method, path, who in routes:
        if not path.startswith(f"/v2/apps/{app}/") or name in ("streamEvents", "destroyApp", "run"):
            continue
        for user in ("owner", "admin"):
            # `removeCollaborator` of somebody without access is 403 for everybody.
            answer = users[user].call(method, path, harmless.get(method, {"procfile_type": "none", "addresses": ["1.1.1.1"]}))
            assert answer.status_code not in (401, 403) or name == "removeCollaborator", (name, user, answer.text)
        tried += 1
    assert tried > 35


def test_only_administrators_administer(routes, users):
    for name in ("listUsers", "listAdministrators", "addAdministrator", "removeAdministrator", "listAllEvents"):
        method, path = next((m, p) for n, m, p, _ in routes if n == name)
        for user in ("owner", "collaborator", "stranger"):
            assert said(users[user].call(method, path, {"username": user})) == (403, DENIED), name


def test_keys_certificates_and_tokens_are_their_owners_alone(users, tmp_path):
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9", "-subj", "/CN=x",
        "-keyout", tmp_path / "key", "-out", tmp_path / "crt")
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "ssh")
    owner = users["owner"]
    owner.post("/v2/keys/", {"id": "my@box", "public": (tmp_path / "ssh.pub").read_text()})
    made = owner.post("/v2/certs/", {"name": "mine", "certificate": (tmp_path / "crt").read_text(), "key": (tmp_path / "key").read_text()})
    assert made.status_code == 201 and "PRIVATE KEY" not in made.text
    number = owner.post("/v2/tokens/", {"name": "mine"}).json()["id"]
    for user in ("admin", "stranger"):
        for path in ("/v2/keys/my@box", "/v2/certs/mine/", f"/v2/tokens/{number}/"):
            assert users[user].delete(path).status_code == 404, path
        for path in ("/v2/keys/", "/v2/certs/", "/v2/tokens/"):
            assert users[user].get(path).json()["count"] == 0, path
        assert users[user].post("/v2/certs/mine/domain/", {"domain": "x"}).status_code == 404
    assert owner.get("/v2/keys/my@box").status_code == 200 and owner.get("/v2/certs/mine").status_code == 200


FOR_ADMINISTRATORS = {"/v2/users/", "/v2/events/", "/v2/admin/perms/", "/v2/admin/perms/stranger/"}


def test_methods_that_no_route_has_are_405_for_those_who_may_use_its_path(routes, controller, users):
    for name, method, path, who in routes:
        if who != "token":
            continue
        user = users["admin" if path in FOR_ADMINISTRATORS else "owner"]
        assert said(user.call("PATCH", path)) == (405, 'Method "PATCH" not allowed.'), name
        assert said(controller.anonymous().call("PATCH", path)) == (401, ANONYMOUS) or path.startswith("/v2/auth/"), name
        answer = user.call("OPTIONS", path)
        assert answer.status_code == 200 and method in answer.headers["Allow"], name
        if path in FOR_ADMINISTRATORS:
            assert [said(users["owner"].call(m, path)) for m in ("PATCH", "OPTIONS")] == [(403, DENIED)] * 2, name
    assert {path for _, _, path, _ in routes} >= FOR_ADMINISTRATORS


def test_every_route_takes_its_path_with_and_without_the_last_slash(routes, users):
    for name, method, path, who in routes:
        if method != "GET" or who != "token" or name in ("streamEvents", "getKey"):
            continue
        statuses = [users["admin"].get(path.rstrip("/") + end).status_code for end in ("", "/")]
        assert statuses[0] == statuses[1] or path.count("/") == 4 and "perms" in path, (name, statuses)


TEXTS = ["'; DROP TABLE users; --", "\" OR 1=1 --", "$1", "%s", "\\'; SELECT 1", "‮abc", "a" * 5000, "../../etc/passwd", "\n\rX: y", "<script>"]


def test_no_text_of_a_request_becomes_anything_but_text(users, app, controller):
    owner = users["owner"]
    for text in TEXTS:
        assert owner.post("/v2/apps/", {"id": text}).status_code == 400
        assert owner.post(f"/v2/apps/{app}/domains/", {"domain": text}).status_code == 400
        assert owner.post(f"/v2/apps/{app}/perms/", {"username": text}).status_code == 404
        assert owner.post("/v2/auth/tokens/", {"username": text}).status_code == 403
        assert controller.anonymous().post("/v2/auth/login/", {"username": text, "password": text}).status_code == 400
        stored = owner.post(f"/v2/apps/{app}/config/", {"values": {"TEXT": text}})
        assert stored.status_code == 201 and stored.json()["values"]["TEXT"] == text
        assert owner.get(f"/v2/apps/{app}/config/").json()["values"]["TEXT"] == text
        answer = owner.get(f"/v2/apps/{app}/releases/", params={"limit": text, "offset": text})
        assert answer.status_code == 200
    assert controller.sql("select count(*) from users") == "4"


def test_requests_that_are_too_large_are_refused(controller, users):
    assert users["owner"].call("GET", "/v2/", headers={"X-Large": "x" * 100_000}).status_code in (400, 413, 431)
    with socket.create_connection(("127.0.0.1", controller.port), timeout=10) as raw:
        raw.sendall(b"POST /v2/apps/ HTTP/1.1\r\nHost: x\r\nAuthorization: token " + users["owner"].token.encode() +
                    b"\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n")
        assert re.match(rb"HTTP/1.1 413 ", raw.recv(1000))
    nested = "[" * 100_000
    answer = requests.post(controller.url + "/v2/apps/", data=nested, timeout=30,
                           headers={"Authorization": f"token {users['owner'].token}", "Content-Type": "application/json"})
    assert answer.status_code == 400


def test_an_error_of_ours_shows_nothing_of_the_inside(controller, users, app):
    controller.sql("alter table settings rename to elsewhere")
    try:
        answer = users["owner"].get(f"/v2/apps/{app}/settings/")
        assert said(answer) == (500, "Server Error")
    finally:
        controller.sql("alter table elsewhere rename to settings")
    assert users["owner"].get(f"/v2/apps/{app}/settings/").status_code == 200
