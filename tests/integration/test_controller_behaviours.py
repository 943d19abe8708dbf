"""The behaviours that the original's own suite exercised (section 5 of the API's reference): where each is asserted, and those
that no other file asserts. `blind` is a controller of the same database that cannot reach its cluster: the platform fails."""

import ast
import base64
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from controller_under_test import (  # noqa: E402, F401
    Api, Controller, admin, alice, app, bob, build, cluster, controller, deployed, no_cluster, postgres, said, start_controller)
from workflow_testing import run, wait_for  # noqa: E402

HERE = pathlib.Path(__file__).parent
# Number → file and test. `here`: this one; what is written after it is the part of the behaviour that differs on purpose.
ASSERTED = {
    1: "accounts.every_answer_carries_the_version_headers",
    2: "accounts.health_answers_without_a_token_and_refuses_what_is_not_reading",
    3: "accounts.health_answers_without_a_token_and_refuses_what_is_not_reading",
    4: "accounts.the_root_is_how_clients_find_out_that_it_is_a_controller",
    5: "accounts.a_path_works_with_and_without_its_last_slash",
    6: "accounts.a_registered_user_is_told_what_is_known_of_him",
    7: "accounts.the_first_user_becomes_administrator_and_nobody_after_him",
    8: "accounts.mode_disabled_lets_nobody_register",
    9: "accounts.mode_admin_only_lets_the_first_in_and_then_asks_for_an_administrator",
    10: "accounts.mode_admin_only_lets_the_first_in_and_then_asks_for_an_administrator",
    11: "accounts.mode_admin_only_lets_the_first_in_and_then_asks_for_an_administrator",
    12: "accounts.an_unknown_mode_stops_the_start",
    13: "accounts.cancelling_accounts",
    14: "accounts.cancelling_accounts",
    15: "accounts.cancelling_accounts",
    16: "apps.who_owns_an_app_cannot_be_cancelled",
    17: "accounts.a_user_with_a_certificate_cannot_be_cancelled",
    18: "accounts.changing_a_password",
    19: "accounts.changing_a_password",
    20: "accounts.changing_a_password",
    21: "accounts.an_administrator_sets_the_passwords_of_others_and_nobody_else_does",
    22: "accounts.a_regenerated_token_replaces_all_others",
    23: "accounts.an_administrator_renews_the_tokens_of_all",
    24: "here.without_its_settings_no_directory_is_asked",
    25: "accounts.only_administrators_list_users",
    26: "accounts.making_and_unmaking_administrators",
    27: "accounts.making_and_unmaking_administrators",
    28: "here.access_opens_and_closes_with_the_grant",
    29: "apps.a_collaborator_does_everything_but_delete",
    30: "apps.granting_and_revoking",
    31: "apps.granting_and_revoking",
    32: "apps.a_collaborator_does_everything_but_delete",
    33: "apps.an_app_is_created_listed_read_and_destroyed",
    34: "apps.a_name_that_cannot_be_says_why",
    35: "apps.a_name_that_cannot_be_says_why",
    36: "apps.an_app_is_created_listed_read_and_destroyed",
    37: "apps.apps_are_listed_by_name_to_their_owner_and_to_administrators",
    38: "apps.a_namespace_that_exists_is_nobodys_app",
    39: "accounts.an_app_cannot_be_created_while_the_cluster_is_away_and_its_name_stays_free",
    40: "here.an_app_is_destroyed_only_with_its_namespace",
    41: "apps.an_app_is_created_listed_read_and_destroyed",
    42: "apps.an_illegal_name_in_a_path_meets_nothing",
    43: "apps.apps_are_listed_by_name_to_their_owner_and_to_administrators",
    44: "apps.strangers_are_refused_everywhere",
    45: "apps.a_transferred_app_takes_its_rows_along",
    46: "logs.without_the_cluster_there_is_no_log",
    47: "logs.a_log_tells_who_did_what_in_the_form_of_the_original",
    48: "here.while_the_cluster_is_away_the_platform_is_said_to_have_failed",
    49: "here.a_first_deploy_asks_no_router",
    50: "apps.values_are_merged_and_each_change_is_a_release",
    51: "apps.who_changes_a_config_owns_it",
    52: "apps.values_are_merged_and_each_change_is_a_release",
    53: "here.keys_of_values",
    54: "here.ports",
    55: "apps.who_changes_a_config_owns_it",
    56: "apps.the_app_is_looked_up_before_the_body_is_read",
    57: "apps.a_config_that_cannot_be_says_why_and_changes_nothing",
    58: "deploys.a_failed_build_leaves_everything_as_it_was",
    59: "here.limits",
    60: "here.limits",
    61: "here.tags_are_set_added_and_unset",
    62: "here.default_tags_are_on_new_apps_and_survive_changes",
    63: "here.registry_settings",
    64: "apps.old_healthcheck_values_become_probes",
    65: "here.old_healthcheck_values_that_cannot_be",
    66: "apps.probes_are_merged_by_type_and_replaced_whole",
    67: "here.probes_that_cannot_be",
    68: "deploys.two_builds_of_one_image_are_two_releases",
    69: "deploys.a_build_is_deployed_as_a_release",
    70: "deploys.what_runs_after_the_first_build",
    71: "here.a_forgotten_procfile_stops_its_types_and_starts_cmd",
    72: "here.without_removal_the_old_procfile_is_kept_and_scales",
    73: "deploys.procfile_policies",
    74: "deploys.scaled_to_zero_stays_zero",
    75: "here.an_image_of_the_platforms_registry_runs_as_it_is_named",
    76: "registry.a_registry_of_the_app_needs_a_port_and_both_credentials",
    77: "deploys.a_failed_build_leaves_everything_as_it_was",
    78: "apps.a_build_that_cannot_be_says_why",
    79: "deploys.an_administrator_builds_for_others_and_a_stranger_does_not",
    80: "apps.releases_are_read_by_version",
    81: "apps.a_new_app_has_an_empty_config_and_one_release",
    82: "apps.rolling_back_makes_a_new_release",
    83: "apps.rolling_back_makes_a_new_release",
    84: "here.a_rollback_that_fails_is_a_failed_release",
    85: "apps.strangers_are_refused_everywhere",
    86: "deploys.deploy_hooks_are_told_of_each_release",
    87: "registry.off_cluster_images_are_pulled_with_the_operators_credentials",
    88: "here.what_containers_are_told",
    89: "deploys.scaling_up_and_down",
    90: "deploys.a_new_release_keeps_the_counts",
    91: "here.a_scaling_that_fails_leaves_the_counts",
    92: "deploys.a_type_that_leaves_the_procfile_stops",
    93: "here.one_pod_is_restarted_by_its_full_and_its_short_name",
    94: "here.one_off_pods_are_neither_listed_nor_counted",
    95: "here.what_containers_run",
    96: "here.while_the_cluster_is_away_the_platform_is_said_to_have_failed",
    97: "apps.strangers_are_refused_everywhere",
    98: "apps.domains_are_kept_in_their_ascii_form_and_removed_in_any",
    99: "apps.domains_are_kept_in_their_ascii_form_and_removed_in_any",
    100: "here.while_the_cluster_is_away_the_platform_is_said_to_have_failed",
    101: "here.certificates_of_all_shapes_are_described",
    102: "here.pages_of_certificates",
    103: "apps.a_certificate_is_attached_to_one_domain_and_detached",
    104: "accounts.keys_are_added_listed_read_and_removed",
    105: "apps.services_by_path",
    106: "apps.settings_keep_each_other",
    107: "apps.the_whitelist",
    108: "apps.autoscale_rules_by_type",
    109: "apps.labels",
    110: "apps.tls",
    111: "accounts.hooks_ask_for_the_builders_key",
    112: "apps.the_keys_of_an_apps_users",
    113: "here.the_builder_pushes_slugs_dockerfiles_and_images",
    114: "apps.the_builder_asks_before_it_receives",
}


def test_every_behaviour_is_asserted_somewhere():
    assert sorted(ASSERTED) == list(range(1, 115))
    for number, place in ASSERTED.items():
        file, name = place.split(".")
        path = HERE / f"test_controller_{'behaviours' if file == 'here' else file}.py"
        functions = {f.name: f for f in ast.parse(path.read_text()).body if isinstance(f, ast.FunctionDef)}
        assert f"test_{name}" in functions, (number, place)
        assert any(isinstance(n, ast.Assert) for n in ast.walk(functions[f"test_{name}"])), (number, place)


def config(user, app, body):  # noqa: F811
    return user.post(f"/v2/apps/{app}/config/", body)


def releases(user, app):  # noqa: F811
    return user.get(f"/v2/apps/{app}/releases/").json()["results"]


def structure(user, app):  # noqa: F811
    return user.get(f"/v2/apps/{app}/").json()["structure"]


def container(cluster, app, type_):  # noqa: F811
    found = cluster.engine.api.get(f"/apis/apps/v1/namespaces/{app}/deployments/{app}-{type_}")
    return found["spec"]["template"]["spec"]["containers"][0]


@pytest.fixture(scope="module")
def blind(controller, postgres, no_cluster):  # noqa: F811
    """The same users and apps, seen by a controller without a cluster."""
    started = Controller(postgres, no_cluster, database=controller.database).start()
    yield lambda user: Api(started.url, user.token, user.username)
    started.stop()


def with_quota(cluster, app, pods):  # noqa: F811
    answer = cluster.engine.api.send("POST", f"/api/v1/namespaces/{app}/resourcequotas", {
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tight"}, "spec": {"hard": {"pods": str(pods)}}})
    assert answer[0] == 201, answer


# --- users and apps


def test_without_its_settings_no_directory_is_asked(controller, admin):  # noqa: F811
    controller.register("local")
    assert controller.login("local").get("/v2/auth/whoami/").status_code == 200
    assert "directory" not in controller.output()


def test_access_opens_and_closes_with_the_grant(app, alice, bob):  # noqa: F811
    paths = [f"/v2/apps/{app}/{part}/" for part in ("builds", "config", "pods", "releases")]
    for change, status in ((None, 403), ("post", 200), ("delete", 403)):
        if change == "post":
            assert alice.post(f"/v2/apps/{app}/perms/", {"username": "bob"}).status_code == 201
        elif change == "delete":
            assert alice.delete(f"/v2/apps/{app}/perms/bob").status_code == 204
        assert [bob.get(path).status_code for path in paths] == [status] * 4
        assert (app in [a["id"] for a in bob.get("/v2/apps/").json()["results"]]) == (status == 200)


def test_an_app_is_destroyed_only_with_its_namespace(alice, blind, cluster):  # noqa: F811
    name = alice.create_app()
    status, detail = said(blind(alice).delete(f"/v2/apps/{name}/"))
    assert status == 503 and detail.startswith(f"Could not delete Kubernetes Namespace {name}"), detail
    assert alice.get(f"/v2/apps/{name}/").status_code == 200
    cluster.engine.api.send("DELETE", f"/api/v1/namespaces/{name}")
    wait_for(lambda: cluster.engine.api.send("GET", f"/api/v1/namespaces/{name}")[0] == 404, 20, "the namespace is gone")
    assert said(alice.delete(f"/v2/apps/{name}/")) == (204, None)


def test_while_the_cluster_is_away_the_platform_is_said_to_have_failed(deployed, alice, blind):  # noqa: F811
    user, path = blind(alice), f"/v2/apps/{deployed}"
    before = [alice.get(f"{path}/{part}/").json() for part in ("settings", "domains", "tls", "services", "whitelist", "config", "releases")]
    for method, part, body, status, text in (
            ("GET", "pods/", None, 503, "(list pods): "),
            ("POST", "pods/restart/", None, 503, ""),
            ("POST", "run", {"command": "ls"}, 503, " (run): "),
            ("POST", "domains/", {"domain": "away.example.com"}, 503, f"Could not update Kubernetes Service {deployed}"),
            ("POST", "services/", {"procfile_type": "api", "path_pattern": "/api"}, 503, f"Could not update Kubernetes Service {deployed}"),
            ("POST", "tls/", {"https_enforced": True}, 503, ""),
            ("POST", "settings/", {"maintenance": True}, 400, ""),
            ("POST", "settings/", {"routable": False}, 400, ""),
            ("POST", "settings/", {"autoscale": {"web": {"min": 1, "max": 2, "cpu_percent": 50}}}, 400, ""),
            ("POST", "whitelist/", {"addresses": ["1.2.3.4"]}, 400, "")):
        answer = user.call(method, f"{path}/{part}", body)
        assert answer.status_code == status and text in answer.json()["detail"], (part, answer.status_code, answer.text)
    after = [alice.get(f"{path}/{part}/").json() for part in ("settings", "domains", "tls", "services", "whitelist", "config", "releases")]
    assert after == before


def test_a_first_deploy_asks_no_router(app, alice, cluster):  # noqa: F811
    """A release is ready when its pods are: there is no router here, and nothing waits for one."""
    config(alice, app, {"values": {"PORT": "5000"}})
    assert build(alice, app, cluster.image).status_code == 201
    assert [p["state"] for p in alice.get(f"/v2/apps/{app}/pods/").json()["results"]] == ["up"]


# --- config


@pytest.mark.parametrize("key, good", [
    ("FOO", True), ("_foo", True), ("f_o1", True), ("FOO_", True), ("f", True),
    ("1FOO", False), ("FOO/BAR", False), ("FOO.BAR", False), ("FOO-BAR", False), ("", False), ("FÖO", False), ("A B", False)])
def test_keys_of_values(app, alice, key, good):  # noqa: F811
    message = "Config keys must start with a letter or underscore and only contain [A-z0-9_]"
    for name in ("values", "registry"):
        answer = config(alice, app, {name: {key: "x"}, **({"values": {"PORT": "1"}} if name == "registry" else {})})
        if good:
            assert answer.status_code == 201, answer.text
        else:
            assert said(answer) == (400, {name: [message]})


def test_ports(app, alice):  # noqa: F811
    for value, message in (("x", "PORT can only be a numeric value"), ("0", "PORT needs to be between 1 and 65535"),
                           ("65536", "PORT needs to be between 1 and 65535"), ("-1", None), ("80.5", None)):
        answer = config(alice, app, {"values": {"PORT": value}})
        assert answer.status_code == 400 and (message is None or answer.json() == {"values": [message]}), answer.text
    assert config(alice, app, {"values": {"PORT": "65535"}}).json()["values"] == {"PORT": "65535"}
    assert config(alice, app, {"values": {"PORT": None}}).json()["values"] == {}
    assert said(config(alice, app, {"values": {"PORT": None}})) == (422, "PORT does not exist under values")


@pytest.mark.parametrize("kind, good, bad", [
    ("memory", ["1G", "1GB", "500m", "500MB", "64k", "64KB", "100B", "0", "0/1G", "1G/2G", "500mb/1gb"],
     ["1", "G", "1X", "1GG", "-1G", "1.5G", "1G/", "/1G", "1G/2", "1G/2G/3G", ""]),
    ("cpu", ["1", "500m", "0.5", "1/2", "0.25/1", "500m/1", "100M"], ["1X", "x", "-1", "+1", "1/", "/1", "1/2/3", "m", ""])])
def test_limits(app, alice, kind, good, bad):  # noqa: F811
    for value in bad:
        answer = config(alice, app, {kind: {"web": value}})
        assert answer.status_code == 400 and list(answer.json()) == [kind], (value, answer.text)
    for value in good:
        assert config(alice, app, {kind: {"web": value}}).json()[kind] == {"web": value}, value
    assert config(alice, app, {kind: {"worker": good[0]}}).json()[kind] == {"web": good[-1], "worker": good[0]}
    assert config(alice, app, {"values": {"A": "1"}}).json()[kind] == {"web": good[-1], "worker": good[0]}
    assert config(alice, app, {kind: {"web": None}}).json()[kind] == {"worker": good[0]}
    assert said(config(alice, app, {kind: {"web": None}})) == (422, f"web does not exist under {kind}")


def test_tags_are_set_added_and_unset(app, alice, cluster):  # noqa: F811
    (node,) = cluster.engine.api.get("/api/v1/nodes")["items"]
    cluster.engine.api.send("PATCH", f"/api/v1/nodes/{node['metadata']['name']}",
                            {"metadata": {"labels": {"rack": "1", "deis.com/fun": "yes"}}}, "application/merge-patch+json")
    assert config(alice, app, {"tags": {"disk": "ssd"}}).json()["tags"] == {"disk": "ssd"}
    assert config(alice, app, {"tags": {"deis.com/fun": "yes"}}).json()["tags"] == {"disk": "ssd", "deis.com/fun": "yes"}
    assert said(config(alice, app, {"tags": {"rack": "2"}})) == (
        400, "No nodes matched the provided labels: disk=ssd, deis.com/fun=yes, rack=2 - Addition of rack=2 is the cause")
    assert config(alice, app, {"tags": {"disk": None, "deis.com/fun": None, "rack": "1"}}).json()["tags"] == {"rack": "1"}
    assert said(config(alice, app, {"tags": {"disk": None}})) == (422, "disk does not exist under tags")
    key = 'Tag keys must be alphanumeric or "-_.", and 1-63 characters.'
    value = 'Tag values must be alphanumeric or "-_.", and 1-63 characters.'
    for tag, text, message in (("a", "b" * 64, value), ("a", "b c", value), ("a", "-b", value), ("a" * 64, "b", key), ("-a", "b", key), ("a b", "b", key),
                               ("x" * 254 + "/a", "b", "Tag key prefixes must 253 characters or less."),
                               ("a_b$/c", "b", "Tag key prefixes must be DNS subdomains.")):
        assert said(config(alice, app, {"tags": {tag: text}})) == (400, {"tags": [message]}), tag


def test_default_tags_are_on_new_apps_and_survive_changes(start_controller, cluster):  # noqa: F811
    user = start_controller(cluster.kubeconfig, DEIS_DEFAULT_CONFIG_TAGS='{"disk": "ssd"}').register("user")
    name = user.create_app()
    shown = lambda: user.get(f"/v2/apps/{name}/config/").json()["tags"]  # noqa: E731
    assert shown() == {"disk": "ssd"}
    config(user, name, {"values": {"PORT": "5000"}})
    assert shown() == {"disk": "ssd"}
    assert build(user, name, cluster.image).status_code == 201
    spec = cluster.engine.api.get(f"/apis/apps/v1/namespaces/{name}/deployments/{name}-web")["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {"disk": "ssd"} and shown() == {"disk": "ssd"}
    user.delete(f"/v2/apps/{name}/")


def test_registry_settings(app, alice):  # noqa: F811
    needs_port = "PORT needs to be set in the config when using a private registry"
    assert said(config(alice, app, {"registry": {"username": "bob"}})) == (400, needs_port)
    assert config(alice, app, {"values": {"PORT": "5000"}, "registry": {"USERname": "bob"}}).json()["registry"] == {"username": "bob"}
    assert config(alice, app, {"registry": {"password": "s"}}).json()["registry"] == {"username": "bob", "password": "s"}
    assert said(config(alice, app, {"values": {"PORT": None}})) == (400, needs_port)
    assert config(alice, app, {"registry": {"password": None}}).json()["registry"] == {"username": "bob"}
    assert said(config(alice, app, {"registry": {"password": None}})) == (422, "password does not exist under registry")


def test_old_healthcheck_values_that_cannot_be(app, alice):  # noqa: F811
    without = "HEALTHCHECK_URL is missing a URI path (such as /healthz). Without it no health check can be done"
    more = "HEALTHCHECK_URL can only be a URI path (such as /healthz) that does not contain other things such as query params"
    for url, message in (("", without), ("http://example.com", None), ("http://example.com/health", more), ("/health?x=1", more),
                         ("/health#x", more), ("//host/health", more)):
        status, body = said(config(alice, app, {"values": {"HEALTHCHECK_URL": url}}))
        assert status == 400 and list(body) == ["values"] and (message is None or body["values"] == [message]), (url, body)
    for name in ("TIMEOUT", "INITIAL_DELAY", "PERIOD_SECONDS", "SUCCESS_THRESHOLD", "FAILURE_THRESHOLD"):
        assert said(config(alice, app, {"values": {"HEALTHCHECK_URL": "/", f"HEALTHCHECK_{name}": "x"}})) == (
            400, {"values": [f"HEALTHCHECK_{name} can only be a numeric value"]})
    shown = config(alice, app, {"values": {
        "HEALTHCHECK_URL": "/h", "HEALTHCHECK_INITIAL_DELAY": "1", "HEALTHCHECK_TIMEOUT": "2", "HEALTHCHECK_PERIOD_SECONDS": "3",
        "HEALTHCHECK_SUCCESS_THRESHOLD": "1", "HEALTHCHECK_FAILURE_THRESHOLD": "5"}}).json()
    assert shown["values"] == {} and shown["healthcheck"]["web/cmd"]["livenessProbe"] == {
        "httpGet": {"path": "/h"}, "initialDelaySeconds": 1, "timeoutSeconds": 2, "periodSeconds": 3, "successThreshold": 1, "failureThreshold": 5}


@pytest.mark.parametrize("probes", [
    {"livenessProbes": {}}, {"livenessProbe": {"httpGet": {"path": "/"}}}, {"livenessProbe": {"httpGet": {"port": "80"}}},
    {"readinessProbe": {"tcpSocket": {}}}, {"readinessProbe": {"tcpSocket": {"port": "x"}}}, {"readinessProbe": {"exec": {"command": []}}},
    {"readinessProbe": {"exec": {}}}, {"readinessProbe": {"initialDelaySeconds": "1", "tcpSocket": {"port": 1}}},
    {"readinessProbe": {"httpGet": {"port": 1, "httpHeaders": [{"name": 1}]}}}, {"livenessProbe": {"tcpSocket": {"port": 1}, "successThreshold": 3}},
    {"livenessProbe": 5}])
def test_probes_that_cannot_be(app, alice, probes):  # noqa: F811
    answer = config(alice, app, {"healthcheck": {"web/cmd": probes}})
    assert answer.status_code == 400 and list(answer.json()) == ["healthcheck"], answer.text


# --- builds, releases, rollback


def test_a_forgotten_procfile_stops_its_types_and_starts_cmd(app, alice, cluster):  # noqa: F811
    config(alice, app, {"values": {"PORT": "5000"}})
    assert build(alice, app, cluster.image, procfile={"web": "serve", "worker": "work"}, sha="a" * 8, dockerfile="true").status_code == 201
    alice.post(f"/v2/apps/{app}/scale/", {"web": 2, "worker": 1})
    assert build(alice, app, cluster.image, procfile={}).status_code == 201
    assert structure(alice, app) == {"web": 0, "worker": 0, "cmd": 1}
    gone = alice.post(f"/v2/apps/{app}/scale/", {"worker": 1})
    assert said(gone) == (404, "Container type worker does not exist in application")
    wait_for(lambda: [p["type"] for p in alice.get(f"/v2/apps/{app}/pods/").json()["results"]] == ["cmd"], 20, "cmd alone runs")


def test_without_removal_the_old_procfile_is_kept_and_scales(start_controller, cluster):  # noqa: F811
    user = start_controller(cluster.kubeconfig, DEIS_DEPLOY_PROCFILE_MISSING_REMOVE="false").register("user")
    name = user.create_app()
    config(user, name, {"values": {"PORT": "5000"}})
    assert build(user, name, cluster.image, procfile={"web": "serve", "worker": "work"}).status_code == 201
    user.post(f"/v2/apps/{name}/scale/", {"web": 2})
    assert build(user, name, cluster.image, procfile={}).json()["procfile"] == {"web": "serve", "worker": "work"}
    assert structure(user, name)["web"] == 2
    assert said(user.post(f"/v2/apps/{name}/scale/", {"worker": 1})) == (204, None)
    assert structure(user, name) == {"web": 2, "worker": 1}
    user.delete(f"/v2/apps/{name}/")


@pytest.mark.parametrize("image", ["localhost:5555/shop:v1", "localhost:5555/shop"])
def test_an_image_of_the_platforms_registry_runs_as_it_is_named(app, alice, cluster, image):  # noqa: F811
    config(alice, app, {"values": {"PORT": "5000"}})
    assert build(alice, app, image, procfile={}).status_code == 201
    assert container(cluster, app, "cmd")["image"] == image


def test_a_rollback_that_fails_is_a_failed_release(deployed, alice, cluster):  # noqa: F811
    config(alice, deployed, {"values": {"A": "1"}})  # v4
    before = structure(alice, deployed), alice.get(f"/v2/apps/{deployed}/config/").json()
    with_quota(cluster, deployed, 1)
    answer = alice.post(f"/v2/apps/{deployed}/releases/rollback/", {"version": 3})
    assert answer.status_code == 400 and answer.json()["detail"].startswith("(app::deploy): ") and "quota" in answer.text, answer.text
    failed = releases(alice, deployed)[0]
    assert (failed["version"], failed["failed"], failed["exception"]) == (5, True, "error: " + answer.json()["detail"])
    assert failed["summary"] == "alice performed roll back to a release that failed"
    assert (structure(alice, deployed), alice.get(f"/v2/apps/{deployed}/config/").json()) == before
    assert said(alice.post(f"/v2/apps/{deployed}/releases/rollback/", {"version": 5})) == (400, "Cannot roll back to failed release.")


# --- processes


def test_a_scaling_that_fails_leaves_the_counts(deployed, alice, cluster):  # noqa: F811
    with_quota(cluster, deployed, 2)
    answer = alice.post(f"/v2/apps/{deployed}/scale/", {"web": 5})
    assert answer.status_code == 503 and answer.json()["detail"].startswith("(scale): ") and "quota" in answer.text, answer.text
    assert structure(alice, deployed) == {"web": 1}
    wait_for(lambda: len(alice.get(f"/v2/apps/{deployed}/pods/").json()["results"]) == 1, 20, "as many pods as before")


def test_one_pod_is_restarted_by_its_full_and_its_short_name(deployed, alice):  # noqa: F811
    alice.post(f"/v2/apps/{deployed}/scale/", {"web": 2})
    names = lambda: {p["name"] for p in alice.get(f"/v2/apps/{deployed}/pods/web/").json()["results"] if p["state"] == "up"}  # noqa: E731
    for form in (lambda name: name, lambda name: name.removeprefix(f"{deployed}-")):
        before = wait_for(lambda: len(names()) == 2 and names(), 20, "two pods are up")
        victim = sorted(before)[0]
        answer = alice.post(f"/v2/apps/{deployed}/pods/web/{form(victim)}/restart/")
        assert answer.status_code == 200 and [p["type"] for p in answer.json()] == ["web"], answer.text
        assert answer.json()[0]["name"] not in before
        wait_for(lambda: victim not in names() and len(names()) == 2, 20, "another came instead")  # noqa: B023
    assert said(alice.post(f"/v2/apps/{deployed}/pods/web/nobody/restart/")) == (200, [])


def test_one_off_pods_are_neither_listed_nor_counted(deployed, alice, cluster):  # noqa: F811
    spec = cluster.engine.api.get(f"/apis/apps/v1/namespaces/{deployed}/deployments/{deployed}-web")["spec"]["template"]
    labels = {**spec["metadata"]["labels"], "type": "run"}
    made = cluster.engine.api.send("POST", f"/api/v1/namespaces/{deployed}/pods", {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"{deployed}-run-ab12c", "labels": labels}, "spec": spec["spec"]})
    assert made[0] == 201, made
    assert [p["type"] for p in alice.get(f"/v2/apps/{deployed}/pods/").json()["results"]] == ["web"]
    assert alice.get(f"/v2/apps/{deployed}/pods/run/").json() == {"results": [], "count": 0}
    assert structure(alice, deployed) == {"web": 1}


def environment(cluster, app, version):  # noqa: F811
    data = cluster.engine.api.get(f"/api/v1/namespaces/{app}/secrets/{app}-v{version}-env")["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def test_what_containers_are_told(app, alice, cluster):  # noqa: F811
    config(alice, app, {"values": {"PORT": "4000", "DEIS_APP": "mine", "OWN": "grüße"}})
    assert build(alice, app, cluster.image).status_code == 201
    told = environment(cluster, app, 3)
    assert (told["PORT"], told["DEIS_APP"], told["OWN"], told["WORKFLOW_RELEASE"]) == ("4000", "mine", "grüße", "v3")
    assert told["WORKFLOW_RELEASE_SUMMARY"] == f"alice deployed {cluster.image}" and told["WORKFLOW_RELEASE_CREATED_AT"].endswith("Z")
    assert "SOURCE_VERSION" not in told


def test_what_containers_of_slugs_are_told(app, alice, cluster):  # noqa: F811
    assert build(alice, app, "home/shop:git-abcdef12/push", sha="abcdef12").status_code == 201
    told = environment(cluster, app, 2)
    assert (told["PORT"], told["SOURCE_VERSION"], told["DEIS_APP"]) == ("5000", "abcdef12", app)
    # A slug is fetched through a signed URL: no credentials of the object store are in the app.
    names = {entry["name"]: entry["valueFrom"]["secretKeyRef"]["name"] for entry in container(cluster, app, "web")["env"]}
    assert names["SLUG_URL"] == f"{app}-slug" and names["PORT"].endswith("-env")


@pytest.mark.parametrize("more, type_, command, args", [
    ({"procfile": {}}, "cmd", None, None),
    ({"procfile": {"cmd": "serve --port 1"}}, "cmd", None, ["serve", "--port", "1"]),
    ({"procfile": {"web": "serve --port 1"}}, "web", ["/bin/bash", "-c"], ["serve --port 1"]),
    ({"procfile": {"web": "serve"}, "sha": "a" * 8, "dockerfile": "true"}, "web", ["/bin/bash", "-c"], ["serve"]),
    ({"procfile": {"web": "serve"}, "sha": "a" * 8}, "web", ["/runner/init"], ["start", "web"]),
    ({"procfile": {}, "sha": "a" * 8}, "web", ["/runner/init"], ["start", "web"]),
])
def test_what_containers_run(app, alice, cluster, more, type_, command, args):  # noqa: F811
    config(alice, app, {"values": {"PORT": "5000"}})
    assert build(alice, app, cluster.image, **more).status_code == 201
    shown = container(cluster, app, type_)
    assert (shown.get("command"), shown.get("args")) == (command, args)


# --- certificates, hooks


def certificate(folder, subject, *options):
    run("openssl", "req", "-x509", "-nodes", "-days", "30", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", folder / "key",
        "-out", folder / "pem", "-subj", subject, *options)
    return {"certificate": (folder / "pem").read_text(), "key": (folder / "key").read_text()}


@pytest.mark.parametrize("subject, names, common_name, san", [
    ("/CN=foo.com", None, "foo.com", []),
    ("/CN=foo.com", "DNS:foo.com,DNS:www.foo.com", "foo.com", ["foo.com", "www.foo.com"]),
    ("/CN=*.foo.com", None, "*.foo.com", []),
    ("/O=nobody", "DNS:bar.com", None, ["bar.com"])])
def test_certificates_of_all_shapes_are_described(alice, tmp_path, subject, names, common_name, san):  # noqa: F811
    body = certificate(tmp_path, subject, *(("-addext", f"subjectAltName={names}") if names else ()))
    made = alice.post("/v2/certs/", {"name": "shaped", "common_name": "evil.com", "san": ["evil.com"], **body}).json()
    assert (made["common_name"], made["san"], made["domains"], made["subject"]) == (common_name, san, [], subject)
    assert alice.delete("/v2/certs/shaped").status_code == 204


def test_pages_of_certificates(alice, tmp_path):  # noqa: F811
    body = certificate(tmp_path, "/CN=a")
    for name in ("a-1", "a-2"):
        assert alice.post("/v2/certs/", {"name": name, **body}).status_code == 201
    page = lambda query: [c["name"] for c in alice.get(f"/v2/certs/{query}").json()["results"]]  # noqa: E731
    assert page("") == page("?limit=0") == ["a-1", "a-2"] and page("?limit=1") == ["a-1"] and page("?limit=1&offset=1") == ["a-2"]
    for method in ("PUT", "PATCH"):
        assert alice.call(method, "/v2/certs/").status_code == 405 and alice.call(method, "/v2/certs/a-1").status_code == 405
    for name in ("a-1", "a-2"):
        alice.delete(f"/v2/certs/{name}")


def test_the_builder_pushes_slugs_dockerfiles_and_images(app, alice, admin, controller, cluster):  # noqa: F811
    config(alice, app, {"values": {"PORT": "5000"}})
    version = 2
    for pusher, more in (("alice", {"image": "home/x:git-abcdef12/push", "sha": "abcdef12", "procfile": {"web": "serve"}}),
                         ("alice", {"image": cluster.image, "sha": "abcdef13", "dockerfile": "true"}),
                         ("admin", {"image": cluster.image, "procfile": {"web": "serve"}})):
        version += 1
        answer = controller.builder().post("/v2/hooks/build/", {"receive_user": pusher, "receive_repo": app, **more})
        assert said(answer) == (200, {"release": {"version": version}})
        newest = alice.get(f"/v2/apps/{app}/builds/").json()["results"][0]
        assert newest["owner"] == pusher
        assert {key: newest[key] for key in more} == more
