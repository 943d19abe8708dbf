"""A platform of the original's is taken over: its database by a real dump, its slugs from its object storage."""

import base64
import hashlib
import json
import pathlib
import subprocess
import sys
import uuid

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from controller_under_test import POSTGRES, Controller, cluster, no_cluster, postgres  # noqa: E402, F401
from objectstore_under_test import ACCESS, SECRET, ObjectStore  # noqa: E402
from workflow_testing import ROOT, WORKFLOW, run, wait_for  # noqa: E402

WHEN = "2019-05-06 07:08:09.123456+00"
SLUG = "home/peachy:git-01234567/push/slug.tgz"
TOKEN = "0123456789abcdef0123456789abcdef01234567"


def django_hash(password, salt="q3Wz8LmN5aBc"):
    key = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), 150000)
    return f"pbkdf2_sha256$150000${salt}${base64.b64encode(key).decode()}"


def literal(value):
    if value is None:
        return "NULL"
    if isinstance(value, (bool, int)):
        return str(value).lower()
    if isinstance(value, dict):
        value = json.dumps(value)
    return "'" + str(value).replace("'", "''") + "'"


def insert(table, **row):
    columns = ", ".join(f'"{name}"' for name in row)
    return f"INSERT INTO {table} ({columns}) VALUES ({', '.join(literal(value) for value in row.values())});"


class Original:
    """A database of the original's with two users and two apps, and its dump."""

    def __init__(self, postgres, folder):
        self.folder = folder
        self.database = postgres.new_database()
        self.postgres = postgres
        self.script(ROOT.joinpath("tests/support/original_database.sql").read_text())
        self.peachy, self.mobile = str(uuid.uuid4()), str(uuid.uuid4())
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bob's laptop", "-f", folder / "key")
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=www.example.com", "-addext",
            "subjectAltName=DNS:www.example.com,DNS:example.com", "-keyout", folder / "tls.key", "-out", folder / "tls.crt")
        self.script("\n".join(self.rows()))

    def script(self, text):
        run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", self.postgres.folder, "-U", "postgres", "-d", self.database, input=text)

    def rows(self):
        times = {"created": WHEN, "updated": WHEN}
        user = lambda id, name, password, **more: insert("auth_user", id=id, username=name, password=password, **{
            "is_superuser": False, "first_name": "", "last_name": "", "email": f"{name}@example.com", "is_staff": False, "is_active": True,
            "date_joined": WHEN, **more})
        yield user(1, "AnonymousUser", "")
        yield user(2, "alice", django_hash("alice's password"), is_superuser=True, first_name="Älice", last_login=WHEN)
        yield user(5, "bob", django_hash("bob's password"))
        yield user(7, "ldap-user", "!unusable")
        yield insert("authtoken_token", key=TOKEN, created=WHEN, user_id=5)
        yield insert("auth_permission", id=3, name="Can use app", content_type_id=8, codename="use_app")
        yield insert("auth_permission", id=4, name="Can change", content_type_id=8, codename="change_app")
        public = (self.folder / "key.pub").read_text().strip()
        yield insert("api_key", uuid=uuid.uuid4(), id="bob@laptop", public=public, fingerprint="aa:bb", owner_id=5, **times)
        for app, name, owner in ((self.peachy, "peachy", 2), (self.mobile, "mobile", 5)):
            yield insert("api_app", uuid=app, id=name, owner_id=owner, structure={"web": 2, "worker": 0}, procfile_structure={"web": "a"}, **times)
            yield insert("api_domain", domain=name, app_id=app, owner_id=owner, **times)
        yield insert("guardian_userobjectpermission", object_pk=self.peachy, content_type_id=8, permission_id=3, user_id=5)
        yield insert("guardian_userobjectpermission", object_pk=self.mobile, content_type_id=8, permission_id=4, user_id=7)
        certificate = (self.folder / "tls.crt").read_text()
        yield insert("api_certificate", id=4, name="www", certificate=certificate, key=(self.folder / "tls.key").read_text(), common_name="?",
                     fingerprint="?", expires=WHEN, starts=WHEN, issuer="?", subject="?", san="{a,b}", owner_id=2, **times)
        yield insert("api_domain", domain="www.Example.com", app_id=self.peachy, owner_id=2, certificate_id=4, **times)
        yield insert("api_appsettings", uuid=uuid.uuid4(), app_id=self.peachy, owner_id=2, maintenance=None, routable=True,
                     whitelist="{10.0.0.0/8,1.2.3.4}", autoscale={}, label={"team": "fruit"}, **times)
        yield insert("api_tls", uuid=uuid.uuid4(), app_id=self.peachy, owner_id=2, https_enforced=True, **times)
        build, config = uuid.uuid4(), [uuid.uuid4() for _ in range(4)]
        yield insert("api_build", uuid=build, app_id=self.peachy, owner_id=2, image=SLUG, sha="01234567", procfile={"web": "node server.js"},
                     dockerfile="", **times)
        for number, (app, values) in enumerate([(self.peachy, {}), (self.peachy, {"GREETING": "tab\there, back\\slash\nand 'line'", "PORT": 5000}),
                                                (self.peachy, {"GREETING": "broken"}), (self.mobile, {"ÜBER": "ä"})]):
            yield insert("api_config", uuid=config[number], app_id=app, owner_id=2, values=values, memory={"web": "64M"}, cpu={}, tags={},
                         registry={}, healthcheck={}, lifecycle_post_start={}, lifecycle_pre_stop={}, termination_grace_period={}, **times)
        release = lambda app, version, config, **more: insert("api_release", uuid=uuid.uuid4(), app_id=app, owner_id=2, version=version,
                                                              config_id=config, **{"summary": "s", "failed": False, **more}, **times)
        yield release(self.peachy, 1, config[0], summary="alice created initial release")
        yield release(self.peachy, 2, config[1], build_id=build, summary="alice deployed 0123456")
        yield release(self.peachy, 3, config[2], build_id=build, failed=True, exception="it crashed")
        yield release(self.mobile, 1, config[3], summary=None)

    def dump(self):
        file = self.folder / "dump.sql"
        run(POSTGRES / "pg_dump", "-h", self.postgres.folder, "-U", "postgres", "-f", file, self.database)
        return file


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """The original's object storage, with a slug, and ours."""
    theirs, ours = (ObjectStore(tmp_path_factory.mktemp(name)) for name in ("theirs", "ours"))
    theirs.client().put_object(Bucket="builder", Key=SLUG, Body=b"slug" * 100_000)
    yield theirs, ours
    theirs.stop()
    ours.stop()


@pytest.fixture(scope="module")
def original(postgres, tmp_path_factory):
    return Original(postgres, tmp_path_factory.mktemp("original"))


@pytest.fixture(scope="module")
def controller(postgres, cluster, stores):
    """Not started yet: its settings are the import's."""
    controller = Controller(postgres, cluster.kubeconfig, S3_ENDPOINT=stores[1].url, S3_ACCESS_KEY=ACCESS, S3_SECRET_KEY=SECRET)
    yield controller
    controller.stop()


def take_over(controller, *arguments, stdin=None):
    env = dict(controller.env, HEPHY_S3_ACCESS_KEY=ACCESS, HEPHY_S3_SECRET_KEY=SECRET)
    return subprocess.run([WORKFLOW, "import", "hephy", *map(str, arguments)], env=env, text=True, stdin=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=300)


def test_a_check_says_what_there_is_and_changes_nothing(controller, original):
    done = take_over(controller, "--check", original.dump())
    assert done.returncode == 0, done.stderr
    assert "can take over: 3 users, 1 keys, 2 apps, 4 releases, 3 domains, 1 certificates" in done.stdout
    assert controller.sql("select count(*) from users") == "0"


def test_what_is_no_dump_is_refused_with_the_reason(controller, tmp_path):
    file = tmp_path / "dump"
    file.write_text("INSERT INTO auth_user VALUES (1);\n")
    done = take_over(controller, file)
    assert done.returncode == 1 and "the dump has no table auth_user" in done.stderr
    file.write_bytes(b"PGDMP\x01")
    assert "pg_restore" in take_over(controller, file).stderr
    assert "cannot read" in take_over(controller, tmp_path / "nowhere").stderr
    assert controller.sql("select count(*) from users") == "0"


def test_the_platform_is_taken_over(controller, original, stores, cluster):
    with open(original.dump()) as dump:
        done = take_over(controller, "-", "--slugs-from", stores[0].url, stdin=dump)
    assert done.returncode == 0, done.stderr
    assert "1 slugs: 1 copied, 0 missing" in done.stdout
    assert "took over: 3 users, 1 keys, 2 apps, 4 releases, 3 domains, 1 certificates" in done.stdout
    assert stores[1].client().get_object(Bucket="builder", Key=SLUG)["Body"].read() == b"slug" * 100_000
    controller.start()

    # Passwords and tokens work as they did; a password is kept at our cost from its next login on.
    alice, bob = controller.login("alice", "alice's password"), controller.login("bob", "bob's password")
    assert controller.sql("select count(*) from users where password like 'scrypt$%'") == "2"
    controller.login("alice", "alice's password")
    wrong = controller.anonymous().post("/v2/auth/login/", {"username": "alice", "password": "bob's password"})
    assert wrong.status_code == 400
    assert alice.get("/v2/users/").json()["count"] == 3
    with_old_token = bob.get("/v2/apps/", headers={"Authorization": f"token {TOKEN}"})
    assert [app["id"] for app in with_old_token.json()["results"]] == ["mobile", "peachy"]

    # Keys, permissions, releases, config, domains, certificates.
    key = (original.folder / "key.pub").read_text().strip()
    assert bob.get("/v2/keys/").json()["results"][0]["public"] == key
    assert alice.get("/v2/apps/peachy/perms/").json()["users"] == ["bob"]
    assert alice.get("/v2/apps/mobile/perms/").json()["users"] == []
    releases = alice.get("/v2/apps/peachy/releases/").json()["results"]
    assert [(release["version"], release["failed"]) for release in releases] == [(3, True), (2, False), (1, False)]
    config = alice.get("/v2/apps/peachy/config/").json()
    assert config["values"] == {"GREETING": "tab\there, back\\slash\nand 'line'", "PORT": "5000"}
    assert config["memory"] == {"web": "64M"}
    assert bob.get("/v2/apps/mobile/config/").json()["values"] == {"ÜBER": "ä"}
    assert [d["domain"] for d in alice.get("/v2/apps/peachy/domains/").json()["results"]] == ["peachy", "www.example.com"]
    certificate = alice.get("/v2/certs/www").json()
    assert certificate["common_name"] == "www.example.com" and certificate["san"] == ["www.example.com", "example.com"]
    assert certificate["domains"] == ["www.example.com"]
    settings = alice.get("/v2/apps/peachy/settings/").json()
    assert settings["whitelist"] == ["10.0.0.0/8", "1.2.3.4"] and settings["label"] == {"team": "fruit"}
    assert alice.get("/v2/apps/peachy/tls/").json()["https_enforced"] is True
    assert bob.get("/v2/apps/mobile/settings/").json()["routable"] is True

    # The app runs, and goes on as any other does.
    deployment = "/apis/apps/v1/namespaces/peachy/deployments/peachy-web"
    wait_for(lambda: cluster.engine.api.send("GET", deployment)[1].get("spec", {}).get("replicas") == 2, 60, "the app is deployed")
    wait_for(lambda: len(alice.get("/v2/apps/peachy/pods/").json()["results"]) == 2, 60, "its pods are there")
    wait_for(lambda: alice.get("/v2/apps/peachy/jobs/").json()["results"][0]["state"] != "running", 120, "it is deployed")
    changed = alice.post("/v2/apps/peachy/config/", {"values": {"GREETING": "hello"}}, timeout=180)
    assert changed.status_code == 201, changed.text
    assert alice.get("/v2/apps/peachy/releases/").json()["results"][0]["version"] == 4


def test_a_platform_with_users_is_not_taken_over_again(controller, original):
    done = take_over(controller, original.dump())
    assert done.returncode == 1 and "has users already" in done.stderr
    assert controller.sql("select count(*) from users") == "3"


def test_missing_slugs_are_named(postgres, no_cluster, original, stores, tmp_path):
    other = Controller(postgres, no_cluster, S3_ENDPOINT=stores[1].url, S3_ACCESS_KEY=ACCESS, S3_SECRET_KEY=SECRET)
    stores[1].client().delete_object(Bucket="builder", Key=SLUG)
    done = take_over(other, original.dump())
    assert done.returncode == 0, done.stderr
    assert f"missing: slug {SLUG}" in done.stdout and "1 slugs: 0 copied, 1 missing" in done.stdout
