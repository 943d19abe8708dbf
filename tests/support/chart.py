"""The chart, rendered with Helm's own engine, and the example values that its documentation gives."""

import functools
import re
import subprocess

import yaml

from kubernetes_clients import TOOLS, one_at_a_time
from workflow_testing import ROOT

CHART = ROOT / "charts" / "workflow"
PAGE = ROOT / "docs" / "kubernetes.md"


@functools.cache
@one_at_a_time
def helm_template():
    program = TOOLS / "helm-template"
    subprocess.run(["go", "build", "-o", program, "."], cwd=ROOT / "tests/support/helm-template", check=True, timeout=900)
    return program


def try_to_render(*values, options=()):
    """The finished process of a rendering with files of values, of which later ones win."""
    return subprocess.run([helm_template(), *options, "charts/workflow", "workflow", "deis", *values], cwd=ROOT, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)


def render(*values, options=()):
    done = try_to_render(*values, options=options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(text):
    return {(o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(text) if o}


def documented_examples():
    """{title: values} of every YAML block of docs/kubernetes.md; a second one under a heading is `title, 2`."""
    found, title = {}, ""
    for heading, block in re.findall(r"^### ([^\n]+)$|^```yaml\n(.*?)^```$", PAGE.read_text(), re.M | re.S):
        if heading:
            title = heading
            continue
        name, count = title, 1
        while name in found:
            count += 1
            name = f"{title}, {count}"
        found[name] = block
    return found
