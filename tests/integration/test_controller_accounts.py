"""Accounts, tokens, keys and what every answer shares: a real controller and PostgreSQL, over HTTP. No cluster answers here."""

import base64
import concurrent.futures
import hashlib
import pathlib
import re
import signal
import struct
import subprocess
import sys
import urllib.parse

import pytest
import requests

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from controller_under_test import (  # noqa: E402, F401
    BUILDER_KEY, Controller, admin, alice, bob, no_cluster, postgres, said, start_controller)
from workflow_testing import WORKFLOW, run, wait_for  # noqa: E402

DENIED = "You do not have permission to perform this action."
ANONYMOUS = "Authentication credentials were not provided."
REQUIRED, BLANK = "This field is required.", "This field may not be blank."


@pytest.fixture(scope="module")
def controller(start_controller, no_cluster):  # noqa: F811
    return start_controller(no_cluster)


@pytest.fixture
def fresh(start_controller, no_cluster):  # noqa: F811
    """A controller whose database is empty."""
    return lambda **settings: start_controller(no_cluster, **settings)


# --- what every answer shares


def test_every_answer_carries_the_version_headers(controller, alice):
    answers = [alice.get("/v2/apps/"), controller.anonymous().get("/v2/"), alice.get("/v2/nowhere"), alice.call("PUT", "/v2/keys/"),
               controller.anonymous().get("/healthz"), controller.anonymous().get("/readiness")]
    assert [a.status_code for a in answers] == [200, 401, 404, 405, 200, 200]
    for answer in answers:
        assert answer.headers["DEIS_API_VERSION"] == "2.3", answer.url
        assert answer.headers["DEIS_PLATFORM_VERSION"] == "2.3.0", answer.url
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"


def test_health_answers_without_a_token_and_refuses_what_is_not_reading(controller):
    for path in ("/healthz", "/readiness"):
        assert said(controller.anonymous().get(path)) == (200, "OK")
        head = controller.anonymous().call("HEAD", path)
        assert (head.status_code, head.content) == (200, b"")
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert controller.anonymous().call(method, path).status_code == 405, (method, path)


def test_the_root_is_how_clients_find_out_that_it_is_a_controller(controller, alice):
    assert said(controller.anonymous().get("/v2/")) == (401, ANONYMOUS)
    assert said(alice.get("/v2/")) == (200, {})


def test_a_path_works_with_and_without_its_last_slash(alice, admin):
    assert alice.get("/v2/apps").json() == alice.get("/v2/apps/").json() == {"count": 0, "next": None, "previous": None, "results": []}
    assert admin.get("/v2/users").json()["count"] == admin.get("/v2/users/").json()["count"]


@pytest.mark.parametrize("header, status, detail", [
    (None, 401, ANONYMOUS),
    ("Basic abc", 401, ANONYMOUS),
    ("token", 401, "Invalid token header. No credentials provided."),
    ("token a b", 401, "Invalid token header. Token string should not contain spaces."),
    ("token 0123456789012345678901234567890123456789", 401, "Invalid token."),
])
def test_a_wrong_authorization_header_is_named(controller, header, status, detail):
    answer = requests.get(controller.url + "/v2/auth/whoami/", headers={"Authorization": header} if header else {}, timeout=10)
    assert said(answer) == (status, detail)
    assert answer.headers["WWW-Authenticate"] == "Token"
    assert answer.headers["Content-Type"] == "application/json"


def test_the_keyword_of_a_token_is_not_case_sensitive(controller, alice):
    answer = requests.get(controller.url + "/v2/auth/whoami/", headers={"Authorization": f"Token {alice.token}"}, timeout=10)
    assert answer.json()["username"] == "alice"


def test_who_may_do_nothing_there_is_not_told_what_others_may(alice, admin, controller):
    for path in ("/v2/users/", "/v2/admin/perms/", "/v2/admin/perms/x", "/v2/admin/perms/x/", "/v2/events/", "/v2/hooks/build/"):
        assert said(alice.call("PATCH", path)) == (403, DENIED), path
    assert admin.call("PATCH", "/v2/users/").status_code == 405
    assert controller.builder().call("PATCH", "/v2/hooks/build/").status_code == 405


def test_a_method_that_a_route_lacks_is_405_with_those_that_it_has(alice):
    answer = alice.call("PATCH", "/v2/keys/")
    assert said(answer) == (405, 'Method "PATCH" not allowed.')
    assert {"GET", "POST"} <= {m.strip() for m in answer.headers["Allow"].split(",")}


def test_unknown_paths_are_404_in_html_without_authentication(controller):
    answer = controller.anonymous().get("/v2/nothing/here")
    assert answer.status_code == 404 and answer.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("body, content_type, status, detail", [
    ("{", "application/json", 400, "JSON parse error"),
    ("[]", "application/json", 400, "Expected a dictionary, but got list."),
    ("x", "text/plain", 415, 'Unsupported media type "text/plain" in request.'),
    ('{"username": "\\u0000", "password": "x", "email": ""}', "application/json", 400, "Null characters are not allowed."),
    (b'{"username": "\xff"}', "application/json", 400, "JSON parse error"),
    ("{}" + " " * (11 << 20), "application/json", 413, ""),
])
def test_a_body_that_cannot_be_read_says_why(controller, body, content_type, status, detail):
    answer = requests.post(controller.url + "/v2/auth/register/", data=body, headers={"Content-Type": content_type}, timeout=30)
    assert answer.status_code == status, answer.text
    assert detail in answer.text.replace('\\"', '"')


def test_a_client_that_wants_no_json_gets_406(alice):
    assert alice.get("/v2/apps/", headers={"Accept": "text/html"}).status_code == 406
    assert alice.get("/v2/apps/", headers={"Accept": "text/html, */*;q=0.1"}).status_code == 200


def test_a_preflight_is_answered_to_anybody(controller):
    answer = controller.anonymous().call("OPTIONS", "/v2/apps/", headers={"Origin": "http://x", "Access-Control-Request-Method": "GET"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Max-Age"] == "86400"
    other = controller.anonymous().get("/v2/", headers={"Origin": "http://x"})
    assert other.headers["Access-Control-Expose-Headers"] == "DEIS_API_VERSION, DEIS_PLATFORM_VERSION"


@pytest.mark.parametrize("path", ["/v2/apps/%ff/", "/v2/apps/a%00b/", "/v2/keys/%c3%28", "/v2/admin/perms/%00", "/v2/certs/%ff%fe/"])
def test_bytes_that_are_no_text_in_a_path_are_the_clients_mistake(admin, path):
    for method in ("GET", "DELETE"):
        assert admin.call(method, path).status_code in (400, 404, 405), (method, path)


# --- registration


def test_the_first_user_becomes_administrator_and_nobody_after_him(fresh):
    controller = fresh()
    admin, bob = controller.register("adam"), controller.register("bob")
    assert admin.get("/v2/auth/whoami/").json()["is_superuser"] is True
    assert bob.get("/v2/auth/whoami/").json()["is_superuser"] is False


def test_a_registered_user_is_told_what_is_known_of_him(controller, admin):
    body = {"username": "carl.m+1@x-y_z", "password": "p", "email": "carl@example.com", "first_name": "Carl", "last_name": "M",
            "is_superuser": True, "is_staff": True}
    answer = controller.anonymous().post("/v2/auth/register/", body)
    user = answer.json()
    assert answer.status_code == 201
    assert {k: v for k, v in user.items() if k not in ("last_login", "date_joined", "id")} == {
        "username": "carl.m+1@x-y_z", "email": "carl@example.com", "first_name": "Carl", "last_name": "M", "is_superuser": False,
        "is_staff": False, "groups": [], "user_permissions": [], "is_active": True}
    for name in ("last_login", "date_joined"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", user[name])
    assert controller.login("carl.m+1@x-y_z", "p").get("/v2/auth/whoami/").json() == user


@pytest.mark.parametrize("change, field, message", [
    ({"username": None}, "username", "This field may not be null."),
    ({"username": ""}, "username", BLANK),
    ({"username": "a b"}, "username", "Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ characters."),
    ({"username": "a" * 151}, "username", "Ensure this field has no more than 150 characters."),
    ({"username": "alice"}, "username", "A user with that username already exists."),
    ({"username": "AnonymousUser"}, "username", "A user with that username already exists."),
    ({"password": ""}, "password", BLANK),
    ({"password": "x" * 129}, "password", "Ensure this field has no more than 128 characters."),
    ({"email": "nonsense"}, "email", "Enter a valid email address."),
    ({"email": None}, "email", "This field may not be null."),
    ({"username": ["a"]}, "username", "Not a valid string."),
])
def test_a_field_that_is_wrong_at_registration_is_named(controller, alice, change, field, message):
    body = {"username": "zoe", "password": "p", "email": "zoe@example.com"} | change
    answer = controller.anonymous().post("/v2/auth/register/", body)
    assert answer.status_code == 400
    assert answer.json() == {field: [message]}


def test_all_fields_that_are_wrong_are_named_at_once(controller):
    assert said(controller.anonymous().post("/v2/auth/register/", {})) == (400, {"username": [REQUIRED], "password": [REQUIRED]})


def test_an_email_may_be_absent_or_empty(controller, admin):
    for body in ({"username": "e1", "password": "p"}, {"username": "e2", "password": "p", "email": ""}):
        answer = controller.anonymous().post("/v2/auth/register/", body)
        assert answer.status_code == 201 and answer.json()["email"] == ""


def test_mode_disabled_lets_nobody_register(fresh):
    body = {"username": "x", "password": "p", "email": ""}
    assert said(fresh(REGISTRATION_MODE="disabled").anonymous().post("/v2/auth/register/", body)) == (403, "Registration is disabled")


def test_mode_admin_only_lets_the_first_in_and_then_asks_for_an_administrator(fresh):
    controller = fresh(REGISTRATION_MODE="admin_only")
    admin = controller.register("admin")
    body = {"username": "bob", "password": "p", "email": ""}
    assert said(controller.anonymous().post("/v2/auth/register/", body)) == (403, ANONYMOUS)
    assert admin.post("/v2/auth/register/", body).status_code == 201
    bob = controller.login("bob", "p")
    assert said(bob.post("/v2/auth/register/", body | {"username": "eve"})) == (403, DENIED)
    assert bob.get("/v2/auth/whoami/").json()["is_superuser"] is False


def test_an_unknown_mode_stops_the_start(postgres, no_cluster):  # noqa: F811
    controller = Controller(postgres, no_cluster, REGISTRATION_MODE="sometimes", CONTROLLER_PORT="http", BUILDER_KEY="").launch()
    assert controller.process.wait(timeout=20) == 1
    for word in ("REGISTRATION_MODE", "sometimes", "CONTROLLER_PORT", "BUILDER_KEY"):
        assert word in controller.output()


# --- login, tokens, passwords


@pytest.mark.parametrize("body, expected", [
    ({}, {"username": [REQUIRED], "password": [REQUIRED]}),
    ({"username": "alice", "password": "wrong"}, {"non_field_errors": ["Unable to log in with provided credentials."]}),
    ({"username": "nobody", "password": "wrong"}, {"non_field_errors": ["Unable to log in with provided credentials."]}),
])
def test_login_refuses(controller, alice, body, expected):
    assert said(controller.anonymous().post("/v2/auth/login/", body)) == (400, expected)


def test_a_token_is_forty_hex_digits_and_is_not_in_the_database(controller, alice):
    assert re.fullmatch(r"[0-9a-f]{40}", alice.token)
    assert alice.token not in controller.sql("select * from tokens")
    assert hashlib.sha256(alice.token.encode()).hexdigest() in controller.sql("select hash from tokens")


def test_a_password_is_not_in_the_database_nor_in_the_log(controller):
    controller.register("secretive", "correct horse battery")
    assert "correct horse" not in controller.sql("select * from users")
    assert "correct horse" not in controller.output()


def test_a_flood_of_logins_from_one_address_keeps_nobody_else_out(controller, alice):
    def login(address):
        answer = requests.post(controller.url + "/v2/auth/login/", json={"username": "alice", "password": "secret-1"},
                               headers={"X-Forwarded-For": address}, timeout=120)
        return answer.status_code, answer.json().get("detail")

    with concurrent.futures.ThreadPoolExecutor(80) as people:
        flood = [people.submit(login, "192.0.2.7") for _ in range(80)]
        concurrent.futures.wait(flood, 120, concurrent.futures.FIRST_COMPLETED)
        assert login("192.0.2.8") == (200, None)
        answers = {one.result() for one in flood}
    refused = (503, "Too many people at your address are signing in at this moment. Try again in a few seconds")
    assert answers == {(200, None), refused}


def test_a_password_that_was_hashed_at_less_cost_is_hashed_anew_at_login(controller, admin):
    controller.register("early", "an-old-password")
    old = hashlib.scrypt(b"an-old-password", salt=b"0" * 16, n=16384, r=8, p=1, dklen=32)
    controller.sql(f"update users set password = 'scrypt$16384$8$1${b'0'.hex() * 16}${old.hex()}' where username = 'early'")
    controller.login("early", "an-old-password")
    stored = controller.sql("select password from users where username = 'early'")
    assert stored.startswith("scrypt$16384$8$5$")
    controller.login("early", "an-old-password")
    assert controller.sql("select password from users where username = 'early'") == stored


def test_a_password_is_taken_as_it_is(controller, admin):
    controller.register("blanks", "  inner blanks ")
    assert controller.anonymous().post("/v2/auth/login/", {"username": "blanks", "password": "inner blanks"}).status_code == 400
    blanks = controller.login("blanks", "  inner blanks ")
    change = {"password": "  inner blanks ", "new_password": " x "}
    assert said(blanks.post("/v2/auth/passwd/", change)) == (200, {"status": "password set"})
    controller.login("blanks", " x ")


def test_changing_a_password(controller):
    user = controller.register("changer", "old")
    path = "/v2/auth/passwd/"
    assert said(user.post(path, {})) == (400, "new_password is a required field")
    assert said(user.post(path, {"new_password": "new"})) == (400, "password is a required field")
    wrong = user.post(path, {"password": "wrong", "new_password": "new"})
    assert said(wrong) == (401, "Current password does not match")
    assert wrong.headers["Content-Type"] == "application/json"
    assert said(user.post(path, {"password": "old", "new_password": "new"})) == (200, {"status": "password set"})
    assert controller.anonymous().post("/v2/auth/login/", {"username": "changer", "password": "old"}).status_code == 400
    assert user.get("/v2/auth/whoami/").status_code == 200  # its token is kept
    controller.login("changer", "new")


def test_an_administrator_sets_the_passwords_of_others_and_nobody_else_does(controller, admin, alice):
    controller.register("forgetful", "old")
    path, body = "/v2/auth/passwd/", {"username": "forgetful", "new_password": "given"}
    assert said(alice.post(path, body)) == (403, DENIED)
    assert said(admin.post(path, body)) == (200, {"status": "password set"})
    user = controller.login("forgetful", "given")
    assert user.post(path, {"username": "forgetful", "password": "given", "new_password": "own"}).status_code == 200
    assert said(admin.post(path, {"username": "nobody", "new_password": "x"})) == (404, "No User matches the given query.")


def test_a_regenerated_token_replaces_all_others(controller, admin, alice):
    user = controller.register("renewer")
    second = controller.login("renewer")
    answer = user.post("/v2/auth/tokens/")
    assert answer.status_code == 200
    for old in (user, second):
        assert said(old.get("/v2/auth/whoami/")) == (401, "Invalid token.")
    token = answer.json()["token"]
    mine = requests.get(controller.url + "/v2/auth/whoami/", headers={"Authorization": "token " + token}, timeout=10)
    assert mine.json()["username"] == "renewer"
    assert said(alice.post("/v2/auth/tokens/", {"username": "renewer"})) == (403, DENIED)
    assert re.fullmatch(r"[0-9a-f]{40}", admin.post("/v2/auth/tokens/", {"username": "renewer"}).json()["token"])
    assert said(controller.anonymous().post("/v2/auth/tokens/")) == (401, ANONYMOUS)


def test_an_administrator_renews_the_tokens_of_all(fresh):
    controller = fresh()
    admin, bob = controller.register("admin"), controller.register("bob")
    assert said(bob.post("/v2/auth/tokens/", {"all": True})) == (403, DENIED)
    assert said(admin.post("/v2/auth/tokens/", {"all": True})) == (200, "")
    for user in (admin, bob):
        assert user.get("/v2/auth/whoami/").status_code == 401


def test_cancelling_accounts(controller, admin, alice):
    mine, other = controller.register("leaver"), controller.register("evicted")
    assert said(alice.delete("/v2/auth/cancel/", {"username": "evicted"})) == (403, DENIED)
    assert said(mine.delete("/v2/auth/cancel/")) == (204, None)
    assert mine.get("/v2/auth/whoami/").status_code == 401
    assert said(admin.delete("/v2/auth/cancel/", {"username": "evicted"})) == (204, None)
    assert other.get("/v2/auth/whoami/").status_code == 401
    assert said(admin.delete("/v2/auth/cancel/", {"username": "evicted"})) == (404, "No User matches the given query.")


def test_an_inactive_user_is_let_in_nowhere(controller, admin):
    user = controller.register("sleeper")
    controller.sql("update users set is_active = false where username = 'sleeper'")
    assert said(user.get("/v2/auth/whoami/")) == (401, "User inactive or deleted.")
    login = controller.anonymous().post("/v2/auth/login/", {"username": "sleeper", "password": "secret-1"})
    assert said(login) == (400, {"non_field_errors": ["Unable to log in with provided credentials."]})
    # Registration takes such a token for none.
    assert user.post("/v2/auth/register/", {"username": "awake", "password": "p", "email": ""}).status_code == 201


# --- users and administrators


def test_only_administrators_list_users(admin, alice):
    assert said(alice.get("/v2/users/")) == (403, DENIED)
    page = admin.get("/v2/users/?limit=1000").json()
    names = [u["username"] for u in page["results"]]
    assert page["count"] == len(names) and {"admin", "alice"} <= set(names) and "AnonymousUser" not in names


def test_making_and_unmaking_administrators(controller, admin, alice):
    controller.register("dotted.name")
    path = "/v2/admin/perms/"
    assert said(alice.get(path)) == (403, DENIED)
    assert said(alice.post(path, {"username": "alice"})) == (403, DENIED)
    assert said(admin.post(path, {"username": "dotted.name"})) == (201, None)
    assert said(admin.post(path, {"username": "dotted.name"})) == (201, None)
    assert {"username": "dotted.name", "is_superuser": True} in admin.get(path).json()["results"]
    assert said(admin.delete(path + "dotted.name")) == (204, None)
    assert "dotted.name" not in admin.get(path).text
    assert said(admin.post(path, {"username": "nobody"})) == (404, "No User matches the given query.")
    assert said(admin.post(path, {})) == (400, {"username": [REQUIRED]})


def test_the_last_administrator_stays_one(admin, alice):
    answer = admin.delete("/v2/admin/perms/admin")
    assert answer.status_code == 409 and "last administrator" in answer.text
    assert admin.delete("/v2/auth/cancel/").status_code == 409
    assert admin.get("/v2/auth/whoami/").json()["is_superuser"] is True


def test_pages_have_neighbours(admin, alice, bob):
    first = admin.get("/v2/users/?limit=1").json()
    assert first["previous"] is None and first["next"].endswith("/v2/users/?limit=1&offset=1") and first["next"].startswith("http://127.0.0.1:")
    second = requests.get(first["next"], headers={"Authorization": f"token {admin.token}"}, timeout=10).json()
    assert second["previous"].endswith("/v2/users/?limit=1")
    assert second["results"] != first["results"] and len(second["results"]) == 1
    behind_tls = admin.get("/v2/users/?limit=1", headers={"X-Forwarded-Proto": "https"}).json()
    assert behind_tls["next"].startswith("https://")
    for nonsense in ("limit=0", "limit=-1", "limit=x", "offset=-1", "offset=x", "limit=99999999999999999999"):
        assert admin.get("/v2/users/?" + nonsense).json()["count"] == first["count"], nonsense
    beyond = admin.get("/v2/users/?limit=9223372036854775807&offset=9223372036854775807").json()
    assert beyond["results"] == [] and beyond["count"] == first["count"]


# --- SSH keys


def public_key(kind, seed, comment="me@box"):
    blob = struct.pack(">I", len(kind)) + kind.encode() + hashlib.sha256(seed.encode()).digest() * 4
    return f"{kind} {base64.b64encode(blob).decode()} {comment}"


def fingerprints(public):
    blob = base64.b64decode(public.split()[1])
    md5 = hashlib.md5(blob).hexdigest()
    sha256 = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return ":".join(md5[i:i + 2] for i in range(0, 32, 2)), "SHA256:" + sha256


def test_the_fingerprints_are_those_of_ssh_keygen(controller, alice, tmp_path):
    for kind in ("rsa", "ecdsa", "ed25519"):
        run("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "me@box", "-f", tmp_path / kind)
        public = (tmp_path / f"{kind}.pub").read_text().strip()
        key = alice.post("/v2/keys/", {"id": f"real-{kind}", "public": public}).json()
        printed = run("ssh-keygen", "-l", "-E", "md5", "-f", tmp_path / f"{kind}.pub").stdout.split()[1]
        assert "MD5:" + key["fingerprint"] == printed
        sha256 = run("ssh-keygen", "-l", "-f", tmp_path / f"{kind}.pub").stdout.split()[1]
        for form in (key["fingerprint"], sha256):
            found = controller.builder().get("/v2/hooks/key/" + urllib.parse.quote(form, safe=""))
            assert found.json()["username"] == "alice", form


def test_keys_are_added_listed_read_and_removed(controller, alice, bob):
    public = public_key("ssh-ed25519", "one")
    added = alice.post("/v2/keys/", {"id": "alice@her/laptop", "public": f"  {public} "})
    key = added.json()
    assert added.status_code == 201
    assert list(key) == ["uuid", "owner", "created", "updated", "id", "public", "fingerprint"]
    assert (key["owner"], key["public"], key["fingerprint"]) == ("alice", public, fingerprints(public)[0])
    assert key in alice.get("/v2/keys/").json()["results"]
    assert alice.get("/v2/keys/alice@her/laptop").json() == key
    assert key not in bob.get("/v2/keys/").json()["results"]
    for method in ("GET", "DELETE"):
        assert said(bob.call(method, "/v2/keys/alice@her/laptop")) == (404, "No Key matches the given query.")
    assert said(alice.delete("/v2/keys/alice@her/laptop")) == (204, None)
    assert said(alice.delete("/v2/keys/alice@her/laptop")) == (404, "No Key matches the given query.")


def test_keys_are_listed_by_their_text(alice):
    for seed in ("b", "a", "c"):
        alice.post("/v2/keys/", {"id": f"sorted-{seed}", "public": public_key("ssh-ed25519", seed)})
    listed = [k["public"] for k in alice.get("/v2/keys/").json()["results"]]
    assert listed == sorted(listed)


@pytest.mark.parametrize("body, expected", [
    ({}, {"id": [REQUIRED], "public": [REQUIRED]}),
    ({"id": "x" * 129, "public": public_key("ssh-rsa", "long")}, {"id": ["Ensure this field has no more than 128 characters."]}),
    ({"id": "bad", "public": "ssh-rsa"}, {"public": ["Key contains invalid base64 chars"]}),
    ({"id": "bad", "public": "ssh-rsa AAA"}, {"public": ["Key contains invalid base64 chars"]}),
    ({"id": "taken", "public": public_key("ssh-rsa", "other")}, {"id": ["SSH Key with this id already exists."]}),
    ({"id": "new", "public": public_key("ssh-rsa", "taken", "other comment")}, {"public": ["Public Key is already in use"]}),
])
def test_a_key_that_is_wrong_or_taken(alice, bob, body, expected):
    alice.post("/v2/keys/", {"id": "taken", "public": public_key("ssh-rsa", "taken")})
    assert said(bob.post("/v2/keys/", body)) == (400, expected)


# --- the builder's hooks, as far as they need no app


@pytest.mark.parametrize("path", ["/v2/hooks/key/aa:bb", "/v2/hooks/keys/app", "/v2/hooks/keys/app/alice"])
def test_hooks_ask_for_the_builders_key(controller, alice, admin, path):
    assert said(controller.anonymous().get(path)) == (401, ANONYMOUS)
    assert said(controller.anonymous().get(path, headers={"X-Deis-Builder-Auth": BUILDER_KEY + "x"})) == (401, ANONYMOUS)
    assert said(admin.get(path)) == (403, DENIED)
    # A user's token beside the right key does no harm.
    assert said(admin.get(path, headers={"X-Deis-Builder-Auth": BUILDER_KEY})) == said(
        controller.anonymous().get(path, headers={"X-Deis-Builder-Auth": BUILDER_KEY}))
    assert controller.builder().get(path).status_code == 404


def test_a_key_leads_to_its_owner(controller, bob):
    public = public_key("ssh-ed25519", "builder", "no comment")
    bob.post("/v2/keys/", {"id": "bob@box", "public": public})
    md5, sha256 = fingerprints(public)
    for form in (md5, sha256, urllib.parse.quote(md5, safe=""), urllib.parse.quote(sha256, safe="")):
        assert said(controller.builder().get("/v2/hooks/key/" + form)) == (200, {"username": "bob", "apps": []})
    bob.delete("/v2/keys/bob@box")
    assert said(controller.builder().get("/v2/hooks/key/" + md5)) == (404, "No Key matches the given query.")


# --- certificates, which need no app either


def certificate(folder, *options, name="c", key=("-newkey", "rsa:2048")):
    run("openssl", "req", "-x509", "-nodes", "-days", "30", *key, "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem",
        *options)
    return (folder / f"{name}.pem").read_text(), (folder / f"{name}.key").read_text()


def test_a_certificate_is_described(alice, bob, tmp_path):
    pem, key = certificate(tmp_path, "-subj", "/C=US/ST=CA/CN=foo.com", "-addext", "subjectAltName=DNS:foo.com,IP:1.2.3.4,DNS:www.foo.com")
    body = {"name": "foo-com", "certificate": pem, "key": key, "common_name": "evil.com"}
    answer = alice.post("/v2/certs/", body)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert list(made) == ["id", "owner", "domains", "san", "created", "updated", "name", "common_name", "fingerprint", "expires",
                          "starts", "issuer", "subject"]
    printed = run("openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", tmp_path / "c.pem").stdout.strip().split("=")[1]
    assert made["fingerprint"] == printed
    assert (made["common_name"], made["san"], made["domains"]) == ("foo.com", ["foo.com", "www.foo.com"], [])
    assert made["subject"] == made["issuer"] == "/C=US/ST=CA/CN=foo.com"
    for name in ("starts", "expires"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made[name])
    assert alice.get("/v2/certs/foo-com").json() == made and alice.get("/v2/certs/").json()["results"] == [made]
    assert said(bob.get("/v2/certs/foo-com")) == (404, "No Certificate matches the given query.")
    assert said(alice.post("/v2/certs/", body)) == (400, {"name": ["certificate with this name already exists."]})
    assert alice.call("PUT", "/v2/certs/foo-com").status_code == 405
    assert said(alice.delete("/v2/certs/foo-com")) == (204, None)


@pytest.mark.parametrize("kind", [("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"), ("-newkey", "ed25519")])
def test_other_keys_than_rsa_are_welcome(alice, tmp_path, kind):
    pem, key = certificate(tmp_path, "-subj", "/O=no name", key=kind)
    made = alice.post("/v2/certs/", {"name": "other-kind", "certificate": pem, "key": key})
    assert made.status_code == 201 and made.json()["common_name"] is None and made.json()["san"] == []
    alice.delete("/v2/certs/other-kind")


def test_what_is_no_certificate_is_refused_under_its_field(alice, tmp_path):
    pem, key = certificate(tmp_path, "-subj", "/CN=a")
    _, other = certificate(tmp_path, "-subj", "/CN=b", name="other")
    path = "/v2/certs/"
    assert "Could not load certificate: " in alice.post(path, {"name": "x", "certificate": "x", "key": key}).json()["certificate"][0]
    assert "Could not load private key: " in alice.post(path, {"name": "x", "certificate": pem, "key": "x"}).json()["key"][0]
    mismatch = alice.post(path, {"name": "x", "certificate": pem, "key": other})
    assert mismatch.status_code == 400 and "Certificate and private key do not match!" in mismatch.text
    assert said(alice.post(path, {"name": "Foo_", "certificate": pem, "key": key})) == (
        400, {"name": ["Can only contain a-z (lowercase), 0-9 and hyphens"]})
    encrypted = run("openssl", "rsa", "-aes128", "-passout", "pass:x", "-in", tmp_path / "c.key", "-traditional").stdout
    encrypted = encrypted[encrypted.index("-----BEGIN"):]
    assert "key" in alice.post(path, {"name": "x", "certificate": pem, "key": encrypted}).json()


def test_a_user_with_a_certificate_cannot_be_cancelled(controller, admin, tmp_path):
    user = controller.register("certified")
    pem, key = certificate(tmp_path, "-subj", "/CN=a")
    assert user.post("/v2/certs/", {"name": "certified", "certificate": pem, "key": key}).status_code == 201
    assert user.delete("/v2/auth/cancel/").status_code == 409
    assert user.delete("/v2/certs/certified").status_code == 204
    assert user.delete("/v2/auth/cancel/").status_code == 204


# --- the process


def test_an_app_cannot_be_created_while_the_cluster_is_away_and_its_name_stays_free(alice):
    for _ in range(2):
        answer = alice.post("/v2/apps/", {"id": "homeless"})
        assert answer.status_code == 503, answer.text
    assert alice.get("/v2/apps/").json()["count"] == 0


def test_the_controller_waits_for_the_database_and_survives_its_restart(postgres, no_cluster):  # noqa: F811
    database = postgres.new_database()
    postgres.stop()
    controller = Controller(postgres, no_cluster, database=database).launch()
    try:
        wait_for(lambda: controller_status(controller, "/healthz") == 200, 10, "it lives without a database")
        assert controller_status(controller, "/readiness") == 503
        postgres.start()
        wait_for(controller.ready, 15, "ready once the database is there")
        user = controller.register("first")
        postgres.stop()
        assert controller_status(controller, "/readiness") == 503
        assert user.get("/v2/auth/whoami/").status_code == 503
    finally:
        if postgres.process.poll() is not None:
            postgres.start()
    wait_for(controller.ready, 15, "ready again")
    assert user.get("/v2/auth/whoami/").json()["username"] == "first"
    assert controller.stop() == 0


def controller_status(controller, path):
    try:
        return requests.get(controller.url + path, timeout=15).status_code
    except requests.ConnectionError:
        return None


def test_two_that_register_first_at_once_give_one_administrator(postgres, no_cluster):  # noqa: F811
    database = postgres.new_database()
    controllers = [Controller(postgres, no_cluster, database=database).launch() for _ in range(2)]  # both migrate
    try:
        for controller in controllers:
            wait_for(controller.ready, 20, "ready")
        clients = [subprocess.Popen(["curl", "-s", "-H", "Content-Type: application/json", "-d",
                                     f'{{"username": "user{i}", "password": "p", "email": ""}}', c.url + "/v2/auth/register/"],
                                    stdout=subprocess.DEVNULL) for i in range(4) for c in controllers[i % 2:i % 2 + 1]]
        for client in clients:
            assert client.wait(timeout=30) == 0
        assert controllers[0].sql("select count(*) from users") == "4"
        assert controllers[0].sql("select count(*) from users where is_superuser") == "1"
    finally:
        for controller in controllers:
            assert controller.stop() == 0


def test_every_setting_that_is_missing_is_named():
    refused = run(WORKFLOW, "controller", env={"PATH": "/usr/bin:/bin"}, check=False, timeout=30)
    assert refused.returncode == 1
    for name in ("DATABASE_HOST", "DATABASE_USER", "DATABASE_PASSWORD", "BUILDER_KEY"):
        assert name in refused.stdout


def test_it_ends_cleanly_when_asked(start_controller, no_cluster):  # noqa: F811
    for number in (signal.SIGTERM, signal.SIGINT):
        controller = start_controller(no_cluster)
        controller.process.send_signal(number)
        assert controller.process.wait(timeout=15) == 0
