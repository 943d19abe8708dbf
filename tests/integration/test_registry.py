"""The registry with a real client."""

import os
import pathlib
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from workflow_testing import WORKFLOW, free_port, run, wait_for  # noqa: E402


def answers(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            return response.status == 200
    except (OSError, urllib.error.HTTPError):
        return False


@pytest.fixture
def registry(tmp_path):
    port, health = free_port(), free_port()
    env = dict(os.environ, REGISTRY_DIR=str(tmp_path / "data"), REGISTRY_PORT=str(port), REGISTRY_HEALTH_PORT=str(health))
    process = subprocess.Popen([WORKFLOW, "registry"], env=env)
    wait_for(lambda: answers(health, "/readiness"), 10, "the registry is ready")
    yield port, process
    process.terminate()
    process.wait(timeout=30)


def test_it_ends_cleanly_when_asked(registry):
    _, process = registry
    process.terminate()
    assert process.wait(timeout=30) == 0


def test_its_heap_is_kept_small(registry):
    _, process = registry
    child, = (pathlib.Path("/proc") / pid for pid in pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
    assert b"GOGC=50" in (child / "environ").read_bytes().split(b"\0")


def test_an_image_comes_back_as_it_was_pushed(registry, tmp_path):
    port, _ = registry
    layout = tmp_path / "image"
    make_image(layout)
    run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout}:v1", f"docker://127.0.0.1:{port}/team/app:v1")
    back = tmp_path / "back"
    run("skopeo", "copy", "--src-tls-verify=false", f"docker://127.0.0.1:{port}/team/app:v1", f"oci:{back}:v1")
    assert blobs(back) == blobs(layout)


def blobs(layout):
    return {blob.name for blob in (layout / "blobs/sha256").iterdir()}


def make_image(layout, config=None):
    """An OCI image layout with one small layer; `config` is merged over its config."""
    import gzip
    import hashlib
    import io
    import json
    import tarfile

    (layout / "blobs/sha256").mkdir(parents=True)

    def blob(data):
        digest = hashlib.sha256(data).hexdigest()
        (layout / "blobs/sha256" / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("hello")
        entry.size = 5
        tar.addfile(entry, io.BytesIO(b"hello"))
    layer = blob(gzip.compress(packed.getvalue(), mtime=0))
    diff_id = "sha256:" + hashlib.sha256(packed.getvalue()).hexdigest()
    config = blob(json.dumps({"architecture": "amd64", "os": "linux", **(config or {}),
                              "rootfs": {"type": "layers", "diff_ids": [diff_id]}}).encode())
    manifest = blob(json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", **layer}]}).encode())
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", **manifest,
        "annotations": {"org.opencontainers.image.ref.name": "v1"}}]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def test_when_the_server_behind_it_dies_it_ends_so_that_it_is_restarted(registry):
    _, process = registry
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    assert process.wait(timeout=10) == 1
