"""examples/<language>: each is built in the stack image from its language's own registry, served, changed, and built again, with what
its cache holds."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from objectstore_under_test import store  # noqa: E402, F401
from stack_under_test import App, Stack  # noqa: E402
from workflow_testing import ROOT, wait_for  # noqa: E402

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def stack():
    stack = Stack()
    yield stack
    stack.close()


@pytest.fixture
def make(stack, store):
    made = []

    def make(example, folder=EXAMPLES):
        app = App(stack, store, example, folder / example)
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()))
def test_an_example_is_built_served_changed_and_built_again_with_its_cache(make, example):
    app = make(example)
    first = app.deploy()
    app.serves("Hello from")
    app.change("Hello from", "Changed: hello from")
    second = app.deploy()
    assert "Fetching" not in second, second  # what the language needs came with the cache
    assert "Fetching" in first or example in ("node", "python", "static"), first
    app.serves("Changed: hello from")


@pytest.mark.parametrize("sample", ["yarn", "poetry", "pipenv"])
def test_other_package_managers_of_a_language(make, sample):
    app = make(sample, ROOT / "tests" / "apps")
    app.deploy()
    app.serves("Hello from")


def test_a_slug_whose_bytes_are_not_those_that_were_built_does_not_start(make):
    app = make("static")
    app.deploy()
    app.store.client().put_object(Bucket="builder", Key=f"home/{app.name}/slug.tgz", Body=app.slug + b"\0")
    with app.running() as get:
        wait_for(lambda: "the slug in the object store is not the one that was built" in get.said(), 60, "the refusal")


ASKS = {
    "node": ("package.json", '"node": "22.x"', '"node": "99.x"', "There is no Node.js that satisfies"),
    "go": ("go.mod", "go 1.24", "go 1.99", "go.mod asks for Go 1.99, which cannot be had"),
    "python": (".python-version", "3.11", "2.7", "asks for Python 2.7, which cannot be had here. This stack has: 3.11"),
    "java": ("system.properties", "17", "99", "asks for Java 99, which cannot be had here. There is: 17"),
    "rust": ("rust-toolchain.toml", "stable", "1.2.3", "asks for Rust 1.2.3, which cannot be had here. There is: "),
    "ruby": (".ruby-version", "3.1", "9.9", "asks for Ruby ~> 9.9.0, which cannot be had here. There is: 3.1"),
}


@pytest.mark.parametrize("example", [name for name in ASKS if (EXAMPLES / name).exists()])
def test_a_version_that_cannot_be_had_is_told_with_those_that_can(make, example):
    app = make(example)
    file, before, after, told = ASKS[example]
    text = (app.tree / file).read_text()
    assert before in text
    (app.tree / file).write_text(text.replace(before, after))
    status, output = app.push()
    assert status == 1 and told in output, output
