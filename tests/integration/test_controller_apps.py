"""Apps and what belongs to them, deploys left out: a real controller, PostgreSQL and cluster, over HTTP."""

import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from controller_under_test import (  # noqa: E402, F401
    admin, alice, app, bob, carl, cluster, postgres, said, shared, start_controller)
from workflow_testing import run  # noqa: E402

DENIED = "You do not have permission to perform this action."
REQUIRED, BLANK = "This field is required.", "This field may not be blank."
NO_APP, NO_USER = "No App matches the given query.", "No User matches the given query."


@pytest.fixture(scope="module")
def controller(start_controller, cluster):  # noqa: F811
    return start_controller(cluster.kubeconfig, RESERVED_NAMES="deis, deis-builder", PLATFORM_DOMAIN="apps.example.net")


# --- apps


def test_an_app_is_created_listed_read_and_destroyed(alice):
    made = alice.post("/v2/apps/", {"id": "shop-1", "structure": {"web": -1}})
    app = made.json()
    assert made.status_code == 201
    assert list(app) == ["uuid", "id", "owner", "structure", "procfile_structure", "created", "updated"]
    assert (app["id"], app["owner"], app["structure"], app["procfile_structure"]) == ("shop-1", "alice", {}, {})
    assert alice.get("/v2/apps/shop-1/").json() == app == alice.get("/v2/apps/").json()["results"][0]
    assert alice.call("PATCH", "/v2/apps/shop-1/").status_code == 405
    assert said(alice.delete("/v2/apps/shop-1/")) == (204, None)
    for path in ("", "config/", "releases/", "builds/", "pods/", "domains/"):
        assert said(alice.get(f"/v2/apps/shop-1/{path}")) == (404, NO_APP), path


def test_a_name_is_made_up_when_none_is_given(alice):
    for body in (None, {}, {"id": None}):
        made = alice.post("/v2/apps/", body)
        assert made.status_code == 201 and re.fullmatch(r"[a-z]+-[a-z]+", made.json()["id"])
        alice.delete(f"/v2/apps/{made.json()['id']}/")


RULE = ("App name must start with an alphabetic character, cannot end with a hyphen and can only contain a-z (lowercase), 0-9 and "
        "hyphens.")
SLUG = 'Enter a valid "slug" consisting of letters, numbers, underscores or hyphens.'


@pytest.mark.parametrize("name, messages", [
    ("a" * 64, ["Ensure this field has no more than 63 characters."]),
    ("camelCase", [RULE]), ("9lives", [RULE]), ("ends-", [RULE]), ("under_score", [RULE]), ("dot.ted", [RULE, SLUG]),
    ("newline\n\n.", [RULE, SLUG]), ("", [BLANK]), ("deis", ["deis is a reserved name."]),
    ("taken", ["Application with this id already exists."]),
])
def test_a_name_that_cannot_be_says_why(alice, bob, name, messages):
    bob.post("/v2/apps/", {"id": "taken"})
    assert said(alice.post("/v2/apps/", {"id": name})) == (400, {"id": messages})
    bob.delete("/v2/apps/taken/")


def test_a_namespace_that_exists_is_nobodys_app(app, start_controller, cluster):  # noqa: F811
    other = start_controller(cluster.kubeconfig)
    answer = other.register("eve").post("/v2/apps/", {"id": app})
    assert said(answer) == (409, f"{app} already exists as a namespace in this kuberenetes setup")
    assert other.sql("select count(*) from apps") == "0"


def test_apps_are_listed_by_name_to_their_owner_and_to_administrators(alice, bob, admin):
    for user, name in ((alice, "zebra"), (alice, "ant"), (bob, "mole")):
        user.create_app(name)
    names = lambda user: [a["id"] for a in user.get("/v2/apps/").json()["results"]]  # noqa: E731
    assert names(alice) == sorted(names(alice)) and {"ant", "zebra"} <= set(names(alice)) and "mole" not in names(alice)
    assert {"ant", "mole", "zebra"} <= set(names(admin))
    assert said(admin.delete("/v2/apps/mole/")) == (204, None)
    for name in ("zebra", "ant"):
        alice.delete(f"/v2/apps/{name}/")


def test_an_illegal_name_in_a_path_meets_nothing(alice):
    for name in ("under_score", "a%2Fb", "Caps", "a b"):
        assert alice.get(f"/v2/apps/{name}/").status_code == 404


def test_strangers_are_refused_everywhere(app, carl):
    routes = [("GET", ""), ("POST", ""), ("DELETE", ""), ("GET", "logs"), ("POST", "run"), ("POST", "scale/"), ("GET", "config/"),
              ("POST", "config/"), ("GET", "builds/"), ("POST", "builds/"), ("GET", "releases/"), ("GET", "releases/v1/"),
              ("POST", "releases/rollback/"), ("GET", "pods/"), ("GET", "pods/web/"), ("POST", "pods/restart/"), ("GET", "domains/"),
              ("POST", "domains/"), ("DELETE", f"domains/{app}/"), ("GET", "services/"), ("POST", "services/"), ("DELETE", "services/"),
              ("GET", "settings/"), ("POST", "settings/"), ("GET", "whitelist/"), ("POST", "whitelist/"), ("DELETE", "whitelist/"),
              ("GET", "tls/"), ("POST", "tls/"), ("GET", "perms/"), ("POST", "perms/"), ("DELETE", "perms/alice/")]
    for method, path in routes:
        assert said(carl.call(method, f"/v2/apps/{app}/{path}", {})) == (403, DENIED), (method, path)


def test_the_app_is_looked_up_before_the_body_is_read(alice, carl, app):
    broken = {"data": "{", "headers": {"Content-Type": "application/json"}}
    assert said(alice.post("/v2/apps/nowhere/config/", **broken)) == (404, NO_APP)
    assert said(carl.post(f"/v2/apps/{app}/config/", **broken)) == (403, DENIED)
    assert alice.post(f"/v2/apps/{app}/config/", **broken).status_code == 400


# --- sharing


def test_a_collaborator_does_everything_but_delete(shared, alice, bob):
    assert shared in [a["id"] for a in bob.get("/v2/apps/").json()["results"]]
    assert said(bob.get(f"/v2/apps/{shared}/perms/")) == (200, {"users": ["bob"]})
    assert bob.post(f"/v2/apps/{shared}/config/", {"values": {"A": "1"}}).status_code == 201
    assert bob.post(f"/v2/apps/{shared}/domains/", {"domain": "bob.example.com"}).status_code == 201
    for path in ("", "domains/bob.example.com/", "services/", "whitelist/"):
        assert said(bob.delete(f"/v2/apps/{shared}/{path}", {})) == (403, DENIED), path
    assert said(bob.post(f"/v2/apps/{shared}/perms/", {"username": "carl"})) == (403, DENIED)
    assert said(bob.post(f"/v2/apps/{shared}/", {"owner": "bob"})) == (403, DENIED)
    assert said(bob.delete(f"/v2/apps/{shared}/perms/bob/")) == (204, None)
    assert said(bob.get(f"/v2/apps/{shared}/")) == (403, DENIED)
    assert shared not in bob.get("/v2/apps/").text


def test_granting_and_revoking(app, alice, bob, carl):
    perms = f"/v2/apps/{app}/perms/"
    assert said(alice.post(perms, {"username": "bob"})) == (201, None)
    assert said(alice.post(perms, {"username": "bob"})) == (201, None)
    assert said(alice.post(perms, {"username": "nobody"})) == (404, NO_USER)
    assert said(alice.post(perms, {})) == (400, {"username": [REQUIRED]})
    assert said(carl.get(perms)) == (403, DENIED)
    assert said(carl.delete(perms + "bob/")) == (403, DENIED)
    assert said(alice.delete(perms + "bob")) == (204, None)
    assert said(alice.delete(perms + "bob")) == (403, DENIED)
    assert said(alice.delete(perms + "admin")) == (204, None)
    assert said(alice.delete(perms + "nobody")) == (404, NO_USER)
    assert said(alice.delete("/v2/apps/nowhere/perms/bob")) == (404, NO_APP)


def test_a_transferred_app_takes_its_rows_along(alice, bob, carl, admin, controller):
    name = alice.create_app()
    path = f"/v2/apps/{name}"
    alice.post(f"{path}/perms/", {"username": "carl"})
    alice.post(f"{path}/config/", {"values": {"A": "1"}})
    assert carl.post(f"{path}/config/", {"values": {"B": "1"}}).status_code == 201
    assert said(carl.post(f"{path}/", {"owner": "carl"})) == (403, DENIED)
    assert said(alice.post(f"{path}/", {"owner": "nobody"})) == (404, NO_USER)
    assert said(alice.post(f"{path}/", {"owner": "bob"})) == (200, None)
    assert said(alice.get(f"{path}/")) == (403, DENIED)
    assert bob.get(f"{path}/").json()["owner"] == "bob"
    assert [r["owner"] for r in bob.get(f"{path}/releases/").json()["results"]] == ["carl", "bob", "bob"]
    for part in ("settings/", "tls/"):
        assert bob.get(f"{path}/{part}").json()["owner"] == "bob"
    assert bob.get(f"{path}/domains/").json()["results"][0]["owner"] == "bob"
    assert said(carl.post(f"{path}/")) == (200, None)  # nothing changes hands
    assert said(admin.post(f"{path}/", {"owner": "alice"})) == (200, None)
    assert said(alice.delete(f"{path}/")) == (204, None)


def test_who_owns_an_app_cannot_be_cancelled(controller, admin):
    dave = controller.register("dave")
    name = dave.create_app()
    assert said(dave.delete("/v2/auth/cancel/")) == (409, "dave still has applications assigned. Delete or transfer ownership")
    dave.delete(f"/v2/apps/{name}/")
    assert said(dave.delete("/v2/auth/cancel/")) == (204, None)


# --- config


def config(user, app, body):
    return user.post(f"/v2/apps/{app}/config/", body)


def test_a_new_app_has_an_empty_config_and_one_release(app, alice):
    shown = alice.get(f"/v2/apps/{app}/config/").json()
    maps = ["values", "memory", "lifecycle_post_start", "lifecycle_pre_stop", "cpu", "tags", "registry", "healthcheck",
            "termination_grace_period"]
    assert list(shown) == ["uuid", "app", "owner", *maps, "created", "updated"]
    assert all(shown[name] == {} for name in maps)
    releases = alice.get(f"/v2/apps/{app}/releases/").json()
    assert releases["count"] == 1
    release = releases["results"][0]
    assert list(release) == ["uuid", "app", "owner", "created", "updated", "version", "summary", "failed", "exception", "config", "build"]
    assert (release["version"], release["summary"], release["build"], release["failed"], release["exception"]) == (
        1, "alice created initial release", None, False, None)
    assert release["config"] == shown["uuid"]


def test_values_are_merged_and_each_change_is_a_release(app, alice):
    first = config(alice, app, {"values": {"A": "1", "U": "grüße\n✓"}})
    assert first.status_code == 201 and first.json()["values"] == {"A": "1", "U": "grüße\n✓"}
    second = config(alice, app, {"values": {"B": 5000, "A": True}}).json()
    assert second["values"] == {"A": "True", "U": "grüße\n✓", "B": "5000"}
    assert second["uuid"] != first.json()["uuid"]
    third = config(alice, app, {"values": {"A": None}}).json()
    assert third["values"] == {"U": "grüße\n✓", "B": "5000"}
    assert alice.get(f"/v2/apps/{app}/config/").json() == third
    summaries = [r["summary"] for r in alice.get(f"/v2/apps/{app}/releases/").json()["results"]]
    assert summaries == ["alice deleted A", "alice added B, changed A", "alice added A, U", "alice created initial release"]


def test_a_map_may_be_text_of_json(app, alice):
    assert config(alice, app, {"values": '{"A": "1"}'}).json()["values"] == {"A": "1"}


@pytest.mark.parametrize("body, status, expected", [
    ({}, 409, "alice changed nothing - release stopped"),
    ({"values": {}}, 409, "alice changed nothing - release stopped"),
    ({"routable": True}, 409, "alice changed nothing - release stopped"),
    ({"values": {"GONE": None}}, 422, "GONE does not exist under values"),
    ({"memory": {"web": None}}, 422, "web does not exist under memory"),
    ({"healthcheck": {"web/cmd": None}}, 422, "web/cmd does not exist under healthcheck"),
    ({"values": {"1A": "x"}}, 400, {"values": ["Config keys must start with a letter or underscore and only contain [A-z0-9_]"]}),
    ({"values": {"A-B": "x"}}, 400, {"values": ["Config keys must start with a letter or underscore and only contain [A-z0-9_]"]}),
    ({"values": {"A\n": "x"}}, 400, {"values": ["Config keys must start with a letter or underscore and only contain [A-z0-9_]"]}),
    ({"values": {"PORT": "x"}}, 400, {"values": ["PORT can only be a numeric value"]}),
    ({"values": {"PORT": "65536"}}, 400, {"values": ["PORT needs to be between 1 and 65535"]}),
    ({"values": {"HEALTHCHECK_URL": "x"}}, 400,
     {"values": ["HEALTHCHECK_URL is missing a URI path (such as /healthz). Without it no health check can be done"]}),
    ({"values": {"HEALTHCHECK_TIMEOUT": "x"}}, 400, {"values": ["HEALTHCHECK_TIMEOUT can only be a numeric value"]}),
    ({"memory": {"web": "1X"}}, 400,
     {"memory": ["Memory limit format: <number><unit> or <number><unit>/<number><unit>, where unit = B, K, M or G"]}),
    ({"memory": {"Web": "1G"}}, 400, {"memory": ["Process types can only contain lowercase alphanumeric characters"]}),
    ({"cpu": {"web": "much"}}, 400, {"cpu": ["CPU limit format: <value> or <value>/<value>, where value must be a numeric"]}),
    ({"termination_grace_period": {"web": "-1"}}, 400,
     {"termination_grace_period": ["Termination Grace Period format: <value>, where value must be a numeric"]}),
    ({"tags": {"a/b/c": "d"}}, 400, {"tags": ['Tag keys must be alphanumeric or "-_.", and 1-63 characters.']}),
    ({"tags": {"a": "b c"}}, 400, {"tags": ['Tag values must be alphanumeric or "-_.", and 1-63 characters.']}),
    ({"registry": {"username": "u", "password": "p"}}, 400, "PORT needs to be set in the config when using a private registry"),
    ({"healthcheck": {"livenessProbe": {}}}, 400, None),
    ({"healthcheck": {"web/cmd": {"livenessProbe": {"httpGet": {"port": "x"}}}}}, 400, None),
    ({"healthcheck": {"web/cmd": {"livenessProbe": {"httpGet": {"port": 80}, "successThreshold": 2}}}}, 400,
     {"healthcheck": ["livenessProbe successThreshold can only be 1"]}),
    ({"healthcheck": {"web/cmd": {"wrongProbe": {}}}}, 400,
     {"healthcheck": ["Healthcheck keys must be either livenessProbe or readinessProbe"]}),
    ({"values": 5}, 400, None), ({"values": ["x"]}, 400, None), ({"values": "{"}, 400, None),
])
def test_a_config_that_cannot_be_says_why_and_changes_nothing(app, alice, body, status, expected):
    answer = config(alice, app, body)
    assert answer.status_code == status, answer.text
    if expected:
        assert said(answer)[1] == expected
    assert alice.get(f"/v2/apps/{app}/releases/").json()["count"] == 1


def test_all_wrong_maps_are_named_at_once(app, alice):
    answer = config(alice, app, {"values": {"1": "x"}, "memory": {"web": "x"}, "cpu": {"web": "x"}})
    assert sorted(answer.json()) == ["cpu", "memory", "values"]


def test_limits_live_beside_values(app, alice):
    config(alice, app, {"memory": {"web": "1G", "db": "1G/2G"}, "cpu": {"web": "500m"}})
    config(alice, app, {"values": {"A": "1"}})
    shown = config(alice, app, {"memory": {"web": None}, "cpu": {"db": "0.5/1"}}).json()
    assert (shown["memory"], shown["cpu"]) == ({"db": "1G/2G"}, {"web": "500m", "db": "0.5/1"})
    newest = alice.get(f"/v2/apps/{app}/releases/").json()["results"][0]
    assert newest["summary"] == "alice changed limits for memory, cpu"


def test_old_healthcheck_values_become_probes(app, alice):
    shown = config(alice, app, {"values": {"HEALTHCHECK_URL": "/health", "HEALTHCHECK_TIMEOUT": "7", "A": "1"}}).json()
    assert shown["values"] == {"A": "1"}
    assert shown["healthcheck"]["web/cmd"]["readinessProbe"] == {
        "httpGet": {"path": "/health"}, "initialDelaySeconds": 50, "timeoutSeconds": 7, "periodSeconds": 10, "successThreshold": 1,
        "failureThreshold": 3}


def test_probes_are_merged_by_type_and_replaced_whole(app, alice):
    probe = {"httpGet": {"port": 5000, "path": "/"}, "initialDelaySeconds": 5}
    config(alice, app, {"healthcheck": {"web/cmd": {"livenessProbe": probe}}})
    shown = config(alice, app, {"healthcheck": {"web/cmd": {"readinessProbe": {"tcpSocket": {"port": 5000}}}}}).json()
    assert shown["healthcheck"] == {"web/cmd": {"livenessProbe": probe, "readinessProbe": {"tcpSocket": {"port": 5000}}}}
    shown = config(alice, app, {"healthcheck": {"web/cmd": {"livenessProbe": None}}}).json()
    assert shown["healthcheck"] == {"web/cmd": {"readinessProbe": {"tcpSocket": {"port": 5000}}}}
    assert config(alice, app, {"healthcheck": {"web/cmd": {"livenessProbe": None}}}).status_code == 422
    assert config(alice, app, {"healthcheck": {"web/cmd": None}}).json()["healthcheck"] == {}


def test_registry_settings_ask_for_a_port_and_are_lower_case(app, alice):
    shown = config(alice, app, {"values": {"PORT": "5000"}, "registry": {"USERNAME": "bob", "password": "x"}}).json()
    assert shown["registry"] == {"username": "bob", "password": "x"}
    assert config(alice, app, {"registry": {"password": None}}).json()["registry"] == {"username": "bob"}


def test_tags_that_no_node_has_are_refused(app, alice):
    answer = config(alice, app, {"tags": {"rack": "nowhere"}})
    assert said(answer) == (400, "No nodes matched the provided labels: rack=nowhere")


def test_who_changes_a_config_owns_it(app, alice, admin):
    assert config(admin, app, {"values": {"A": "1"}}).json()["owner"] == "admin"
    assert config(alice, "nowhere", {"values": {"A": "1"}}).status_code == 404
    for method in ("PUT", "PATCH", "DELETE"):
        assert alice.call(method, f"/v2/apps/{app}/config/").status_code == 405


# --- releases without a build


def test_releases_are_read_by_version(app, alice):
    config(alice, app, {"values": {"A": "1"}})
    path = f"/v2/apps/{app}/releases/"
    assert alice.get(path + "v2/").json() == alice.get(path).json()["results"][0]
    assert alice.get(path + "?limit=1&offset=1").json()["results"][0]["version"] == 1
    for version in ("v3", "v0", "v99999999999999999999", "2", "vx"):
        assert alice.get(f"{path}{version}/").status_code == 404, version
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert alice.call(method, path).status_code == 405


def test_rolling_back_makes_a_new_release(app, alice):
    path = f"/v2/apps/{app}/releases/rollback/"
    assert said(alice.post(path)) == (400, "version cannot be below 0")
    one = config(alice, app, {"values": {"A": "1"}}).json()
    assert said(alice.post(path)) == (400, "Cannot roll back to initial release.")
    config(alice, app, {"values": {"A": "2"}})
    assert said(alice.post(path, {"version": 9})) == (400, "Release matching query does not exist.")
    assert alice.post(path, {"version": "x"}).status_code == 400
    assert said(alice.post(path, {"version": "2"})) == (201, {"version": 4})
    assert alice.get(f"/v2/apps/{app}/config/").json() == one
    assert alice.get(f"/v2/apps/{app}/releases/v4/").json()["summary"] == "alice rolled back to v2"
    assert said(alice.post(path)) == (201, {"version": 5})  # back to v3
    assert alice.get(f"/v2/apps/{app}/config/").json()["values"] == {"A": "2"}


# --- what a build is needed for


def test_without_a_build_there_is_nothing_to_run(app, alice):
    assert said(alice.post(f"/v2/apps/{app}/run", {})) == (400, "command is a required field")
    assert said(alice.post(f"/v2/apps/{app}/run", {"command": "ls"})) == (
        400, "No build associated with this release to run this command")
    assert said(alice.post(f"/v2/apps/{app}/scale/", {"web": 1})) == (400, "No build associated with this release")
    assert said(alice.post(f"/v2/apps/{app}/scale/", {})) == (204, None)
    assert said(alice.get(f"/v2/apps/{app}/pods/")) == (200, {"results": [], "count": 0})
    assert said(alice.get(f"/v2/apps/{app}/builds/")) == (200, {"count": 0, "next": None, "previous": None, "results": []})
    assert said(alice.post(f"/v2/apps/{app}/pods/restart/")) == (200, [])


@pytest.mark.parametrize("body, expected", [
    ({}, {"image": [REQUIRED]}),
    ({"image": ""}, {"image": [BLANK]}),
    ({"image": None}, {"image": ["This field may not be null."]}),
    ({"image": "a", "procfile": None}, {"procfile": ["This field may not be null."]}),
    ({"image": "a", "procfile": {"web": ""}}, {"procfile": ["Command can't be empty for process type"]}),
    ({"image": "a", "sha": "x" * 41}, {"sha": ["Ensure this field has no more than 40 characters."]}),
    *(({"image": "a", "procfile": {name: "x"}}, {"procfile": ["Process types can only contain lowercase alphanumeric characters"]})
      for name in ("under_score", "Upper", "-", "-a", "a-", "a--b")),
])
def test_a_build_that_cannot_be_says_why(app, alice, body, expected):
    assert said(alice.post(f"/v2/apps/{app}/builds/", body)) == (400, expected)
    assert alice.get(f"/v2/apps/{app}/releases/").json()["count"] == 1


# --- domains


def test_the_apps_own_name_is_its_first_domain(app, alice):
    domains = alice.get(f"/v2/apps/{app}/domains/").json()
    assert domains["count"] == 1
    assert list(domains["results"][0]) == ["owner", "created", "updated", "app", "domain"]
    assert domains["results"][0]["domain"] == app


@pytest.mark.parametrize("text, stored", [
    ("example.com", "example.com"), ("EXAMPLE.Com", "example.com"), ("www.example.com.", "www.example.com"),
    ("*.example.com", "*.example.com"), ("3com.com", "3com.com"), ("bücher.example", "xn--bcher-kva.example"), ("a-b.c-d.ef", "a-b.c-d.ef"),
])
def test_domains_are_kept_in_their_ascii_form_and_removed_in_any(app, alice, bob, text, stored):
    path = f"/v2/apps/{app}/domains/"
    added = alice.post(path, {"domain": text})
    assert added.status_code == 201 and added.json()["domain"] == stored
    assert said(alice.post(path, {"domain": stored})) == (400, {"domain": ["Domain is already in use by another application"]})
    for form in {text, stored + "."} - {stored}:
        again = alice.post(path, {"domain": form})
        assert said(again) == (400, {"domain": [f"The domain {form.rstrip('.')} is already in use by another app"]})
    assert sorted(d["domain"] for d in alice.get(path).json()["results"]) == sorted([app, stored])
    assert said(alice.delete(path + text)) == (204, None)
    assert said(alice.delete(path + text)) == (404, "No Domain matches the given query.")


@pytest.mark.parametrize("text", ["", "*", "under_score.com", "inner.*.com", "a..b", "-a.com", "a-.com", "1.2.3.4", "a b.com",
                                  "http://example.com", "x" * 64 + ".com", ".".join(["x" * 60] * 5), "a/b", "a;b", "a\nb", "*.*.com"])
def test_a_domain_that_cannot_be_is_refused_under_its_field(app, alice, text):
    answer = alice.post(f"/v2/apps/{app}/domains/", {"domain": text})
    assert answer.status_code == 400 and list(answer.json()) == ["domain"], answer.text


def test_a_domain_that_is_too_long_says_so(app, alice):
    for text in (".".join(["x" * 60] * 4 + ["y" * 12]), ".".join(["x" * 60] * 40)):
        assert said(alice.post(f"/v2/apps/{app}/domains/", {"domain": text})) == (
            400, {"domain": ["Hostname must be 253 characters or less."]})


@pytest.mark.parametrize("form", ["{}", "{}.", "{}.apps.example.net", "{}.APPS.example.net.", "www.{}.apps.example.net",
                                  "*.{}.apps.example.net"])
def test_names_below_the_platforms_domain_are_those_of_apps(app, alice, bob, form):
    """Also of an app that is not there yet: nobody can take its page from it."""
    victim = "victim-to-come"
    answer = alice.post(f"/v2/apps/{app}/domains/", {"domain": form.format(victim)})
    assert answer.status_code == 400
    assert answer.json()["domain"][0].endswith(f"belongs to the app {victim} alone, also before there is one. Use a domain of your own")
    for taken in ("deis", "deis-builder", "*"):
        answer = alice.post(f"/v2/apps/{app}/domains/", {"domain": form.format(taken)})
        assert answer.status_code == 400, answer.text
        if "*" not in form.format(taken) or form == "{}.apps.example.net":
            assert "belongs to the platform" in answer.text or "wildcard" in answer.text
    assert [d["domain"] for d in alice.get(f"/v2/apps/{app}/domains/").json()["results"]] == [app]


def test_an_apps_own_host_has_one_owner_whatever_its_form(app, alice):
    path = f"/v2/apps/{app}/domains/"
    for form in (f"{app}.apps.example.net", f"{app}.apps.example.net."):
        assert said(alice.post(path, {"domain": form}))[0] == 400
    assert alice.post(path, {"domain": f"www.{app}.apps.example.net"}).status_code == 201
    assert said(alice.delete(path + app)) == (204, None)
    assert alice.post(path, {"domain": f"{app}.apps.example.net"}).status_code == 201
    assert said(alice.post(path, {"domain": app}))[0] == 400


@pytest.mark.parametrize("held", ["{}", "{}.apps.example.net"])
def test_an_app_whose_host_somebody_has_from_before_is_not_made(app, alice, bob, controller, held):
    name = "late-" + app
    controller.sql("insert into domains (app_uuid, owner_id, domain) "
                   f"select uuid, owner_id, '{held.format(name)}' from apps where id = '{app}'")
    answer = bob.post("/v2/apps/", {"id": name})
    assert said(answer) == (400, {"id": [f"The domain {name}.apps.example.net is already in use by another app. Choose another name"]})
    assert said(bob.get(f"/v2/apps/{name}/")) == (404, NO_APP)


def test_removing_what_is_no_domain_of_the_app(app, alice):
    for text in ("unknown.example.com", "under_score", "*"):
        assert said(alice.delete(f"/v2/apps/{app}/domains/{text}/")) == (404, "No Domain matches the given query."), text
    assert said(alice.delete(f"/v2/apps/{app}/domains/{app}/")) == (204, None)


def test_the_domain_of_another_app_is_taken(alice, bob):
    mine, other = alice.create_app(), bob.create_app()
    assert bob.post(f"/v2/apps/{other}/domains/", {"domain": mine}).status_code == 400
    assert said(bob.delete(f"/v2/apps/{other}/domains/{mine}/")) == (404, "No Domain matches the given query.")
    for user, name in ((alice, mine), (bob, other)):
        user.delete(f"/v2/apps/{name}/")


# --- certificates on domains


def test_a_certificate_is_attached_to_one_domain_and_detached(app, alice, bob, tmp_path):
    run("openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-keyout", tmp_path / "k", "-out", tmp_path / "c", "-subj", "/CN=a.com")
    body = {"name": "a-com", "certificate": (tmp_path / "c").read_text(), "key": (tmp_path / "k").read_text()}
    assert alice.post("/v2/certs/", body).status_code == 201
    assert bob.post("/v2/certs/", body | {"name": "b-com"}).status_code == 201
    alice.post(f"/v2/apps/{app}/domains/", {"domain": "a.com"})
    path = "/v2/certs/a-com/domain/"
    assert said(alice.post(path, {})) == (400, "domain is a required field")
    assert said(alice.post(path, {"domain": "nowhere.com"})) == (404, "No Domain matches the given query.")
    assert said(bob.post("/v2/certs/b-com/domain/", {"domain": "a.com"})) == (403, DENIED)
    assert said(alice.post(path, {"domain": "a.com"})) == (201, None)
    assert alice.get("/v2/certs/a-com").json()["domains"] == ["a.com"]
    assert said(alice.post(path, {"domain": "a.com"})) == (409, "Domain already has a certificate attached to it")
    assert said(alice.delete(path + "nowhere.com")) == (404, "No Domain matches the given query.")
    assert said(alice.delete(path + "a.com")) == (204, None)
    assert alice.get("/v2/certs/a-com").json()["domains"] == []
    assert said(alice.post(path + "a.com")) == (201, None)
    assert said(alice.delete("/v2/certs/a-com")) == (204, None)
    assert alice.get(f"/v2/apps/{app}/domains/").json()["count"] == 2
    bob.delete("/v2/certs/b-com")


# --- services by path


def test_services_by_path(app, alice):
    path = f"/v2/apps/{app}/services/"
    assert said(alice.get(path)) == (200, {"services": []})
    assert said(alice.post(path, {"procfile_type": "hooks", "path_pattern": "/hooks,~ ^/u/[0-9]+"})) == (201, None)
    assert said(alice.post(path, {"procfile_type": "hooks", "path_pattern": "/hooks,~ ^/u/[0-9]+"})) == (204, None)
    assert said(alice.post(path, {"procfile_type": "hooks", "path_pattern": "/h"})) == (201, None)
    assert said(alice.post(path, {"procfile_type": "api", "path_pattern": "/api"})) == (201, None)
    assert alice.get(path).json()["services"] == [{"procfile_type": "api", "path_pattern": "/api"},
                                                  {"procfile_type": "hooks", "path_pattern": "/h"}]
    assert alice.post(f"/v2/apps/{app}/settings/", {"maintenance": True}).status_code == 201
    assert said(alice.delete(path, {"procfile_type": "hooks"})) == (204, None)
    assert said(alice.delete(path, {"procfile_type": "hooks"})) == (404, "No Service matches the given query.")


@pytest.mark.parametrize("body, field", [
    ({"procfile_type": "Web_", "path_pattern": "/"}, "procfile_type"), ({"procfile_type": "web", "path_pattern": "["}, "path_pattern"),
    ({"procfile_type": "web", "path_pattern": "/a,,/b"}, "path_pattern"), ({"procfile_type": "web", "path_pattern": ","}, "path_pattern"),
    ({"procfile_type": "web", "path_pattern": "/a; } evil {"}, "path_pattern"), ({"procfile_type": "web"}, "path_pattern"),
])
def test_a_service_that_cannot_be_is_refused(app, alice, body, field):
    answer = alice.post(f"/v2/apps/{app}/services/", body)
    assert answer.status_code == 400 and list(answer.json()) == [field]


# --- settings, whitelist, TLS


def test_settings_keep_each_other(app, alice):
    path = f"/v2/apps/{app}/settings/"
    first = alice.get(path).json()
    assert list(first) == ["uuid", "app", "owner", "autoscale", "label", "created", "updated", "maintenance", "routable", "whitelist"]
    assert (first["maintenance"], first["routable"], first["whitelist"], first["autoscale"], first["label"]) == (False, True, [], {}, {})
    second = alice.post(path, {"maintenance": True})
    assert second.status_code == 201 and second.json()["maintenance"] is True and second.json()["uuid"] != first["uuid"]
    assert alice.post(path, {"routable": "false"}).json()["maintenance"] is True
    assert alice.get(path).json()["routable"] is False
    assert said(alice.post(path, {"routable": False})) == (409, "alice changed nothing")
    assert said(alice.post(path, {})) == (409, "alice changed nothing")
    assert said(alice.post(path, {"maintenance": "perhaps"})) == (400, {"maintenance": ["Must be a valid boolean."]})
    assert alice.get(f"/v2/apps/{app}/releases/").json()["count"] == 1


def test_labels(app, alice):
    path = f"/v2/apps/{app}/settings/"
    assert alice.post(path, {"label": {"team": "frontend", "empty": "", "n": 1}}).json()["label"] == {
        "team": "frontend", "empty": "", "n": 1}
    assert alice.post(path, {"label": {"team": None}}).json()["label"] == {"empty": "", "n": 1}
    assert said(alice.post(path, {"label": {"team": None}})) == (422, "team does not exist under label")


@pytest.mark.parametrize("rule, status, detail", [
    ({"min": 0, "max": 5, "cpu_percent": 45}, 400, "min replicas needs to be 1 or higher"),
    ({"min": 5, "max": 2, "cpu_percent": 45}, 400, "max replicas can not be smaller than min replicas"),
    ({"min": 1, "max": 2}, 400, None), ({"min": "1", "max": 2, "cpu_percent": 45}, 400, None), ("x", 400, None),
    (None, 422, "web does not exist under autoscale"),
])
def test_an_autoscale_rule_that_cannot_be(app, alice, rule, status, detail):
    answer = alice.post(f"/v2/apps/{app}/settings/", {"autoscale": {"web": rule}})
    assert answer.status_code == status, answer.text
    if detail:
        assert said(answer)[1] == detail


def test_autoscale_rules_by_type(app, alice):
    path = f"/v2/apps/{app}/settings/"
    rule = {"min": 2, "max": 5, "cpu_percent": 45}
    assert alice.post(path, {"autoscale": {"web": rule}}).json()["autoscale"] == {"web": rule}
    assert alice.post(path, {"autoscale": {"worker": rule}}).json()["autoscale"] == {"web": rule, "worker": rule}
    assert alice.post(path, {"autoscale": {"web": None}}).json()["autoscale"] == {"worker": rule}


def test_the_whitelist(app, alice, bob):
    path = f"/v2/apps/{app}/whitelist/"
    assert said(alice.get(path)) == (200, {"addresses": []})
    assert said(alice.post(path, {"addresses": ["1.2.3.4", "10.0.0.0/8"]})) == (201, {"addresses": ["1.2.3.4", "10.0.0.0/8"]})
    assert said(alice.post(path, {"addresses": ["1.2.3.4"]})) == (409, "alice changed nothing")
    assert said(alice.post(path, {"addresses": []})) == (409, "alice changed nothing")
    assert said(alice.delete(path, {"addresses": []})) == (409, "alice changed nothing")
    for broken in ("1.2.3.4\n", "10.0.0.0/8\n", "1.2.3.4\0"):
        assert alice.post(path, {"addresses": [broken]}).status_code == 400, broken
    assert alice.post(path, {"addresses": ["1.2.3.4", "2001:db8::/32"]}).json()["addresses"] == ["1.2.3.4", "10.0.0.0/8", "2001:db8::/32"]
    alice.post(f"/v2/apps/{app}/settings/", {"maintenance": True})
    assert said(alice.delete(path, {"addresses": ["1.2.3.4", "8.8.8.8"]})) == (422, "addresses {'8.8.8.8'} does not exist in whitelist")
    assert said(alice.delete(path, {"addresses": ["1.2.3.4"]})) == (204, None)
    assert alice.get(f"/v2/apps/{app}/settings/").json()["whitelist"] == ["10.0.0.0/8", "2001:db8::/32"]
    same = alice.post(f"/v2/apps/{app}/settings/", {"whitelist": ["2001:db8::/32", "10.0.0.0/8"]})
    assert said(same) == (409, "alice changed nothing")
    assert alice.post(f"/v2/apps/{app}/settings/", {"whitelist": ["9.9.9.9"]}).json()["whitelist"] == ["9.9.9.9"]
    assert said(alice.delete(path, {"addresses": ["9.9.9.9"]})) == (204, None)
    assert said(alice.get(path)) == (200, {"addresses": []})


@pytest.mark.parametrize("addresses", [["nonsense"], ["1.2.3.4/33"], ["1.2.3.256"], ["1.2.3.4; }"], [5], "1.2.3.4", None])
def test_an_address_that_is_none_is_refused(app, alice, addresses):
    for path, name in (("whitelist", "addresses"), ("settings", "whitelist")):
        assert alice.post(f"/v2/apps/{app}/{path}/", {name: addresses}).status_code == 400, path


def test_tls(app, alice):
    path = f"/v2/apps/{app}/tls/"
    first = alice.get(path).json()
    assert list(first) == ["uuid", "app", "owner", "created", "updated", "https_enforced", "certs_auto_enabled"]
    assert first["https_enforced"] is None and first["certs_auto_enabled"] is None
    assert alice.post(path, {"https_enforced": True}).json()["https_enforced"] is True
    assert said(alice.post(path, {"https_enforced": True})) == (409, "alice changed nothing")
    assert alice.get(path).json()["https_enforced"] is True
    assert alice.post(path, {"https_enforced": False}).status_code == 201
    assert said(alice.post(path, {"https_enforced": "perhaps"})) == (400, {"https_enforced": ["Must be a valid boolean."]})
    assert alice.post(path, {}).json()["https_enforced"] is None


def test_automatic_certificates_and_enforcement_are_told_apart(app, alice):
    path = f"/v2/apps/{app}/tls/"

    def both(answer):
        return answer.json()["https_enforced"], answer.json()["certs_auto_enabled"]

    assert both(alice.post(path, {"https_enforced": True})) == (True, None)
    assert both(alice.post(path, {"certs_auto_enabled": True})) == (True, True)
    assert said(alice.post(path, {"certs_auto_enabled": True})) == (409, "alice changed nothing")
    assert both(alice.post(path, {"https_enforced": False})) == (False, True)
    assert both(alice.post(path, {"https_enforced": True, "certs_auto_enabled": False})) == (True, False)
    assert said(alice.post(path, {"certs_auto_enabled": "x"})) == (400, {"certs_auto_enabled": ["Must be a valid boolean."]})
    assert both(alice.get(path)) == (True, False)


# --- the builder's hooks about apps


def test_the_builder_asks_before_it_receives(shared, controller, alice, bob, carl):
    builder, path = controller.builder(), "/v2/hooks/config/"
    config(alice, shared, {"values": {"BUILDPACK_URL": "http://x"}})
    asked = builder.post(path, {"receive_user": "bob", "receive_repo": shared})
    assert asked.status_code == 200 and asked.json() == alice.get(f"/v2/apps/{shared}/config/").json()
    assert said(builder.post(path, {"receive_user": "carl", "receive_repo": shared})) == (403, DENIED)
    assert said(builder.post(path, {"receive_user": "bob", "receive_repo": "nowhere"})) == (404, NO_APP)
    assert said(builder.post(path, {"receive_user": "nobody", "receive_repo": shared})) == (404, NO_USER)
    assert said(builder.post(path, {})) == (400, {"receive_user": [REQUIRED], "receive_repo": [REQUIRED]})
    assert said(builder.post("/v2/hooks/build/", {"receive_user": "carl", "receive_repo": shared, "image": "x"})) == (403, DENIED)


def test_the_keys_of_an_apps_users(shared, controller, alice, bob, carl, tmp_path):
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "k")
    public = (tmp_path / "k.pub").read_text().strip()
    key = bob.post("/v2/keys/", {"id": "bob@app", "public": public}).json()
    entry = {"key": public, "fingerprint": key["fingerprint"]}
    builder = controller.builder()
    assert said(builder.get(f"/v2/hooks/keys/{shared}")) == (200, {"bob": [entry]})
    assert said(builder.get(f"/v2/hooks/keys/{shared}/bob")) == (200, {"bob": [entry]})
    assert said(builder.get(f"/v2/hooks/keys/{shared}/alice")) == (404, "No Keys match the given query.")
    assert said(builder.get(f"/v2/hooks/keys/{shared}/carl")) == (403, DENIED)
    assert said(builder.get("/v2/hooks/keys/nowhere")) == (404, NO_APP)
    assert shared in builder.get(f"/v2/hooks/key/{key['fingerprint']}").json()["apps"]
    bob.delete("/v2/keys/bob@app")
