"""The chart, rendered with Helm's own engine."""

import pathlib
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = ROOT / "build" / "tools" / "helm-template"


@pytest.fixture(scope="session")
def render():
    TOOL.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["go", "build", "-o", TOOL, "."], cwd=ROOT / "tests/support/helm-template", check=True, timeout=900)

    def rendered(*values):
        done = subprocess.run([TOOL, "charts/workflow", "workflow", "deis", *values], cwd=ROOT, text=True,
                              stdout=subprocess.PIPE, check=True, timeout=60)
        return done.stdout

    return rendered


def objects(text):
    return {(o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(text) if o}


def test_the_single_machine_manifest_is_the_charts_rendering(render, tmp_path):
    fresh = tmp_path / "single-machine.yaml"
    subprocess.run([ROOT / "deploy/render", fresh], check=True, timeout=900)
    assert fresh.read_text() == (ROOT / "deploy/single-machine.yaml").read_text(), "run deploy/render and commit"


def test_on_kubernetes_the_chart_makes_the_secrets_too(render):
    machine = objects((ROOT / "deploy/single-machine.yaml").read_text())
    cluster = objects(render())
    secrets = {"database-creds", "builder-key-auth", "django-secret-key", "objectstorage-keyfile", "builder-ssh-private-keys"}
    assert set(cluster) - set(machine) == {("Secret", name) for name in secrets}
    assert set(machine) <= set(cluster)


def test_a_value_reaches_its_place(render, tmp_path):
    values = tmp_path / "values.yaml"
    values.write_text("domain: apps.example.com\nbuilder: {buildEnv: {PIP_INDEX_URL: 'https://x'}}\n"
                      "resources: {router: {limits: {memory: 64Mi}}}\ncontroller: {replicas: 3}\n")
    found = objects(render(values))
    assert found["ConfigMap", "workflow-settings"]["data"]["domain"] == "apps.example.com"
    assert found["Deployment", "deis-controller"]["spec"]["replicas"] == 3
    container = found["Deployment", "deis-builder"]["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "BUILD_ENV_PIP_INDEX_URL", "value": "https://x"} in container["env"]
    router = found["Deployment", "deis-router"]["spec"]["template"]["spec"]["containers"][0]
    assert router["resources"] == {"limits": {"memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "32Mi"}}


def test_the_platform_comes_before_apps_and_builds_come_last(render):
    text = render()
    found = objects(text)
    assert found["PriorityClass", "deis-platform"]["value"] == 1_000_000_000
    assert found["PriorityClass", "deis-builds"]["value"] < 0
    assert text.index("kind: PriorityClass") < text.index("kind: Deployment")
    deployments = [o for (kind, _), o in found.items() if kind == "Deployment"]
    assert len(deployments) == 6
    for deployment in deployments:
        spec = deployment["spec"]["template"]["spec"]
        assert spec["priorityClassName"] == "deis-platform", deployment["metadata"]["name"]
        requests = spec["containers"][0]["resources"]["requests"]
        assert set(requests) == {"cpu", "memory"}, deployment["metadata"]["name"]


def test_app_pods_could_never_read_platform_secrets(render):
    """No ServiceAccount of the platform but the controller's and the router's may read secrets of other namespaces."""
    for (kind, name), o in objects(render()).items():
        if kind == "ClusterRole" and name not in ("deis:deis-controller", "deis:deis-router"):
            assert all("secrets" not in rule.get("resources", []) for rule in o["rules"]), name
