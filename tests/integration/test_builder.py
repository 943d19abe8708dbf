"""git push over the real sshd and git, through the real builder, slugbuilder, object store and controller."""

import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from builder_under_test import BuildCluster, Builder, Pusher, skip_without_programs  # noqa: E402
from controller_under_test import postgres, start_controller  # noqa: E402, F401
from objectstore_under_test import ACCESS, SECRET, ObjectStore  # noqa: E402
from workflow_testing import wait_for  # noqa: E402


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


@pytest.fixture
def app(alice):
    name = alice.api.create_app()
    alice.make(name)
    yield name
    alice.api.delete(f"/v2/apps/{name}/")


def test_a_push_builds_releases_and_says_how_long_each_part_took(alice, app):
    output = alice.push(app, app).stdout
    told = ["Starting build... but first, coffee!", "Procfile app detected", "Build complete.", "Launching App...",
            f"Done, {app}:v2 deployed to Workflow", "Use 'deis open' to view this application in your browser"]
    at = [output.find(text) for text in told]
    assert -1 not in at and at == sorted(at), output
    for phase in ("receive", "upload", "build", "release", "total"):
        assert re.search(rf"{phase} \d+\.\d\d s", output), output
