"""git push over the real sshd and git, through the real builder, slugbuilder, object store and controller."""

import base64
import hashlib
import itertools
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from builder_under_test import BuildCluster, Builder, Pusher, skip_without_programs  # noqa: E402
from controller_under_test import postgres, start_controller  # noqa: E402, F401
from objectstore_under_test import ACCESS, SECRET, store  # noqa: E402, F401
from workflow_testing import WORKFLOW, open_folder, run, wait_for  # noqa: E402


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    skip_without_programs()
    cluster = BuildCluster(tmp_path_factory.mktemp("engine"))
    yield cluster
    cluster.stop()


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


def slug_of(user, app):
    """Where the slug of the newest build lies in the object store."""
    return user.get(f"/v2/apps/{app}/builds/").json()["results"][0]["image"].partition("@sha256:")[0]


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
    commit = alice.git(app, "rev-parse", "HEAD").stdout.strip()
    build = alice.api.get(f"/v2/apps/{app}/builds/").json()["results"][0]
    assert build["sha"] == commit[:8]
    assert re.fullmatch(rf"home/{app}:git-{commit}-[0-9a-f]{{16}}/push/slug\.tgz@sha256:[0-9a-f]{{64}}", build["image"])
    assert build["procfile"] == {"web": "./serve"} and not build["dockerfile"]
    key, digest = build["image"].split("@sha256:")
    assert hashlib.sha256(store.client().get_object(Bucket="builder", Key=key)["Body"].read()).hexdigest() == digest


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


def objects_of(store, app):
    return [o["Key"] for o in store.client().list_objects_v2(Bucket="builder", Prefix=f"home/{app}").get("Contents", [])]


def source_of(store, app, folder):
    """The files of the source that is being built."""
    [key] = [key for key in objects_of(store, app) if key.endswith("/tar")]
    store.client().download_file("builder", key, str(folder / "tar"))
    return run("tar", "-tf", folder / "tar").stdout.split()


def test_the_source_and_the_config_are_there_while_it_builds_and_are_gone_afterwards(alice, app, cluster, store, held, tmp_path):
    set_config(alice.api, app, PASSWORD="s3cret", MULTILINE="a\nb")
    push = alice.start_push(app, app)
    read_until(push, "Starting build")
    assert "Procfile" in source_of(store, app, tmp_path)
    [pod] = wait_for(lambda: cluster.objects("pods"), what="the build's pod")
    secrets = {secret["metadata"]["name"]: secret for secret in cluster.objects("secrets")}
    assert set(secrets) == {f"{app}-build-env", f"{app}-build-urls"}
    config = secrets[f"{app}-build-env"]["data"]
    assert {k: base64.b64decode(v).decode() for k, v in config.items()} == {"PASSWORD": "s3cret", "MULTILINE": "a\nb"}
    sha = alice.git(app, "rev-parse", "HEAD").stdout[:8]
    assert re.fullmatch(rf"slugbuild-{app}-{sha}-[0-9a-f]{{8}}", pod["metadata"]["name"])
    assert "s3cret" not in str(pod)
    held.set()
    output = push.communicate(timeout=60)[0]
    assert push.returncode == 0 and "s3cret" not in output
    assert cluster.names("pods") == [] and cluster.names("secrets") == []


def test_a_build_has_no_credentials_and_no_more_rights_than_any_user(alice, app, cluster, store, held):
    push = alice.start_push(app, app)
    read_until(push, "Starting build")
    [pod] = wait_for(lambda: cluster.objects("pods"), what="the build's pod")
    assert "objectstorage-keyfile" not in str(pod) and SECRET not in str(pod) and "X-Amz-Signature" not in str(pod)
    assert [volume["secret"]["secretName"] for volume in pod["spec"]["volumes"]] == [f"{app}-build-env"]
    security = pod["spec"]["containers"][0]["securityContext"]
    assert security["runAsUser"] == 2000 and security["runAsNonRoot"] and not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    urls = cluster.node.secret("deis", f"{app}-build-urls")
    assert SECRET not in str(urls)
    held.set()
    assert push.wait(timeout=60) == 0
    # Each URL is for one object and one method.
    requests = {name: urllib.parse.urlsplit(url.decode()) for name, url in urls.items()}
    keys = {name: urllib.parse.unquote(url.path).removeprefix("/builder/") for name, url in requests.items()}
    image = slug_of(alice.api, app)
    folder = image.removesuffix("push/slug.tgz")
    assert keys == {"TAR_URL": folder + "tar", "SLUG_PUT_URL": image, "PROCFILE_PUT_URL": folder + "push/Procfile",
                    "DIGEST_PUT_URL": folder + "push/slug.sha256",
                    "CACHE_GET_URL": f"home/{app}/cache/cache.tgz", "CACHE_PUT_URL": f"home/{app}/cache/cache.tgz"}
    for url in requests.values():
        assert 0 < int(urllib.parse.parse_qs(url.query)["X-Amz-Expires"][0]) <= 31 * 60
        for target in (f"/builder/{image}", "/builder/home/other/cache/cache.tgz", "/builder/", "/"):
            if urllib.parse.unquote(url.path) == target:
                continue
            forged = urllib.request.Request(f"{store.url}{target}?{url.query}")
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(forged, timeout=10)
            assert refused.value.code == 403


STEAL = """#!/bin/sh
for place in /proc/[0-9]*; do
  [ "$(tr '\\0' ' ' < $place/cmdline 2>/dev/null | grep -c slugbuilder)" = 1 ] || continue
  cat $place/environ $place/mem 2>&1 | grep -a X-Amz && echo "the URLs were read"
  echo "looked at a slugbuilder"
done
env | grep -a X-Amz && echo "the URLs were read"
true
"""


def test_what_is_pushed_cannot_read_the_builds_urls(alice, app):
    alice.commit(app, {"bin/pre-compile": STEAL})
    output = alice.push(app, app).stdout
    assert "looked at a slugbuilder" in output and "the URLs were read" not in output and "X-Amz" not in output


@pytest.mark.parametrize(("name", "target"), [
    (".buildpacks", "{outside}/secret"), (".buildpacks", "/proc/self/environ"), (".slugignore", "../../../../../../../..{outside}/secret"),
    ("Procfile", "{outside}/secret"), ("Procfile", "{outside}"), (".profile.d", "{outside}"), (".release", "{outside}/secret"),
    ("bin", "{outside}")])
def test_no_link_that_is_pushed_leads_out_of_the_tree(alice, app, name, target):
    """Whether the build fails or not: nothing outside is shown or changed."""
    outside = open_folder("workflow-outside-")
    try:
        (outside / "secret").write_text("the platform's secret\n")
        (outside / "secret").chmod(0o644)
        before = (outside.stat(), (outside / "secret").stat())
        link = alice.folder / app / name
        if link.is_file():
            link.unlink()
        link.symlink_to(target.format(outside=outside))
        alice.git(app, "add", "-A")
        alice.git(app, "commit", "-q", "-m", "a link")
        output = alice.push(app, app, check=False).stdout
        assert "platform's secret" not in output and "X-Amz" not in output
        if name in (".buildpacks", ".slugignore", "Procfile") and target != "{outside}":
            assert f"{name} must be a file" in output
        assert (outside / "secret").read_text() == "the platform's secret\n" and [p.name for p in outside.iterdir()] == ["secret"]
        for old, new in zip(before, (outside.stat(), (outside / "secret").stat())):
            assert (old.st_uid, old.st_gid, old.st_mode, old.st_mtime_ns) == (new.st_uid, new.st_gid, new.st_mode, new.st_mtime_ns)
    finally:
        shutil.rmtree(outside)


def test_a_procfile_may_be_a_link_within_the_tree(alice, app):
    alice.commit(app, {"deploy/Procfile": "web: ./elsewhere\n"})
    (alice.folder / app / "Procfile").unlink()
    (alice.folder / app / "Procfile").symlink_to("deploy/Procfile")
    alice.commit(app, {})
    alice.push(app, app)
    assert alice.api.get(f"/v2/apps/{app}/builds/").json()["results"][0]["procfile"] == {"web": "./elsewhere"}


def test_a_commit_that_is_built_again_leaves_what_older_releases_run(alice, app, store):
    """The same commit under another branch name is built again, here with another outcome."""
    alice.commit(app, {"bin/pre-compile": "#!/bin/sh\ndate +%s%N > built-at\n"})
    alice.push(app, app)
    first = slug_of(alice.api, app)
    before = store.client().get_object(Bucket="builder", Key=first)["Body"].read()
    alice.push(app, app, "master:main")
    second = slug_of(alice.api, app)
    assert first != second
    assert store.client().get_object(Bucket="builder", Key=first)["Body"].read() == before
    assert store.client().get_object(Bucket="builder", Key=second)["Body"].read() != before


PROCFILE = """web: MSG="a: b" OPT="x # y" ./serve --opt a: b
worker:./work
clock: "./tick --every '5 m'"
"""


def test_a_procfiles_lines_are_the_shells_byte_for_byte(alice, app):
    alice.commit(app, {"Procfile": PROCFILE})
    output = alice.push(app, app).stdout
    assert "Procfile declares types -> web, worker, clock" in output
    assert alice.api.get(f"/v2/apps/{app}/builds/").json()["results"][0]["procfile"] == {
        "web": 'MSG="a: b" OPT="x # y" ./serve --opt a: b', "worker": "./work", "clock": "./tick --every '5 m'"}


def test_a_procfile_that_cannot_be_read_is_named_with_its_line(alice, app):
    alice.commit(app, {"Procfile": "web: ./serve\nworker= x\n"})
    refused = alice.push(app, app, check=False)
    assert refused.returncode == 1 and 'Procfile line 2 must be of the form "web: command"' in refused.stdout


def test_pointers_of_git_lfs_are_told_with_the_remedy(alice, app):
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 1234567\n"
    # As git-lfs leaves it: whoever pushes need not have the program.
    alice.commit(app, {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "a/large.bin": pointer, "b.bin": pointer})
    output = alice.push(app, app).stdout
    assert "2 files are pointers of git-lfs" in output and "a/large.bin, b.bin" in output
    assert "git lfs migrate export --include='*' --everything" in output


def test_what_app_json_asks_for_after_a_deploy_is_told_not_to_run(alice, app):
    alice.commit(app, {"app.json": '{"name": "x", "scripts": {"postdeploy": "./seed"}}'})
    assert "scripts.postdeploy of app.json is not run" in alice.push(app, app).stdout
    alice.commit(app, {"app.json": '{"scripts": '})
    assert "app.json" not in alice.push(app, app).stdout


def test_what_is_marked_export_ignore_is_not_built(alice, app, store, held, tmp_path):
    alice.commit(app, {".gitattributes": "secret export-ignore\n", "secret": "x", "open": "y"})
    push = alice.start_push(app, app)
    read_until(push, "Starting build")
    names = source_of(store, app, tmp_path)
    assert "open" in names and "secret" not in names and "Procfile" in names
    held.set()
    assert push.wait(timeout=60) == 0


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
    env = {entry["name"]: entry.get("value") for entry in pod["spec"]["containers"][0]["env"]}
    assert env["SSL_CERT_FILE"] == env["PIP_CERT"] == env["NODE_EXTRA_CA_CERTS"] == "/var/run/workflow/ca/ca.crt"
    assert any(volume.get("configMap", {}).get("name") == "workflow-ca-certificates" for volume in pod["spec"]["volumes"])
    cluster.engine.api.send("DELETE", path + "/workflow-ca-certificates")
    held.set()
    assert push.wait(timeout=60) == 0


# --- a push that git refuses is not released


def push_shallow(alice, app, origin):
    """A push from a clone that has but the last commit."""
    run("git", "clone", "-q", "--depth=1", f"file://{origin}", alice.folder / f"{app}-shallow", env=alice.env)
    alice.commit(f"{app}-shallow", {"more": "1"})
    return alice.push(f"{app}-shallow", app)


def test_a_push_from_a_shallow_clone_is_deployed_and_so_are_whole_ones_after_it(alice, app):
    for number in range(3):
        alice.commit(app, {"a": str(number)})
    output = push_shallow(alice, app, alice.folder / app).stdout
    assert f"Done, {app}:v2" in output and "* [new branch]" in output, output
    alice.git(app, "pull", "-q", "--rebase", str(alice.folder / f"{app}-shallow"), "master")
    alice.commit(app, {"a": "whole"})
    output = alice.push(app, app).stdout
    assert f"Done, {app}:v3" in output and "master -> master" in output, output
    assert releases(alice.api, app) == ["v3", "v2", "v1"]


def test_a_shallow_clone_of_what_was_pushed_whole_is_deployed(alice, app):
    alice.commit(app, {"a": "1"})
    alice.push(app, app)
    output = push_shallow(alice, app, alice.folder / app).stdout
    assert f"Done, {app}:v3" in output and "master -> master" in output, output


def test_a_branch_in_the_way_is_told_before_anything_is_built(alice, app):
    assert "was stored, but not deployed" in alice.push(app, app, "master:master/old").stdout
    refused = alice.push(app, app, check=False)
    assert refused.returncode == 1 and "[remote rejected]" in refused.stdout, refused.stdout
    assert "git cannot store this push: cannot lock ref 'refs/heads/master': 'refs/heads/master/old' exists" in refused.stdout
    assert "Starting build" not in refused.stdout and releases(alice.api, app) == ["v1"]
    alice.push(app, app, ":master/old")
    assert f"{app}:v2" in alice.push(app, app).stdout


def test_what_else_is_pushed_counts_when_the_pusher_says_so(alice, app):
    alice.push(app, app, "master:feature")
    refused = alice.push(app, app, "--atomic", "master", "master:feature/x", check=False)
    assert refused.returncode == 1 and "Starting build" not in refused.stdout, refused.stdout
    assert releases(alice.api, app) == ["v1"]
    partly = alice.push(app, app, "master", "master:feature/x", check=False)
    assert partly.returncode == 1 and f"Done, {app}:v2" in partly.stdout and "[remote rejected] master -> feature/x" in partly.stdout
    assert releases(alice.api, app) == ["v2", "v1"]
    assert "Everything up-to-date" in alice.push(app, app).stdout


def test_what_git_cannot_store_after_the_build_is_not_released(alice, app, builder, store, held):
    push = alice.start_push(app, app)
    read_until(push, "Starting build")
    lock = builder.repos / f"{app}.git" / "refs" / "heads" / "master.lock"
    lock.touch()
    held.set()
    output = push.communicate(timeout=60)[0]
    assert push.returncode == 1 and "[remote rejected] master -> master (failed to update ref)" in output, output
    assert "Done" not in output and releases(alice.api, app) == ["v1"]
    wait_for(lambda: not [key for key in objects_of(store, app) if "/cache/" not in key], what="the slug is gone")
    lock.unlink()
    assert f"{app}:v2" in alice.push(app, app).stdout


def test_a_release_that_fails_is_reported_as_git_reports_a_refused_branch(alice, mallory, app, store, held):
    mallory.make(app)
    assert alice.api.post(f"/v2/apps/{app}/perms/", {"username": "mallory"}).status_code == 201
    push = mallory.start_push(app, app, "master:refs/heads/a-branch", "master", "master:refs/tags/after")
    read_until(push, "Starting build")
    assert alice.api.delete(f"/v2/apps/{app}/perms/mallory").status_code == 204
    held.set()
    output = push.communicate(timeout=60)[0]
    assert push.returncode == 1, output
    assert "remote: \x1b[1G\x1b[K !     The controller returned an error when publishing the release" in output
    assert "! [remote rejected] master -> master (release failed)" in output, output
    assert "hung up" not in output and "fatal" not in output and "Done" not in output
    assert releases(alice.api, app) == ["v1"]
    assert [key for key in objects_of(store, app) if key.endswith("slug.tgz")] == []
    alice.make(f"{app}-again")
    assert f"{app}:v2" in alice.push(f"{app}-again", app).stdout  # nothing was stored as master, and no lock is left


def test_locks_of_a_git_that_was_killed_are_in_nobodys_way(own_builder):
    own = own_builder()
    own.pusher.push(own.app, own.app)
    assert own.stop() == 0
    repository = own.repos / f"{own.app}.git"
    for lock in ("refs/heads/master.lock", "packed-refs.lock", "shallow.lock"):
        (repository / lock).touch()
    (repository / "objects" / "tmp_objdir-incoming-x").mkdir()
    own.start()
    own.pusher.commit(own.app, {"a": "1"})
    assert f"{own.app}:v3" in own.pusher.push(own.app, own.app).stdout
    assert not list(repository.rglob("*.lock")) and not list((repository / "objects").glob("tmp_objdir-*"))


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
    assert second.returncode == 128 and "fatal: remote error: Another git push is ongoing (alice's, for " in second.stdout
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


def test_a_pusher_who_waits_for_git_is_not_silent(own_builder):
    """Git is stopped before it has read the last bytes, as on a machine that has no time for it."""
    own = own_builder(BUILDER_RECEIVE_TIMEOUT="1s")
    commit = own.pusher.git(own.app, "rev-parse", "HEAD").stdout.strip()
    pack = subprocess.run(["git", "-C", own.pusher.folder / own.app, "pack-objects", "--stdout", "--revs", "-q"], check=True,
                          input=f"{commit}\n".encode(), stdout=subprocess.PIPE, env=own.pusher.env).stdout
    push = subprocess.Popen([*own.pusher.ssh_command(), "-p", str(own.ssh_port), "git@127.0.0.1", f"git-receive-pack '/{own.app}.git'"],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    while (length := int(push.stdout.read(4), 16)) > 0:  # what there is: nothing yet
        push.stdout.read(length - 4)
    command = f"{'0' * 40} {commit} refs/heads/master\0 report-status side-band-64k".encode()
    push.stdin.write(f"{len(command) + 4:04x}".encode() + command + b"0000" + pack[:-20])
    push.stdin.flush()

    def unpacker():
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if b"unpack-objects" in (folder / "cmdline").read_bytes() and os.readlink(folder / "cwd").startswith(str(own.repos)):
                    return int(folder.name)
            except OSError:
                pass
        return None

    git = wait_for(unpacker, what="git unpacks")
    os.kill(git, signal.SIGSTOP)
    push.stdin.write(pack[-20:])
    push.stdin.flush()
    wait_for(lambda: own.output().count("git has not yet taken") >= 2, 20, "twice the time of silence")
    os.kill(git, signal.SIGCONT)
    output = push.communicate(timeout=60)[0].decode()
    assert f"Done, {own.app}:v2" in output and "ok refs/heads/master" in output, output


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
    wait_for(lambda: cluster.names("pods", own.ns), 20, "the pod of the build")
    own.kill()
    assert push.wait(timeout=30) != 0
    assert len(cluster.names("pods", own.ns)) == 1 and len(cluster.names("secrets", own.ns)) == 2
    held.set()
    own.start()
    wait_for(lambda: not cluster.names("pods", own.ns) and not cluster.names("secrets", own.ns), 20, "what the builds left is gone")
    output = own.pusher.push(own.app, own.app).stdout
    assert f"{own.app}:v3" in output and "master -> master" in output


def test_slugs_that_no_release_needs_are_removed_and_no_others(own_builder, store):
    """As a builder leaves them that was killed between a build and its release."""
    own = own_builder()
    own.pusher.push(own.app, own.app)
    needed = slug_of(own.pusher.api, own.app)
    own.pusher.commit(own.app, {"a": "1"})
    own.pusher.push(own.app, own.app)
    orphan = f"home/{own.app}:git-{'0' * 40}-{'0' * 16}/push/slug.tgz"
    store.client().put_object(Bucket="builder", Key=orphan, Body=b"of a build that nobody released")
    own.env |= {"BUILDER_BUILD_TIMEOUT": "2s", "BUILDER_RELEASE_TIMEOUT": "2s"}

    def swept():
        """Once it is older than any push of now can be, the next sweep takes it."""
        assert own.stop() == 0
        own.log.unlink()
        own.start()
        wait_for(lambda: own.said("looked for what nobody needs"), 60, "the sweep")
        return orphan not in objects_of(store, own.app)

    wait_for(swept, 120, "the orphan is gone")
    assert {needed, slug_of(own.pusher.api, own.app)} <= set(objects_of(store, own.app))


def test_bytes_of_a_build_that_are_no_text_reach_the_pusher_as_text(alice, app):
    alice.commit(app, {"bin/pre-compile": "#!/bin/sh\nprintf 'caf\\303\\251 and caf\\351\\n'\n"})
    push = subprocess.run(["git", "-C", alice.folder / app, "push", alice.remote(app), "master"], env=alice.env, timeout=120,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert push.returncode == 0 and "café and caf\ufffd" in push.stdout.decode(), push.stdout


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


def test_those_who_may_push_may_clone_and_fetch_and_nobody_else(alice, mallory, app, tmp_path):
    clone = tmp_path / "clone"
    refused = alice.git(app, "clone", "-q", alice.remote(app), str(clone), check=False)
    assert refused.returncode == 128 and f"fatal: remote error: Nothing was pushed to {app} yet" in refused.stdout
    alice.push(app, app)
    alice.git(app, "clone", "-q", alice.remote(app), str(clone))
    head = alice.git(app, "rev-parse", "HEAD").stdout
    assert run("git", "-C", clone, "rev-parse", "HEAD").stdout == head
    alice.commit(app, {"large": os.urandom(200_000).hex()})
    alice.push(app, app)
    run("git", "-C", clone, "pull", "-q", env=alice.env)
    assert run("git", "-C", clone, "rev-parse", "HEAD").stdout == alice.git(app, "rev-parse", "HEAD").stdout
    mallory.make(app)
    refused = mallory.git(app, "fetch", mallory.remote(app), check=False)
    assert refused.returncode == 128 and f"fatal: remote error: You do not have permission to push to {app}" in refused.stdout


def test_code_of_an_earlier_app_of_the_name_is_not_given_to_the_next(alice, mallory, cluster, builder):
    name = "once-and-again"
    alice.api.post("/v2/apps/", {"id": name})
    alice.make(name)
    alice.push(name, name)
    kept = shutil.copytree(builder.repos / f"{name}.git", builder.folder / "kept.git")
    assert alice.api.delete(f"/v2/apps/{name}/").status_code == 204
    wait_for(lambda: not (builder.repos / f"{name}.git").exists(), 60, "the repository is gone")
    assert mallory.api.post("/v2/apps/", {"id": name}).status_code == 201
    shutil.copytree(kept, builder.repos / f"{name}.git")  # as if it had not been removed yet
    mallory.make(name)
    refused = mallory.git(name, "fetch", mallory.remote(name), check=False)
    assert refused.returncode == 128 and f"Nothing was pushed to {name} yet" in refused.stdout
    mallory.api.delete(f"/v2/apps/{name}/")


def test_nothing_but_git_is_to_be_had(alice, app):
    for words, said in ((["sh"], "There is no shell here"), ([], "There is no shell here"), (["git-shell"], "no shell"),
                        ([f"git-upload-archive '/{app}.git'"], "no archives here"), (["git-receive-pack '../x.git'"], "does not name an app"),
                        (["git-receive-pack"], "No app was named"), ([f"git-receive-pack '/{app}.git'; id"], "does not name an app")):
        answer = alice.ssh(*words)
        assert answer.returncode == 1 and said in answer.stdout, (words, answer.stdout)


def test_keys_of_every_kind_and_size_that_is_safe_are_let_in(alice, builder, tmp_path):
    for kind in ("rsa", "ecdsa", "ed25519"):
        pusher = Pusher(tmp_path / kind, alice.api, builder, kind)
        assert alice.api.post("/v2/keys/", {"id": kind, "public": pusher.key.with_suffix(".pub").read_text()}).status_code == 201
        assert pusher.ssh("ping").stdout == "pong", kind
        alice.api.delete(f"/v2/keys/{kind}")


def test_an_agent_may_hold_many_keys(alice, tmp_path):
    others = []
    for number in range(25):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / f"key-{number}")
        others += ["-i", str(tmp_path / f"key-{number}")]
    assert alice.ssh("ping", options=["-o", "IdentitiesOnly=yes", *others]).stdout == "pong"


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


def zombies_of(pid):
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().rpartition(")")
        except OSError:
            continue
        state, parent = rest.split()[:2]
        if state == "Z" and int(parent) == pid:
            found.append(name)
    return found


def test_no_process_is_left_of_those_who_came_and_went(cluster, store, controller, alice, app, tmp_path):
    """As the first process of its pod, the builder is the parent of what sshd leaves behind."""
    builder = Builder(controller.url, store, cluster.builder_kubeconfig)
    builder.launch(as_first_process=True)
    wait_for(builder.ready, 30, "the builder is ready")
    first = builder.first_process()
    try:
        pusher = alice.at(builder, tmp_path / "here")
        pusher.make(app)
        for number in range(3):
            pusher.commit(app, {"a": str(number)})
            pusher.push(app, app)
        for _ in range(20):
            assert pusher.ssh("ping").stdout == "pong"
        wait_for(lambda: not zombies_of(first), 60, "what ended is gone")
    finally:
        os.kill(first, signal.SIGTERM)
        assert builder.process.wait(timeout=60) == 0, builder.output()
        shutil.rmtree(builder.folder)


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
