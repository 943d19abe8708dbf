"""Two clients at once on everything that changes something: one consistent outcome, no deadlock, no 500."""

import concurrent.futures
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from controller_under_test import (  # noqa: E402, F401
    Api, Controller, admin, alice, app, cluster, deployed, postgres)
from workflow_testing import run, wait_for  # noqa: E402

CLIENTS = 8


@pytest.fixture(scope="module")
def controllers(postgres, cluster):  # noqa: F811
    """Two of them on one database: races are between processes, too."""
    first = Controller(postgres, cluster.kubeconfig).start()
    second = Controller(postgres, cluster.kubeconfig, database=first.database).start()
    yield [first, second]
    assert [first.stop(), second.stop()] == [0, 0]


@pytest.fixture(scope="module")
def controller(controllers):
    return controllers[0]


@pytest.fixture(scope="module")
def user(alice):  # noqa: F811
    return alice


def at_once(controllers, user, requests):
    """Sends all requests at the same time, in turn to each controller."""
    def send(numbered):
        number, (method, path, body) = numbered
        return Api(controllers[number % 2].url, user.token).call(method, path, body)

    with concurrent.futures.ThreadPoolExecutor(len(requests)) as threads:
        return list(threads.map(send, enumerate(requests)))


def statuses(answers):
    return sorted(a.status_code for a in answers)


def race(controllers, user, method, path, body):
    return at_once(controllers, user, [(method, path, body)] * CLIENTS)


def test_one_app_of_a_name(controllers, user):
    answers = race(controllers, user, "POST", "/v2/apps/", {"id": "raced"})
    assert statuses(answers).count(201) == 1 and set(statuses(answers)) <= {201, 400, 409}, [a.text for a in answers]
    assert user.get("/v2/apps/raced/domains/").json()["count"] == 1
    gone = race(controllers, user, "DELETE", "/v2/apps/raced/", None)
    assert 204 in statuses(gone) and set(statuses(gone)) <= {204, 404}, [a.text for a in gone]
    assert user.get("/v2/apps/raced/").status_code == 404


@pytest.mark.parametrize("path, body, good, others", [
    ("config", {"values": {"A": "1"}}, 201, {409}),
    ("domains", {"domain": "raced.example.com"}, 201, {400}),
    ("settings", {"maintenance": True}, 201, {409}),
    ("settings", {"label": {"team": "x"}}, 201, {409}),
    ("whitelist", {"addresses": ["10.0.0.0/8"]}, 201, {409}),
    ("tls", {"https_enforced": True}, 201, {409}),
    ("services", {"procfile_type": "worker", "path_pattern": "/x"}, 201, {204}),
])
def test_the_same_change_is_made_once(controllers, user, app, path, body, good, others):
    answers = race(controllers, user, "POST", f"/v2/apps/{app}/{path}/", body)
    assert statuses(answers).count(good) == 1 and set(statuses(answers)) <= {good, *others}, [a.text for a in answers]


def test_changes_of_different_settings_keep_each_other(controllers, user, app):
    bodies = [{"maintenance": True}, {"routable": False}, {"label": {"a": "1"}}, {"label": {"b": "2"}}, {"whitelist": ["1.2.3.4"]},
              {"autoscale": {"web": {"min": 1, "max": 2, "cpu_percent": 50}}}]
    answers = at_once(controllers, user, [("POST", f"/v2/apps/{app}/settings/", body) for body in bodies])
    assert statuses(answers) == [201] * 6, [a.text for a in answers]
    shown = user.get(f"/v2/apps/{app}/settings/").json()
    assert (shown["maintenance"], shown["routable"], shown["label"], shown["whitelist"]) == (True, False, {"a": "1", "b": "2"}, ["1.2.3.4"])
    addresses = at_once(controllers, user, [("POST", f"/v2/apps/{app}/whitelist/", {"addresses": [f"10.0.0.{n}"]}) for n in range(CLIENTS)])
    assert statuses(addresses) == [201] * CLIENTS
    assert len(user.get(f"/v2/apps/{app}/whitelist/").json()["addresses"]) == CLIENTS + 1


def service(cluster, app):
    return cluster.engine.api.get(f"/api/v1/namespaces/{app}/services/{app}")["metadata"]["annotations"]


def test_what_was_stored_last_is_what_the_cluster_has(controllers, user, deployed, cluster):  # noqa: F811
    path = f"/v2/apps/{deployed}"
    for round_ in range(3):
        names = [f"d{round_}-{n}.{deployed}.example.com" for n in range(4)]
        answers = at_once(controllers, user, [
            *(("POST", f"{path}/domains/", {"domain": name}) for name in names),
            ("POST", f"{path}/settings/", {"maintenance": round_ % 2 == 0}), ("POST", f"{path}/config/", {"values": {"ROUND": str(round_)}}),
            ("POST", f"{path}/whitelist/", {"addresses": [f"10.0.0.{round_}"]})])
        assert statuses(answers) == [201] * 7, [a.text for a in answers]
        stored = user.get(f"{path}/settings/").json()
        domains = {d["domain"] for d in user.get(f"{path}/domains/").json()["results"]}

        def is_so():
            told = service(cluster, deployed)
            return (set(told["router.deis.io/domains"].split(",")) == domains and len(domains) == 1 + 4 * (round_ + 1)  # noqa: B023
                    and told["router.deis.io/maintenance"] == str(stored["maintenance"]).lower()  # noqa: B023
                    and set(told["router.deis.io/whitelist"].split(",")) == set(stored["whitelist"]))  # noqa: B023

        wait_for(is_so, 10, f"the Service is as the database says: {stored} {service(cluster, deployed)}")


def test_changes_of_config_without_a_build_keep_each_other(controllers, user, app):
    answers = at_once(controllers, user, [("POST", f"/v2/apps/{app}/config/", {"values": {f"K{n}": "1"}}) for n in range(CLIENTS)])
    assert statuses(answers) == [201] * CLIENTS, [a.text for a in answers]
    assert len(user.get(f"/v2/apps/{app}/config/").json()["values"]) == CLIENTS
    versions = [r["version"] for r in user.get(f"/v2/apps/{app}/releases/").json()["results"]]
    assert versions == list(range(CLIENTS + 1, 0, -1))


def test_of_deploys_scalings_and_rollbacks_one_goes_on_and_the_others_are_told(controllers, user, deployed, cluster):  # noqa: F811
    path = f"/v2/apps/{deployed}"
    user.post(f"{path}/config/", {"values": {"A": "1"}})
    answers = at_once(controllers, user, [
        ("POST", f"{path}/config/", {"values": {"B": "1"}}), ("POST", f"{path}/config/", {"values": {"C": "1"}}),
        ("POST", f"{path}/builds/", {"image": cluster.image, "procfile": {"web": "serve", "worker": "work"}}),
        ("POST", f"{path}/scale/", {"web": 2}), ("POST", f"{path}/scale/", {"worker": 1}),
        ("POST", f"{path}/releases/rollback/", {"version": 3}), ("POST", f"{path}/pods/restart/", {})])
    assert set(statuses(answers)) <= {200, 201, 204, 400, 409}, [a.text for a in answers]
    for answer in answers:
        if answer.status_code >= 400:
            assert "is already in progress" in answer.text, answer.text
    assert any(a.status_code in (201, 204) for a in answers)
    live = next(r for r in user.get(f"{path}/releases/").json()["results"] if not r["failed"])
    counts = user.get(f"{path}/").json()["structure"]
    wait_for(lambda: sorted(p["type"] for p in user.get(f"{path}/pods/").json()["results"] if p["state"] == "up")
             == sorted(t for t, n in counts.items() for _ in range(n)), 30, f"the pods of {live['version']} are {counts}")


def test_an_app_that_is_destroyed_while_it_changes_is_gone(controllers, user, cluster):  # noqa: F811
    for _ in range(3):
        name = user.create_app()
        user.post(f"/v2/apps/{name}/config/", {"values": {"PORT": "5000"}})
        path = f"/v2/apps/{name}"
        answers = at_once(controllers, user, [
            ("DELETE", f"{path}/", None), ("POST", f"{path}/builds/", {"image": cluster.image, "procfile": {"web": "serve"}}),
            ("POST", f"{path}/settings/", {"maintenance": True}), ("POST", f"{path}/domains/", {"domain": f"{name}.example.com"}),
            ("POST", f"{path}/tls/", {"https_enforced": True}), ("POST", f"{path}/config/", {"values": {"A": "1"}})])
        assert answers[0].status_code == 204, answers[0].text
        assert set(statuses(answers)) <= {201, 204, 400, 404, 409, 503}, [(a.status_code, a.text) for a in answers]
        assert user.get(f"{path}/").status_code == 404
        wait_for(lambda: cluster.engine.api.send("GET", f"/api/v1/namespaces/{name}")[0] == 404, 20, "nothing is left in the cluster")  # noqa: B023


def test_sharing_and_handing_over(controllers, user, app):
    controllers[0].register("mate")
    grants = race(controllers, user, "POST", f"/v2/apps/{app}/perms/", {"username": "mate"})
    assert statuses(grants) == [201] * CLIENTS
    assert user.get(f"/v2/apps/{app}/perms/").json() == {"users": ["mate"]}
    revoked = race(controllers, user, "DELETE", f"/v2/apps/{app}/perms/mate", None)
    assert statuses(revoked) == [204] + [403] * (CLIENTS - 1), [a.text for a in revoked]
    admin = controllers[0].login("admin")
    handed = at_once(controllers, admin, [("POST", f"/v2/apps/{app}/", {"owner": name}) for name in ("mate", user.username) * 4])
    assert statuses(handed) == [200] * 8
    owner = admin.get(f"/v2/apps/{app}/").json()["owner"]
    owners = controllers[0].sql(f"select distinct u.username from domains d join users u on u.id = d.owner_id join apps a on a.uuid = d.app_uuid "
                                f"where a.id = '{app}'")
    assert owners == owner
    admin.post(f"/v2/apps/{app}/", {"owner": user.username})


def test_accounts(controllers, user):
    body = {"username": "twin", "password": "p", "email": ""}
    answers = at_once(controllers, user, [("POST", "/v2/auth/register/", body)] * CLIENTS)
    assert statuses(answers) == [201] + [400] * (CLIENTS - 1), [a.text for a in answers]
    twin = controllers[0].login("twin", "p")
    renewed = race(controllers, twin, "POST", "/v2/auth/tokens/", {})
    good = [a.json()["token"] for a in renewed if a.status_code == 200]
    assert set(statuses(renewed)) <= {200, 401} and good
    assert sum(Api(controllers[0].url, token).get("/v2/").status_code == 200 for token in good) == 1  # the last one alone
    admin = controllers[0].login("admin")
    gone = race(controllers, admin, "DELETE", "/v2/auth/cancel/", {"username": "twin"})
    assert statuses(gone) == [204] + [404] * (CLIENTS - 1), [a.text for a in gone]


def test_the_last_administrator_stays_even_when_two_demote_each_other(controllers):
    for round_ in range(3):
        one, two = controllers[0].login("admin"), controllers[0].register(f"second-{round_}")
        assert one.post("/v2/admin/perms/", {"username": two.username}).status_code == 201
        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            answers = [f.result() for f in (threads.submit(one.delete, f"/v2/admin/perms/{two.username}"),
                                            threads.submit(two.delete, "/v2/admin/perms/admin"))]
        assert 204 in statuses(answers) and set(statuses(answers)) <= {204, 403, 409}, [a.text for a in answers]
        left = controllers[0].sql("select username from users where is_superuser")
        assert left in ("admin", two.username)
        if left != "admin":
            two.post("/v2/admin/perms/", {"username": "admin"})
            two.delete(f"/v2/admin/perms/{two.username}")


def test_keys_certificates_and_domains(controllers, user, app, tmp_path):
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "ssh")
    key = (tmp_path / "ssh.pub").read_text()
    for body in ({"id": "same", "public": key},):
        answers = race(controllers, user, "POST", "/v2/keys/", body)
        assert statuses(answers) == [201] + [400] * (CLIENTS - 1), [a.text for a in answers]
    other_ids = at_once(controllers, user, [("POST", "/v2/keys/", {"id": f"k{n}", "public": key}) for n in range(CLIENTS)])
    assert statuses(other_ids) == [400] * CLIENTS
    assert statuses(race(controllers, user, "DELETE", "/v2/keys/same", None)) == [204] + [404] * (CLIENTS - 1)
    run("openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "9", "-subj", "/CN=x", "-keyout", tmp_path / "key", "-out", tmp_path / "crt")
    certificate = {"name": "raced", "certificate": (tmp_path / "crt").read_text(), "key": (tmp_path / "key").read_text()}
    answers = race(controllers, user, "POST", "/v2/certs/", certificate)
    assert statuses(answers) == [201] + [400] * (CLIENTS - 1), [a.text for a in answers]
    domain = f"{app}.example.com"
    user.post(f"/v2/apps/{app}/domains/", {"domain": domain})
    attached = race(controllers, user, "POST", "/v2/certs/raced/domain/", {"domain": domain})
    assert statuses(attached) == [201] + [409] * (CLIENTS - 1), [a.text for a in attached]
    assert statuses(race(controllers, user, "DELETE", f"/v2/certs/raced/domain/{domain}", None)) == [204] + [404] * (CLIENTS - 1)
    assert statuses(race(controllers, user, "DELETE", f"/v2/apps/{app}/domains/{domain}/", None)) == [204] + [404] * (CLIENTS - 1)
    assert statuses(race(controllers, user, "DELETE", "/v2/certs/raced/", None)) == [204] + [404] * (CLIENTS - 1)


# What makes sense to each route that changes something; with it, it goes on to do it.
BODIES = {
    "register": {"username": "raced", "password": "p", "email": ""}, "login": {"username": "admin", "password": "secret-1"},
    "setPassword": {"new_password": "secret-1", "password": "secret-1"}, "addAdministrator": {"username": "raced-admin"},
    "cancel": {"username": "raced-gone"}, "createApp": {"id": "raced-app"}, "transferApp": {"owner": "admin"}, "addCollaborator": {"username": "raced-admin"},
    "setConfig": {"values": {"RACED": "1"}}, "rollBack": {"version": 3}, "scale": {"web": 2}, "createDomain": {"domain": "raced.example.org"},
    "setService": {"procfile_type": "worker", "path_pattern": "/raced"}, "deleteService": {"procfile_type": "worker"},
    "setSettings": {"label": {"raced": "1"}}, "addToWhitelist": {"addresses": ["192.0.2.1"]}, "removeFromWhitelist": {"addresses": ["192.0.2.1"]},
    "setTls": {"https_enforced": True}, "createToken": {"name": "raced"},
}


def test_two_clients_on_every_route_that_changes_something_meet_no_error_of_ours(controllers, user, deployed, cluster):  # noqa: F811
    controllers[0].register("raced-admin"), controllers[0].register("raced-gone")
    admin = controllers[0].login("admin")
    described = controllers[0].anonymous().get("/v2/openapi.json").json()["paths"]
    tried = []
    for path, operations in described.items():
        for method, operation in operations.items():
            name = operation["operationId"]
            builders = any("builder" in s for s in operation["security"])
            # These end the session, or the app that the others need; `run` needs a node with containers.
            if method == "get" or builders or name in ("regenerateTokens", "destroyApp", "run"):
                continue
            for part, value in (("{app}", deployed), ("{username}", "raced-admin"), ("{domain}", "raced.example.org"), ("{type}", "web"),
                                ("{name}", "x"), ("{id}", "1"), ("{id...}", "1")):
                path = path.replace(part, value)
            body = BODIES.get(name, {"image": cluster.image, "procfile": {"web": "serve"}} if name == "createBuild" else None)
            answers = at_once(controllers, admin, [(method.upper(), path, body)] * 2)
            assert max(statuses(answers)) < 500, (name, [(a.status_code, a.text) for a in answers])
            assert name not in BODIES or min(statuses(answers)) < 400, (name, [(a.status_code, a.text) for a in answers])
            tried.append(name)
    assert len(tried) > 30, tried
    wait_for(lambda: controllers[0].sql("select count(*) from jobs where state = 'running'") == "0", 60, "no job is stuck")
    assert controllers[0].sql("select count(*) from releases where state = 'pending'") == "0"
