"""The buildpacks of the stack image, run as a build runs them, with the machine's own node, pip and nginx."""

import http.client
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from workflow_testing import ROOT, free_port, wait_for  # noqa: E402

BUILDPACKS = ROOT / "buildpacks"


class App:
    """A tree that is built again and again: what outlives a build is the cache folder."""

    def __init__(self, folder, pack):
        self.folder, self.pack = folder, BUILDPACKS / pack
        self.tree, self.cache, self.env = folder / "tree", folder / "cache", folder / "env"
        for path in (self.cache, self.env):
            path.mkdir()

    def build(self, files, status=0, **env):
        """A new tree each time, as each push unpacks one."""
        shutil.rmtree(self.tree, ignore_errors=True)
        for name, text in files.items():
            target = self.tree / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text if isinstance(text, bytes) else text.encode() if isinstance(text, str) else json.dumps(text).encode())
        done = subprocess.run([self.pack / "bin/compile", self.tree, self.cache, self.env], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, cwd=self.tree, env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **env})
        assert done.returncode == status, done.stdout
        return done.stdout


def needs(*programs):
    for program in programs:
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin"):
            pytest.skip(f"{program} is not installed")


@pytest.fixture
def node(tmp_path):
    needs("node", "npm")
    return App(tmp_path, "02-nodejs")


PACKAGE = {"name": "app", "version": "1.0.0", "private": True, "scripts": {"postinstall": "node make.js"}}


def test_npm_runs_at_every_build_with_all_that_its_scripts_do(node):
    for words in ("first", "second"):
        node.build({"package.json": PACKAGE, "make.js": f"require('fs').writeFileSync('made', '{words}')"})
        assert (node.tree / "made").read_text() == words


def test_nothing_of_an_earlier_build_survives_but_the_package_managers_cache(node):
    (node.cache / "node_modules").mkdir()  # as earlier versions kept it
    (node.cache / "node_modules" / "old.js").touch()
    node.build({"package.json": PACKAGE, "make.js": "require('fs').mkdirSync('node_modules', {recursive: true})"})
    assert not (node.tree / "node_modules" / "old.js").exists()
    assert {path.name for path in node.cache.iterdir()} <= {"npm"}


@pytest.mark.parametrize("lock", ["yarn.lock", "pnpm-lock.yaml"])
def test_a_lock_file_that_is_not_read_is_told(node, lock):
    package = {"name": "app", "version": "1.0.0"}
    locked = {"name": "app", "version": "1.0.0", "lockfileVersion": 3, "packages": {"": package}}
    said = node.build({"package.json": package, lock: "", "package-lock.json": locked})
    assert f"{lock} is not read: npm installs what npm's own lock file says." in said


def test_engines_that_this_stack_satisfies_fetch_nothing(node):
    major = int(subprocess.run(["node", "-p", "process.versions.node.split('.')[0]"], text=True, stdout=subprocess.PIPE).stdout)
    for wanted in (f">={major - 2}", f"{major - 2} - {major + 2}", f"{major}", f"{major}.x"):
        output = node.build({"package.json": {"name": "app", "version": "1.0.0", "engines": {"node": wanted}}})
        assert "Fetching" not in output, (wanted, output)


@pytest.mark.parametrize("manager", ["bun@1.0.0", "yarn"])
def test_a_package_manager_that_is_unknown_is_refused(node, manager):
    refused = node.build({"package.json": {"name": "app", "version": "1.0.0", "packageManager": manager}}, status=1)
    assert f'packageManager "{manager}" is none of npm, yarn and pnpm' in refused


def test_engines_that_are_no_versions_are_refused(node):
    refused = node.build({"package.json": {"name": "app", "version": "1.0.0", "engines": {"node": "soon"}}}, status=1)
    assert 'engines: "node soon" is no range of versions' in refused


def wheel(words):
    """A package of the same name and version, whatever it holds."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("own.py", f"WORDS = '{words}'\n")
        file.writestr("own-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: own\nVersion: 1.0\n")
        file.writestr("own-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("own-1.0.dist-info/RECORD", "own.py,,\nown-1.0.dist-info/METADATA,,\nown-1.0.dist-info/WHEEL,,\nown-1.0.dist-info/RECORD,,\n")
    return out.getvalue()


def test_a_python_package_in_the_repository_is_that_of_this_push(tmp_path):
    needs("python3")
    app = App(tmp_path, "03-python")
    for words in ("first", "second"):
        app.build({"requirements.txt": "./own-1.0-py3-none-any.whl\n", "own-1.0-py3-none-any.whl": wheel(words)}, PIP_NO_INDEX="1")
        assert words in (app.tree / ".python/site-packages/own.py").read_text()


def test_a_static_site_serves_well_known_and_no_other_dot_file(tmp_path):
    needs("nginx")
    app = App(tmp_path, "09-static")
    shown = {"index.html": "hello", ".well-known/security.txt": "Contact: me", ".well-known/acme-challenge/token": "answer",
             "deep/page.html": "deep"}
    hidden = {".env": "SECRET=1", "deep/.env": "SECRET=2", ".well-known/.secret": "x", "deep/.well-known/x": "x", ".git/config": "x",
              "Procfile": "web: x\n", "static.json": "{}"}
    app.build({**shown, **hidden}, PATH=os.environ["PATH"] + ":/usr/sbin")
    port = free_port()
    config = tmp_path / "nginx.conf"
    text = (app.tree / ".workflow/nginx.conf.in").read_text().replace("/tmp/", f"{tmp_path}/")
    text = "user root;\n" + text.replace("@PORT@", f"127.0.0.1:{port}").replace("root /app/", f"root {app.tree}/")
    config.write_text(text)
    nginx = subprocess.Popen([shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin"), "-c", config], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)

    def get(path):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except ConnectionRefusedError:
            return None
        finally:
            connection.close()

    try:
        wait_for(lambda: get("/"), 10, "nginx listens")
        for path, content in shown.items():
            assert get(f"/{path}") == (200, content), path
        for path in [*hidden, "deep/../.env", "%2eenv", ".well-known", "x/../deep/.env"]:
            assert get(f"/{path}")[0] == 404, path
    finally:
        nginx.terminate()
        nginx.wait(timeout=10)
