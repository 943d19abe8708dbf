"""The stack image as a build and an app meet it: the real slugbuilder and slugrunner in the image's own root, as its user, with the
real object store between them."""

import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tarfile

import pytest

from workflow_testing import BIN, ROOT, free_port, open_folder, wait_for

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
SLUG_USER = 2000
# What a build needs to find its registries on this machine, where there is something special about them.
SETTINGS = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "NPM_CONFIG_REGISTRY", "GOPROXY",
            "GOSUMDB", "DEBIAN_MIRROR", "DEBIAN_SECURITY_MIRROR", "MAVEN_MIRROR", "PIP_DEFAULT_TIMEOUT"]

# In mounts of its own, of which nothing is left when it ends; then in the stack's root as its user.
ENTER = """
set -e
root=$1; home=$2; tmp=$3; shift 3
mount --bind "$tmp" "$root/tmp"
mkdir -p "$root/tmp/buildpacks"
mount --bind "$BUILDPACKS" "$root/tmp/buildpacks"
mount --bind "$home" "$root/app"
mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
mount --bind "$CERTIFICATES" "$root$CERTIFICATES"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
exec chroot --userspec=2000:2000 "$root" /usr/bin/env -i -C /app "$@"
"""


def stack_root():
    """The image's files; WORKFLOW_STACK_ROOT names a folder that has them already."""
    ready = os.environ.get("WORKFLOW_STACK_ROOT")
    if ready:
        return pathlib.Path(ready)
    image = pathlib.Path(os.environ.get("WORKFLOW_IMAGES", ROOT / "build" / "images")) / "stack.tar"
    if not image.exists():
        pytest.skip("there is no stack image: tools/images/build")
    root = open_folder("workflow-stack-")
    with tarfile.open(image) as tar:
        def blob(digest):
            return tar.extractfile("blobs/" + digest.replace(":", "/"))

        index = json.load(tar.extractfile("index.json"))
        manifest = json.load(blob(index["manifests"][0]["digest"]))
        for layer in manifest["layers"]:
            subprocess.run(["tar", "-x", "-C", root], stdin=blob_file(image, layer["digest"]), check=True)
    return root


def blob_file(image, digest):
    """A pipe with the blob's bytes: it may be larger than memory should hold."""
    return subprocess.Popen(["tar", "-xOf", image, "blobs/" + digest.replace(":", "/")], stdout=subprocess.PIPE).stdout


class Stack:
    def __init__(self):
        if os.geteuid() != 0:
            pytest.skip("entering the stack's root needs root")
        self.made = not os.environ.get("WORKFLOW_STACK_ROOT")
        self.root = stack_root()
        for folder in ("runner", "builder", "app", "tmp"):
            (self.root / folder).mkdir(exist_ok=True)
        for file in ("etc/resolv.conf", CERTIFICATES[1:]):
            (self.root / file).touch()
        shutil.copy(BIN / "slugrunner", self.root / "runner" / "init")
        shutil.copy(BIN / "slugbuilder", self.root / "builder" / "build")

    def enter(self, home, tmp, env, *argv, **options):
        settings = [f"{name}={value}" for name, value in {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8", **env}.items()]
        outer = dict(os.environ, BUILDPACKS=str(ROOT / "buildpacks"), CERTIFICATES=CERTIFICATES)
        return subprocess.Popen(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "sh", "-c", ENTER, "sh",
                                 self.root, home, tmp, *settings, *argv], env=outer, stdin=subprocess.DEVNULL, **options)

    def close(self):
        if self.made:
            shutil.rmtree(self.root)


class App:
    """An app that is pushed again and again: what outlives a build is its cache in the object store."""

    def __init__(self, stack, store, name, source):
        self.stack, self.store, self.name = stack, store, name
        self.folder = open_folder("workflow-app-")
        self.tree = pathlib.Path(shutil.copytree(source, self.folder / "tree", symlinks=True))
        self.config = {}
        self.build_env = {}  # of the build's pod
        self.slug = None

    def url(self, method, what):
        return self.store.client().generate_presigned_url(f"{method}_object", Params={"Bucket": "builder", "Key": f"home/{self.name}/{what}"})

    def own_folder(self, name):
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        os.chown(folder, SLUG_USER, SLUG_USER)
        return folder

    def push(self, limit=900):
        """Builds the tree; returns the build's words and its status."""
        client = self.store.client()
        packed = self.folder / "source.tar"
        subprocess.run(["tar", "-cf", packed, "-C", self.tree, "."], check=True)
        client.upload_file(str(packed), "builder", f"home/{self.name}/tar")
        home, tmp = self.own_folder("home"), self.own_folder("tmp")
        env_folder = tmp / "env"
        env_folder.mkdir()
        for key, value in self.config.items():
            (env_folder / key).write_text(value)
        env = {name: os.environ[name] for name in SETTINGS if name in os.environ}
        env |= {name: CERTIFICATES for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE")}
        env |= {"TAR_URL": self.url("get", "tar"), "SLUG_PUT_URL": self.url("put", "slug.tgz"), "PROCFILE_PUT_URL": self.url("put", "Procfile"),
                "DIGEST_PUT_URL": self.url("put", "slug.sha256"), "CACHE_GET_URL": self.url("get", "cache.tgz"),
                "CACHE_PUT_URL": self.url("put", "cache.tgz"), "SOURCE_VERSION": "0123456789", **self.build_env}
        words = self.folder / "words"
        with words.open("wb") as out:
            process = self.stack.enter(home, tmp, env, "/builder/build", stdout=out, stderr=subprocess.STDOUT)
            try:
                status = process.wait(limit)
            finally:
                process.kill()
        output = words.read_text(errors="replace")
        if status == 0:
            self.slug = client.get_object(Bucket="builder", Key=f"home/{self.name}/slug.tgz")["Body"].read()
            assert client.get_object(Bucket="builder", Key=f"home/{self.name}/slug.sha256")["Body"].read().decode() == \
                hashlib.sha256(self.slug).hexdigest()
        return status, output

    def deploy(self):
        status, output = self.push()
        assert status == 0, output
        return output

    def process_types(self):
        text = self.store.client().get_object(Bucket="builder", Key=f"home/{self.name}/Procfile")["Body"].read().decode()
        return [line.split(":")[0] for line in text.splitlines()]

    @contextlib.contextmanager
    def running(self, kind="web"):
        """The process type as its container would run it: yields a function that gets a path of its page."""
        port = free_port()
        home, tmp = self.own_folder("home"), self.own_folder("tmp")
        env = {"PORT": str(port), "HOME": "/app", "SLUG_URL": self.url("get", "slug.tgz") + "#sha256=" + hashlib.sha256(self.slug).hexdigest()}
        words = self.folder / "run"
        words.touch()
        os.chown(words, SLUG_USER, SLUG_USER)  # nginx opens /dev/stderr anew
        with words.open("wb") as out:
            process = self.stack.enter(home, tmp, env, "/runner/init", "start", kind, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)

        def get(path="/"):
            assert process.poll() is None, f"the app ended:\n{words.read_text(errors='replace')}"
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                return answer.status, answer.read().decode(errors="replace")
            except OSError:
                return None
            finally:
                connection.close()

        def said():
            return words.read_text(errors="replace")

        get.said = said
        try:
            yield get
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)

    def serves(self, text, path="/", limit=120):
        with self.running() as get:
            wait_for(get, limit, f"{self.name} answers")
            status, body = get(path)
            assert status == 200 and text in body, (status, body, get.said())

    def change(self, before, after):
        changed = 0
        for path in self.tree.rglob("*"):
            if path.is_file() and not path.is_symlink() and before in path.read_text(errors="ignore"):
                path.write_text(path.read_text().replace(before, after))
                changed += 1
        assert changed, f"nothing of {self.name} says {before!r}"

    def close(self):
        shutil.rmtree(self.folder)


__all__ = ["App", "Stack"]
