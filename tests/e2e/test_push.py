"""From `git push` to a page, for each kind of app."""

import re

import pytest

SAMPLES = {"hello": "Powered by", "node": "Hello from Node", "python": "Hello from Python", "static": "Hello from a static site"}


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_pushed_app_is_served_and_a_second_push_shows_its_change(alice, platform, releases, sample):
    name = f"push-{sample}"
    repository, output = alice.deploy(name, sample)
    assert f"Done, {name}:v2 deployed to Workflow" in output
    platform.wait_served(name, SAMPLES[sample])

    changed = 0
    for path in repository.rglob("*"):
        if path.is_file() and ".git" not in path.parts and SAMPLES[sample] in path.read_text(errors="ignore"):
            path.write_text(path.read_text().replace(SAMPLES[sample], "Changed: " + SAMPLES[sample]))
            changed += 1
    assert changed, "the sample does not contain the text that it serves"
    alice.commit(name, "change")
    output = alice.push(name)
    assert f"Done, {name}:v3 deployed to Workflow" in output
    platform.wait_served(name, "Changed: " + SAMPLES[sample])
    assert releases(name)[:3] == ["v3", "v2", "v1"]
    alice.deis("destroy", "-a", name, f"--confirm={name}")


def test_a_push_prints_its_time_per_phase(alice, platform):
    _, output = alice.deploy("timed", "hello")
    for phase in ("receive", "upload", "build", "release", "total"):
        assert re.search(rf"{phase}.*\d+(\.\d+)? ?(ms|s)", output), f"no time for phase {phase} in:\n{output}"
    alice.deis("destroy", "-a", "timed", "--confirm=timed")


def test_a_push_that_does_not_build_is_refused_and_the_old_release_serves_on(alice, platform, app, releases):
    before = releases(app)
    (alice.folder / app / "package.json").write_text('{"name": "broken", "scripts": {"start": "x"}, "dependencies": {"a": ')
    alice.commit(app, "break it")
    refused = alice.git(app, "push", "deis", "master", check=False)
    assert refused.returncode != 0
    assert "package.json" in refused.stdout, refused.stdout  # the buildpack's own words
    assert "[remote rejected]" in refused.stdout
    assert releases(app) == before
    assert platform.app(app)[0] == 200
    alice.git(app, "reset", "-q", "--hard", "HEAD~1")


def test_an_app_without_procfile_or_buildpack_is_refused_with_the_remedy(alice):
    alice.create("nothing", "hello")
    for path in (alice.folder / "nothing").iterdir():
        if path.name != ".git":
            path.unlink()
    (alice.folder / "nothing" / "notes.txt").write_text("just notes\n")
    alice.commit("nothing", "no code")
    refused = alice.git("nothing", "push", "deis", "master", check=False)
    assert refused.returncode != 0
    assert "Procfile" in refused.stdout, refused.stdout
    alice.deis("destroy", "-a", "nothing", "--confirm=nothing")


def test_a_push_without_permission_is_refused_before_upload(alice, mallory, app):
    theft = mallory.folder / app
    mallory.git("..", "clone", "-q", str(alice.folder / app), str(theft), check=True)
    refused = mallory.git(app, "push", mallory.remote(app), "master", check=False)
    assert refused.returncode != 0
    assert "permission" in refused.stdout.lower(), refused.stdout
    assert "Counting objects" not in refused.stdout and "Writing objects" not in refused.stdout


def test_a_push_to_an_unknown_app_is_refused(alice, app):
    refused = alice.git(app, "push", alice.remote("no-such-app"), "master", check=False)
    assert refused.returncode != 0
    assert "no-such-app" in refused.stdout


def test_a_push_to_another_branch_builds_nothing_and_says_so(alice, app, releases):
    before = releases(app)
    alice.git(app, "checkout", "-q", "-B", "feature")
    (alice.folder / app / "notes.txt").write_text("a feature\n")
    alice.commit(app, "feature")
    output = alice.git(app, "push", "deis", "feature").stdout
    assert "feature" in output
    assert releases(app) == before
    alice.git(app, "checkout", "-q", "master")


def test_a_key_that_nobody_has_is_refused(platform, folder):
    from platform_under_test import User

    stranger = User(platform, "stranger", folder)
    (stranger.folder / "x").mkdir()
    stranger.git("x", "init", "-q", "-b", "master")
    (stranger.folder / "x" / "a").write_text("a")
    stranger.commit("x", "a")
    refused = stranger.git("x", "push", stranger.remote("x"), "master", check=False)
    assert refused.returncode != 0
    assert "Permission denied (publickey)" in refused.stdout
