"""git push over the real sshd and git, through the real builder, slugbuilder, object store and controller."""

import base64
import itertools
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from builder_under_test import BuildCluster, Builder, Pusher, skip_without_programs  # noqa: E402
from controller_under_test import postgres, start_controller  # noqa: E402, F401
from objectstore_under_test import ACCESS, SECRET, ObjectStore  # noqa: E402
from workflow_testing import WORKFLOW, run, wait_for  # noqa: E402


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    skip_without_programs()
    cluster = BuildCluster(tmp_path_factory.mktemp("engine"))
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    server = ObjectStore(tmp_path_factory.mktemp("objectstore"))
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def controller(start_controller, cluster, store):  # noqa: F811
    return start_controller(cluster.kubeconfig, S3_ENDPOINT=store.url, S3_ACCESS_KEY=ACCESS, S3_SECRET_KEY=SECRET)


@pytest.fixture(scope="module")
def builder(cluster, store, controller):
    builder = Builder(controller.url, store, cluster.builder_kubeconfig).start()
    yield builder
    builder.close()


@pytest.fixture(scope="module")
def admin(controller):
    return controller.register("admin")


@pytest.fixture(scope="module")
def alice(controller, admin, builder, tmp_path_factory):
    return Pusher(tmp_path_factory.mktemp("alice") / "home", controller.register("alice"), builder).register_key()


@pytest.fixture(scope="module")
def mallory(controller, admin, builder, tmp_path_factory):
    return Pusher(tmp_path_factory.mktemp("mallory") / "home", controller.register("mallory"), builder, "ecdsa").register_key()


NUMBERS = itertools.count()


def new_app(user):
    """Drawn names come again; repositories of the test would then be in the way."""
    return user.create_app(f"pushed-{next(NUMBERS)}")


@pytest.fixture
def app(alice):
    name = new_app(alice.api)
    alice.make(name)
    yield name
    alice.api.delete(f"/v2/apps/{name}/")


@pytest.fixture
def held(cluster):
    """Builds do not begin until the test says so, or ends."""
    cluster.node.may_build.clear()
    yield cluster.node.may_build
    cluster.node.may_build.set()


@pytest.fixture
def own_builder(cluster, store, controller, alice, tmp_path):
    """start(**settings): another builder with a namespace of its own, and an app to push to."""
    started = []

    def start(**settings):
        ns = f"deis-{next(NUMBERS)}"
        cluster.make_namespace(ns)
        own = Builder(controller.url, store, cluster.builder_kubeconfig, POD_NAMESPACE=ns, **settings).start()
        own.ns = ns
        own.pusher = alice.at(own, tmp_path / ns)
        own.app = new_app(own.pusher.api)
        own.pusher.make(own.app)
        started.append(own)
        return own

    yield start
    for own in started:
        own.pusher.api.delete(f"/v2/apps/{own.app}/")
        own.close()


def releases(user, app):
    return [f"v{release['version']}" for release in user.get(f"/v2/apps/{app}/releases/").json()["results"]]


def read_until(process, text):
    """What a push prints up to `text`."""
    seen = ""
    while text not in seen:
        line = process.stdout.readline()
        assert line, f"the push ended:\n{seen}"
        seen += line
    return seen


def set_config(user, app, **values):
    answer = user.post(f"/v2/apps/{app}/config/", {"values": values})
    assert answer.status_code == 201, answer.text


# --- what a push does


def test_a_push_builds_releases_and_says_how_long_each_part_took(alice, app, store):
    output = alice.push(app, app).stdout
    told = ["Starting build... but first, coffee!", "Procfile app detected", "Build complete.", "Launching App...",
            f"Done, {app}:v2 deployed to Workflow", "Use 'deis open' to view this application in your browser"]
    at = [output.find(text) for text in told]
    assert -1 not in at and at == sorted(at), output
    for phase in ("receive", "upload", "build", "release", "total"):
        assert re.search(rf"{phase} \d+\.\d\d s", output), output
    assert releases(alice.api, app) == ["v2", "v1"]
    sha = alice.git(app, "rev-parse", "HEAD").stdout[:8]
    build = alice.api.get(f"/v2/apps/{app}/builds/").json()["results"][0]
    assert build["sha"] == sha and build["image"] == f"home/{app}:git-{sha}/push/slug.tgz"
    assert build["procfile"] == {"web": "./serve"} and not build["dockerfile"]
    assert store.client().head_object(Bucket="builder", Key=build["image"])["ContentLength"] > 0


def test_each_line_takes_the_place_of_gits_prefix_on_a_terminal(alice, app):
    output = alice.push(app, app).stdout
    assert "remote: \x1b[1G\x1b[KStarting build..." in output
    assert "\x1b[1G\x1b[K-----> Procfile app detected" in output


def test_an_unchanged_branch_is_not_built_again(alice, app, builder):
    alice.push(app, app)
    assert "Everything up-to-date" in alice.push(app, app).stdout
    assert releases(alice.api, app) == ["v2", "v1"]


def test_each_new_commit_is_a_release_also_a_rewritten_one(alice, app):
    alice.push(app, app)
    alice.commit(app, {"a": "1"})
    assert f"{app}:v3" in alice.push(app, app).stdout
    alice.git(app, "commit", "-q", "--amend", "-m", "rewritten")
    assert alice.push(app, app, check=False).returncode != 0  # git's own: not a fast-forward
    assert f"{app}:v4" in alice.push(app, app, "+master").stdout


def test_main_deploys_as_master_does(alice, app):
    assert f"{app}:v2" in alice.push(app, app, "master:main").stdout


def test_one_commit_under_two_names_is_built_once(alice, app):
    output = alice.push(app, app, "master", "master:main", "master:refs/tags/v1").stdout
    assert output.count("Starting build") == 1
    assert "tag v1 was stored, but not deployed" in output
    assert releases(alice.api, app) == ["v2", "v1"]


def test_other_branches_and_tags_are_stored_not_built(alice, app):
    output = alice.push(app, app, "master:feature").stdout
    assert "branch feature was stored, but not deployed: only master or main deploys" in output
    assert "git push <remote> feature:master" in output
    alice.git(app, "tag", "-a", "v1", "-m", "one")
    assert "tag v1 was stored, but not deployed" in alice.push(app, app, "v1").stdout
    assert "[deleted]" in alice.push(app, app, ":feature").stdout
    assert releases(alice.api, app) == ["v1"]


def test_the_app_may_name_its_deploy_branch(alice, app):
    set_config(alice.api, app, DEIS_DEPLOY_BRANCH="production")
    assert "only production deploys" in alice.push(app, app).stdout
    assert f"{app}:v3" in alice.push(app, app, "master:production").stdout


def test_the_deploy_branch_cannot_be_deleted(alice, app):
    alice.push(app, app)
    refused = alice.push(app, app, ":master", check=False)
    assert refused.returncode != 0 and "cannot be deleted" in refused.stdout and "[remote rejected]" in refused.stdout


def test_apps_are_pushed_to_side_by_side(alice, app, held):
    other = new_app(alice.api)
    alice.make(other)
    pushes = [alice.start_push(name, name) for name in (app, other)]
    for push in pushes:
        read_until(push, "Starting build")  # both at once: neither may end before the other began
    held.set()
    for push, name in zip(pushes, (app, other)):
        assert f"Done, {name}:v2" in push.communicate(timeout=60)[0] and push.returncode == 0
    alice.api.delete(f"/v2/apps/{other}/")


# --- what a build gets


def test_the_source_and_the_config_are_there_while_it_builds_and_the_config_is_gone_afterwards(alice, app, cluster, store, held):
    set_config(alice.api, app, PASSWORD="s3cret", MULTILINE="a\nb")
    push = alice.start_push(app, app)
    read_until(push, "Starting build")
    sha = alice.git(app, "rev-parse", "HEAD").stdout[:8]
    assert store.client().head_object(Bucket="builder", Key=f"home/{app}:git-{sha}/tar")
    [pod], [secret] = wait_for(lambda: cluster.objects("pods"), what="the build's pod"), cluster.objects("secrets")
    assert secret["metadata"]["name"] == f"{app}-build-env"
    assert {k: base64.b64decode(v).decode() for k, v in secret["data"].items()} == {"PASSWORD": "s3cret", "MULTILINE": "a\nb"}
    assert re.fullmatch(rf"slugbuild-{app}-{sha}-[0-9a-f]{{8}}", pod["metadata"]["name"])
    assert "s3cret" not in str(pod)
    held.set()
    output = push.communicate(timeout=60)[0]
    assert push.returncode == 0 and "s3cret" not in output
    assert cluster.names("pods") == [] and cluster.names("secrets") == []


def test_what_is_marked_export_ignore_is_not_built(alice, app, store, tmp_path):
    alice.commit(app, {".gitattributes": "secret export-ignore\n", "secret": "x", "open": "y"})
    alice.push(app, app)
    sha = alice.git(app, "rev-parse", "HEAD").stdout[:8]
    store.client().download_file("builder", f"home/{app}:git-{sha}/tar", str(tmp_path / "tar"))
    names = run("tar", "-tzf", tmp_path / "tar").stdout.split()
    assert "open" in names and "secret" not in names and "Procfile" in names


def test_the_operators_settings_reach_every_build(own_builder):
    own = own_builder(BUILD_ENV_GREETING="hello from the operator")
    own.pusher.commit(own.app, {"bin/pre-compile": "#!/bin/sh\necho \"$GREETING\"\n"})
    assert "hello from the operator" in own.pusher.push(own.app, own.app).stdout


def test_builds_trust_the_certificates_that_the_machine_trusts(alice, app, cluster, held):
    path = "/api/v1/namespaces/deis/configmaps"
    cluster.engine.api.send("POST", path, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "workflow-ca-certificates"}, "data": {"ca.crt": "x"}})
    push = alice.start_push(app, app)
    read_until(push, "Starting build")
    [pod] = wait_for(lambda: cluster.objects("pods"), what="the build's pod")
    env = {entry["name"]: entry["value"] for entry in pod["spec"]["containers"][0]["env"]}
    assert env["SSL_CERT_FILE"] == env["PIP_CERT"] == env["NODE_EXTRA_CA_CERTS"] == "/var/run/workflow/ca/ca.crt"
    assert any(volume.get("configMap", {}).get("name") == "workflow-ca-certificates" for volume in pod["spec"]["volumes"])
    cluster.engine.api.send("DELETE", path + "/workflow-ca-certificates")
    held.set()
    assert push.wait(timeout=60) == 0


# --- what fails


def test_a_failing_build_is_refused_leaves_nothing_and_can_be_pushed_again(alice, app, cluster):
    alice.push(app, app)
    alice.commit(app, {"bin/pre-compile": "#!/bin/sh\necho the reason\nexit 7\n"})
    for _ in range(2):
        refused = alice.push(app, app, check=False)
        assert refused.returncode == 1
        assert "the reason" in refused.stdout and "Build pod exited with code 7, stopping build" in refused.stdout
        assert "[remote rejected] master -> master (pre-receive hook declined)" in refused.stdout
    assert releases(alice.api, app) == ["v2", "v1"]
    assert cluster.names("pods") == [] and cluster.names("secrets") == []
    alice.commit(app, {"bin/pre-compile": "#!/bin/sh\n"})
    assert f"{app}:v3" in alice.push(app, app).stdout


def test_source_that_no_buildpack_knows_is_refused_with_the_remedy(alice, app):
    alice.git(app, "rm", "-q", "Procfile")
    alice.commit(app, {"notes.txt": "just notes"})
    refused = alice.push(app, app, check=False)
    assert refused.returncode == 1 and "Add a Procfile" in refused.stdout


def test_a_dockerfile_is_refused_with_the_remedy_which_works(alice, app):
    alice.commit(app, {"Dockerfile": "FROM scratch\n"})
    refused = alice.push(app, app, check=False)
    assert refused.returncode == 1 and f"deis config:set HEPHY_BUILDER=procfile -a {app}" in refused.stdout
    set_config(alice.api, app, HEPHY_BUILDER="procfile")
    assert f"{app}:v3" in alice.push(app, app).stdout


def test_a_release_that_the_controller_refuses_is_the_pushers_to_know(alice, app):
    alice.commit(app, {"Procfile": "web: ./serve\nUPPER: ./x\n"})
    refused = alice.push(app, app, check=False)
    assert refused.returncode == 1 and "UPPER" in refused.stdout and "[remote rejected]" in refused.stdout
    assert releases(alice.api, app) == ["v1"]


def test_a_build_that_takes_too_long_is_ended_and_the_limit_named(own_builder, cluster, held):
    own = own_builder(BUILDER_BUILD_TIMEOUT="1s")
    refused = own.pusher.push(own.app, own.app, check=False)
    assert refused.returncode == 1 and "took longer than 1 seconds" in refused.stdout
    assert cluster.names("pods", own.ns) == [] and cluster.names("secrets", own.ns) == []
    held.set()
    assert own.pusher.ssh("ping").stdout == "pong"


def test_a_silent_build_shows_that_it_goes_on(own_builder, held):
    own = own_builder(SESSION_IDLE_INTERVAL="100")
    push = own.pusher.start_push(own.app, own.app)
    read_until(push, "\x1b[K...")
    held.set()
    assert push.wait(timeout=60) == 0


def test_a_pod_that_somebody_deletes_ends_the_build(alice, app, cluster, held):
    push = alice.start_push(app, app)
    read_until(push, "Starting build")
    [name] = wait_for(lambda: cluster.names("pods"), what="the build's pod")
    cluster.engine.api.send("DELETE", f"/api/v1/namespaces/deis/pods/{name}")
    output = push.communicate(timeout=60)[0]
    assert push.returncode == 1 and "the build's pod was deleted" in output


def test_more_than_a_push_may_be_is_refused(own_builder):
    own = own_builder(BUILDER_MAX_PUSH_BYTES=str(1 << 20))
    own.pusher.commit(own.app, {"big": os.urandom(1 << 20).hex()})
    refused = own.pusher.push(own.app, own.app, check=False)
    assert refused.returncode != 0 and "maximum allowed size" in refused.stdout
    own.pusher.git(own.app, "reset", "-q", "--hard", "HEAD~1")
    # Little to send, much to unpack: its archive is what is too large.
    noise = os.urandom(30_000).hex()
    own.pusher.commit(own.app, {f"copies/{i}": noise for i in range(100)})
    refused = own.pusher.push(own.app, own.app, check=False)
    assert refused.returncode == 1 and "the source is larger than a push may be" in refused.stdout, refused.stdout


# --- who may


def test_a_push_without_permission_is_refused_before_anything_is_sent(alice, mallory, app):
    mallory.make(app)
    refused = mallory.push(app, app, check=False)
    assert refused.returncode == 128
    assert f"fatal: remote error: You do not have permission to push to {app}" in refused.stdout
    assert "objects" not in refused.stdout.lower()


def test_a_collaborator_may_push_until_the_owner_says_no(alice, mallory, app):
    mallory.make(app)
    assert alice.api.post(f"/v2/apps/{app}/perms/", {"username": "mallory"}).status_code == 201
    assert f"{app}:v2" in mallory.push(app, app).stdout
    assert alice.api.delete(f"/v2/apps/{app}/perms/mallory").status_code == 204
    mallory.commit(app, {"a": "1"})
    assert "permission" in mallory.push(app, app, check=False).stdout


def test_names_are_matched_exactly(alice, mallory):
    longer = mallory.api.create_app("peachy-waxworks")
    shorter = alice.api.create_app("peachy")
    mallory.make(longer)
    assert "permission to push to peachy " in mallory.push(longer, shorter, check=False).stdout
    assert "There is no app peachy-wax." in mallory.push(longer, "peachy-wax", check=False).stdout
    mallory.api.delete(f"/v2/apps/{longer}/")
    alice.api.delete(f"/v2/apps/{shorter}/")


def test_an_unknown_app_is_named(alice, app):
    refused = alice.push(app, "no-such-app", check=False)
    assert refused.returncode == 128 and "fatal: remote error: There is no app no-such-app." in refused.stdout


def test_a_key_that_nobody_has_is_refused(controller, builder, app, alice, tmp_path):
    stranger = Pusher(tmp_path / "stranger", alice.api, builder)
    stranger.make(app)
    refused = stranger.push(app, app, check=False)
    assert refused.returncode == 128 and "Permission denied (publickey)" in refused.stdout


def test_a_key_counts_for_nothing_once_it_is_removed(controller, builder, tmp_path):
    pusher = Pusher(tmp_path / "once", controller.login("mallory"), builder)
    assert "Permission denied" in pusher.ssh("ping").stdout
    answer = pusher.api.post("/v2/keys/", {"id": "second", "public": pusher.key.with_suffix(".pub").read_text()})
    assert answer.status_code == 201
    assert pusher.ssh("ping").stdout == "pong"
    assert pusher.api.delete("/v2/keys/second").status_code == 204
    assert "Permission denied" in pusher.ssh("ping").stdout


# --- one push at a time, and pushers who go away


def test_a_second_push_to_the_app_is_told_of_the_first(alice, app, held):
    first = alice.start_push(app, app)
    read_until(first, "Starting build")
    second = alice.push(app, app, check=False)
    assert second.returncode == 128 and "fatal: remote error: Another git push is ongoing" in second.stdout
    held.set()
    assert first.wait(timeout=60) == 0
    alice.commit(app, {"a": "1"})
    assert f"{app}:v3" in alice.push(app, app).stdout  # at once


def test_a_push_goes_on_when_its_pusher_goes_away(alice, app, builder, held):
    push = alice.start_push(app, app)
    read_until(push, "Starting build")
    os.killpg(push.pid, signal.SIGKILL)
    push.wait()
    assert "Another git push is ongoing" in alice.push(app, app, check=False).stdout
    held.set()
    wait_for(lambda: builder.said("msg=deployed", f"app={app}"), 30, "the push deploys")
    assert releases(alice.api, app) == ["v2", "v1"]
    assert builder.said("pusher is gone", f"app={app}")
    wait_for(lambda: "Everything up-to-date" in alice.push(app, app, check=False).stdout, 10, "the branch was kept")


def test_a_pusher_who_goes_away_while_sending_leaves_nothing(alice, app, builder):
    half = subprocess.run([*alice.ssh_command(), "-p", str(builder.ssh_port), "git@127.0.0.1", f"git-receive-pack '/{app}.git'"],
                          input=b"0000", stdout=subprocess.PIPE, timeout=30)
    assert half.stdout.endswith(b"0000")
    assert f"{app}:v2" in alice.push(app, app).stdout


def test_a_pusher_who_is_silent_loses_his_turn(own_builder):
    own = own_builder(BUILDER_RECEIVE_TIMEOUT="1s")
    silent = subprocess.Popen([*own.pusher.ssh_command(), "-p", str(own.ssh_port), "git@127.0.0.1", f"git-receive-pack '/{own.app}.git'"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    silent.stdout.read(4)
    assert "Another git push is ongoing" in own.pusher.push(own.app, own.app, check=False).stdout
    assert silent.wait(timeout=30) != 0
    assert f"{own.app}:v2" in own.pusher.push(own.app, own.app).stdout


# --- ends and beginnings


def test_a_builder_that_is_asked_to_end_finishes_what_it_began(own_builder, cluster, held):
    own = own_builder()
    push = own.pusher.start_push(own.app, own.app)
    read_until(push, "Starting build")
    own.process.terminate()
    wait_for(lambda: own.said("waiting for pushes under way"), 10, "the builder waits")
    held.set()
    output = push.communicate(timeout=60)[0]
    assert push.returncode == 0 and f"Done, {own.app}:v2" in output
    assert own.process.wait(timeout=30) == 0
    assert cluster.names("pods", own.ns) == []


def test_what_a_builder_cannot_finish_in_time_it_takes_down(own_builder, cluster, held):
    own = own_builder(BUILDER_DRAIN_TIMEOUT="100ms")
    push = own.pusher.start_push(own.app, own.app)
    read_until(push, "Starting build")
    own.process.terminate()
    assert own.process.wait(timeout=30) == 0
    assert push.wait(timeout=30) != 0
    assert cluster.names("pods", own.ns) == [] and cluster.names("secrets", own.ns) == []


def test_a_builder_that_was_killed_starts_clean_and_keeps_repositories(own_builder, cluster, held):
    own = own_builder()
    held.set()
    own.pusher.push(own.app, own.app)
    held.clear()
    own.pusher.commit(own.app, {"a": "1"})
    push = own.pusher.start_push(own.app, own.app)
    read_until(push, "Starting build")
    own.kill()
    assert push.wait(timeout=30) != 0
    assert len(cluster.names("pods", own.ns)) == 1 and len(cluster.names("secrets", own.ns)) == 1
    held.set()
    own.start()
    wait_for(lambda: not cluster.names("pods", own.ns) and not cluster.names("secrets", own.ns), 20, "what the builds left is gone")
    output = own.pusher.push(own.app, own.app).stdout
    assert f"{own.app}:v3" in output and "master -> master" in output


def test_a_controller_that_is_being_restarted_is_waited_for(alice, app, controller):
    assert controller.stop() == 0
    push = alice.start_push(app, app)
    controller.start()
    output = push.communicate(timeout=60)[0]
    assert push.returncode == 0 and f"Done, {app}:v2" in output, output


def test_an_object_store_that_is_being_restarted_is_waited_for(alice, app, store, builder):
    store.kill()
    push = alice.start_push(app, app)
    wait_for(lambda: builder.said("a build waits for what it needs"), 20, "the build waits")
    store.start()
    output = push.communicate(timeout=60)[0]
    assert push.returncode == 0 and f"Done, {app}:v2" in output, output


def test_a_release_survives_the_controller_that_began_it(alice, app, cluster, controller):
    cluster.node.may_serve.clear()
    try:
        push = alice.start_push(app, app)
        read_until(push, "Launching App...")
        wait_for(lambda: cluster.engine.api.get(f"/api/v1/namespaces/{app}/pods")["items"], what="the release's pod")
        controller.kill()
        controller.start()
    finally:
        cluster.node.may_serve.set()
    output = push.communicate(timeout=60)[0]
    assert push.returncode == 0 and f"Done, {app}:v2" in output, output
    assert releases(alice.api, app) == ["v2", "v1"]


def test_what_a_destroyed_app_left_is_removed(alice, app, builder, store):
    alice.push(app, app)
    keys = lambda: [o["Key"] for o in store.client().list_objects_v2(Bucket="builder", Prefix=f"home/{app}").get("Contents", [])]
    assert keys() and (builder.repos / f"{app}.git").exists()
    assert alice.api.delete(f"/v2/apps/{app}/").status_code == 204
    wait_for(lambda: not keys() and not (builder.repos / f"{app}.git").exists(), 20, "repository and objects are gone")


def test_an_app_made_anew_begins_anew(alice, app):
    alice.push(app, app)
    assert alice.api.delete(f"/v2/apps/{app}/").status_code == 204
    alice.api.create_app(app)
    assert f"Done, {app}:v2" in alice.push(app, app).stdout  # not "Everything up-to-date"


def test_what_was_destroyed_while_no_builder_ran_is_removed_at_its_start(own_builder, store, controller):
    own = own_builder()
    own.pusher.push(own.app, own.app)
    assert own.stop() == 0
    store.client().put_object(Bucket="builder", Key="home/long-gone:git-01234567/tar", Body=b"x")
    assert own.pusher.api.delete(f"/v2/apps/{own.app}/").status_code == 204
    own.start()
    left = lambda: [o["Key"] for o in store.client().list_objects_v2(Bucket="builder", Prefix="home/").get("Contents", [])
                    if own.app in o["Key"] or "long-gone" in o["Key"]]
    wait_for(lambda: not left() and not (own.repos / f"{own.app}.git").exists(), 20, "repository and objects are gone")


# --- the front door


def test_ping_answers(alice):
    assert alice.ssh("ping").stdout == "pong"
    assert alice.ssh("ping").returncode == 0


def test_nothing_but_git_push_is_to_be_had(alice, app):
    for words, said in ((["sh"], "There is no shell here"), ([], "There is no shell here"), (["git-shell"], "no shell"),
                        ([f"git-upload-pack '/{app}.git'"], "gives none back"), (["git-receive-pack '../x.git'"], "does not name an app"),
                        (["git-receive-pack"], "No app was named"), ([f"git-receive-pack '/{app}.git'; id"], "does not name an app")):
        answer = alice.ssh(*words)
        assert answer.returncode == 1 and said in answer.stdout, (words, answer.stdout)
    clone = alice.git(app, "ls-remote", alice.remote(app), check=False)
    assert clone.returncode == 128 and "fatal: remote error: Workflow takes code and gives none back" in clone.stdout


def test_keys_of_every_kind_and_size_that_is_safe_are_let_in(alice, builder, tmp_path):
    for kind in ("rsa", "ecdsa", "ed25519"):
        pusher = Pusher(tmp_path / kind, alice.api, builder, kind)
        assert alice.api.post("/v2/keys/", {"id": kind, "public": pusher.key.with_suffix(".pub").read_text()}).status_code == 201
        assert pusher.ssh("ping").stdout == "pong", kind
        alice.api.delete(f"/v2/keys/{kind}")


@pytest.mark.parametrize("option", ["KexAlgorithms=diffie-hellman-group1-sha1", "Ciphers=3des-cbc", "MACs=hmac-sha1", "HostKeyAlgorithms=ssh-rsa"])
def test_broken_algorithms_are_refused(alice, option):
    cipher = [] if not option.startswith("MACs") else ["-o", "Ciphers=aes128-ctr"]  # the others need no MAC
    refused = alice.ssh("ping", options=["-o", "LogLevel=INFO", "-o", option, *cipher])
    assert refused.returncode == 255 and "no matching" in refused.stdout, refused.stdout


def test_passwords_other_users_terminals_and_forwarding_are_refused(alice, builder, controller):
    assert "Permission denied (publickey)." in alice.ssh("ping", user="root").stdout
    assert "Permission denied (publickey)." in alice.ssh("ping", user="alice").stdout
    assert "Permission denied (publickey)." in alice.ssh("ping", options=["-o", "PreferredAuthentications=password"]).stdout
    tunnel = alice.ssh("ping", options=["-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1"])
    assert tunnel.returncode == 255 and "forwarding failed" in tunnel.stdout
    direct = alice.ssh(options=["-W", f"127.0.0.1:{controller.port}"])
    assert direct.returncode != 0 and "forwarding failed" in direct.stdout
    assert "PTY allocation request failed" in alice.ssh("ping", options=["-t", "-t"]).stdout
    assert alice.ssh("ping").stdout == "pong"


def test_the_environment_that_a_client_sends_changes_nothing(alice, app):
    env = dict(alice.env, WORKFLOW_PUSHER="admin aa 00", GIT_SSH_COMMAND=alice.env["GIT_SSH_COMMAND"] + " -o SendEnv=*")
    assert "pong" in run(*alice.ssh_command(), "-o", "SendEnv=*", "-p", alice.builder.ssh_port, "git@127.0.0.1", "ping", env=env).stdout
    assert run("git", "-C", alice.folder / app, "push", alice.remote(app), "master", env=env).returncode == 0


# --- operation


def test_health_and_metrics(builder, alice, app):
    alice.push(app, app)
    assert builder.get("/healthz")[0] == 200 and builder.get("/readiness")[0] == 200
    metrics = builder.get("/metrics")[1]
    assert re.search(r'builder_pushes_total\{result="deployed"\} [1-9]', metrics)
    assert 'builder_push_seconds_bucket{phase="total"' in metrics
    assert "builder_pushes_under_way 0" in metrics


def test_no_secret_is_in_the_log_or_in_a_command_line(builder, alice, app, held):
    set_config(alice.api, app, PASSWORD="s3cret-value")
    push = alice.start_push(app, app)
    read_until(push, "Starting build")
    lines = [pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() for pid in subprocess.run(
        ["pgrep", "-f", str(builder.folder)], stdout=subprocess.PIPE, text=True).stdout.split() if pathlib.Path(f"/proc/{pid}/cmdline").exists()]
    held.set()
    assert push.wait(timeout=60) == 0
    for secret in ("s3cret-value", builder.env["BUILDER_KEY"], SECRET):
        assert secret not in builder.output()
        assert lines and not any(secret.encode() in line for line in lines)


def test_bad_settings_are_all_named_at_once():
    env = {"PATH": os.environ["PATH"], "BUILDER_SSH_PORT": "many", "BUILDER_RUN_DIR": "/with space", "S3_ENDPOINT": "nowhere",
           "BUILD_ENV_9": "x", "BUILDER_BUILD_TIMEOUT": "soon"}
    done = subprocess.run([WORKFLOW, "builder"], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10)
    assert done.returncode == 1
    for name in ("BUILDER_SSH_PORT", "BUILDER_RUN_DIR", "S3_ENDPOINT", "BUILD_ENV_9", "BUILDER_BUILD_TIMEOUT", "BUILDER_KEY_FILE", "SLUGBUILDER_IMAGE",
                 "S3_ACCESS_KEY_FILE", "S3_SECRET_KEY_FILE"):
        assert f"setting={name} " in done.stdout, done.stdout


def test_a_builder_without_host_keys_says_so(store, controller, cluster):
    builder = Builder(controller.url, store, cluster.builder_kubeconfig)
    for key in (builder.folder / "host-keys").iterdir():
        key.unlink()
    builder.launch()
    assert builder.process.wait(timeout=20) == 1
    assert builder.said("holds no host key", "ssh-host-ed25519-key")
