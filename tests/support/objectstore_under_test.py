"""The real object store on a folder of its own."""

import os
import pathlib
import signal
import subprocess
import urllib.request

import boto3
import botocore.config
import pytest

from workflow_testing import WORKFLOW, free_port, wait_for

ACCESS, SECRET = "test-access", "test-secret/with+odd=characters"


class ObjectStore:
    """A server on a folder of its own; it can be killed and started again on the same folder and port."""

    def __init__(self, folder, data=None, prefix=(), **settings):
        self.prefix = list(prefix)  # of its command line
        self.folder = pathlib.Path(folder)
        self.data = pathlib.Path(data) if data else self.folder / "objects"
        self.log = self.folder / "log"
        self.port = free_port()
        (self.folder / "access").write_text(ACCESS + "\n")
        (self.folder / "secret").write_text(SECRET + "\n")
        self.environment = {
            "PATH": os.environ["PATH"],
            "OBJECTSTORE_DIR": str(self.data),
            "OBJECTSTORE_PORT": str(self.port),
            "OBJECTSTORE_BUCKETS": "builder",
            "S3_ACCESS_KEY_FILE": str(self.folder / "access"),
            "S3_SECRET_KEY_FILE": str(self.folder / "secret"),
            **settings,
        }
        self.process = None
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*self.prefix, WORKFLOW, "objectstore"], env=self.environment, stdout=log, stderr=log)
        wait_for(self.ready, what="the object store answers", limit=30)

    def ready(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            return urllib.request.urlopen(self.url + "/readiness", timeout=2).status == 200
        except OSError:
            return False

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout=20)

    def client(self, access=ACCESS, secret=SECRET, **config):
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            region_name="us-east-1",
            config=botocore.config.Config(
                retries={"max_attempts": 1}, s3={"addressing_style": "path"}, signature_version="s3v4", **config
            ),
        )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One store for the tests of a file that imports this."""
    server = ObjectStore(tmp_path_factory.mktemp("objectstore"))
    yield server
    assert server.stop() == 0, server.log.read_text()
