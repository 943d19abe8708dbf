"""Schemathesis makes requests up from the description and compares every answer with it: no 500, no status and no body that it
does not name. CONTROLLER_SCHEMA_CASES says how many cases per operation."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from controller_under_test import BUILDER_KEY, cluster, postgres, start_controller  # noqa: E402, F401
from workflow_testing import ROOT, run  # noqa: E402

CASES = os.environ.get("CONTROLLER_SCHEMA_CASES", "3")
VENV = ROOT / "build" / "venv"
PROGRAM = VENV / "bin" / "schemathesis"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
# They would take the session's own token away, or the app.
LAST = ["cancel", "regenerateTokens", "setPassword", "destroyApp", "transferApp"]
# A stream has no end; one-off commands need a node that runs them.
ELSEWHERE = ["streamEvents", "run"]


@pytest.fixture(scope="module")
def schemathesis():
    if not PROGRAM.exists():
        run("/usr/bin/python3", "-m", "venv", VENV)
        installed = run(VENV / "bin" / "pip", "install", "-q", "schemathesis==4.32.5", check=False, timeout=300)
        if installed.returncode != 0:
            pytest.skip("schemathesis cannot be installed: the Python package index is not reachable")
    return PROGRAM


@pytest.fixture(scope="module")
def controller(start_controller, cluster):  # noqa: F811
    return start_controller(cluster.kubeconfig, DEIS_DEPLOY_TIMEOUT="2", LOGIN_FAILURES="0")


@pytest.fixture(scope="module")
def admin(controller):
    admin = controller.register("admin")
    controller.register("other")
    return admin


@pytest.fixture
def app(admin, cluster):  # noqa: F811
    name = admin.create_app()
    admin.post(f"/v2/apps/{name}/config/", {"values": {"PORT": "5000"}})
    assert admin.post(f"/v2/apps/{name}/builds/", {"image": cluster.image, "procfile": {"web": "serve"}}).status_code == 201
    yield name
    admin.delete(f"/v2/apps/{name}/")


def explore(schemathesis, controller, admin, app, folder, *which):
    (folder / "schemathesis.toml").write_text(f"""[parameters]
"path.app" = "{app}"
""")
    command = [schemathesis, "--config-file", folder / "schemathesis.toml", "run", controller.url + "/v2/openapi.json", "--checks", CHECKS,
               "-n", CASES, "--phases", "examples,coverage,fuzzing", "--workers", "1", "--max-failures", "20", "--warnings", "off",
               "--request-timeout", "60", "-H", f"Authorization: token {admin.token}", "--generation-database", "none",
               "--suppress-health-check", "all", *which]
    done = subprocess.run([str(c) for c in command], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=3000)
    assert done.returncode == 0, done.stdout[-12000:] + controller.output()[-3000:]
    cases = int(re.search(r"(\d+) generated", done.stdout)[1])
    print(f"{cases} cases")
    return cases


def test_every_answer_is_as_described(schemathesis, controller, admin, app, tmp_path):
    others = [option for name in LAST + ELSEWHERE for option in ("--exclude-operation-id", name)]
    cases = explore(schemathesis, controller, admin, app, tmp_path, "--exclude-path-regex", "^/v2/hooks/", *others)
    assert cases > 100
    assert controller.process.poll() is None


def test_so_are_those_of_the_builders_hooks(schemathesis, controller, admin, app, tmp_path):
    builder = type("Builder", (), {"token": ""})
    explore(schemathesis, controller, builder, app, tmp_path, "--include-path-regex", "^/v2/hooks/", "-H", f"X-Deis-Builder-Auth: {BUILDER_KEY}",
            "-H", "Authorization: none")


def test_so_are_those_of_what_ends_the_session(schemathesis, controller, admin, app, tmp_path):
    which = [option for name in LAST for option in ("--include-operation-id", name)]
    explore(schemathesis, controller, controller.login("admin"), app, tmp_path, *which)
