"""The tools that judge the sources and the benchmarks: each finds what it is for, and leaves the rest alone."""

import importlib.machinery
import importlib.util
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
sys.path.insert(0, str(ROOT / "bench"))

from checks import docs, style  # noqa: E402


def program(path):
    """A program without a suffix, as a module."""
    loader = importlib.machinery.SourceFileLoader(path.replace("/", "_"), str(ROOT / path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("source", [
    "void f(int a, bool b);",
    "void f(const bool b = false);",
    "Task<> run(std::map<std::string, int> all,\n           bool verbose) {",
    "explicit Thing(bool b) : b_(b) {}",
    "void f(int a, int b, int c, int d, int e);",
    "void f(std::string_view a, const std::map<int, int>& b, T* c, std::function<void(int)> d, unsigned e = 3) {",
])
def test_a_parameter_list_that_a_call_does_not_explain_is_found(source):
    assert len(list(style.problems_in(source))) == 1, source


@pytest.mark.parametrize("source", [
    "void f(int a, int b, int c, int d);",
    "bool f(Mode mode);",
    "f(a, b, c, d, e, f);",
    "auto x = call(first * second, 2, third, 4, 5);",
    "return f(true, g(bool{x}));",
    "// void f(bool b);",
    'auto text = "void f(bool b);";',
    "struct S { bool b = false; };",
    "void f(std::function<void(bool)> told);",
    "void kv(std::string_view key, bool value);  // NOLINT(parameters): the value itself",
    "if (bool ok = f()) return;",
])
def test_other_code_is_left_alone(source):
    assert list(style.problems_in(source)) == [], source


@pytest.mark.parametrize("line, problem", [
    ("deis config:sett A=b", "there is no `deis config:sett`"),
    ("$ deis apps:list --limits=3", "`deis apps:list` has no option --limits"),
    ("build/bin/workflow upp", "there is no `workflow upp`"),
    ("workflow up --stat DIR", "`workflow up` has no option --stat"),
    ("src/cli/no_such_file.cpp", "src/cli/no_such_file.cpp does not exist"),
    ("NO_SUCH_" + "THING", "no program knows the variable NO_SUCH_" + "THING"),
    ("cmake --preset releese", "there is no preset releese"),
])
def test_a_name_in_a_document_that_does_not_exist_is_found(line, problem):
    assert list(docs.problems_of_line(docs.Facts(ROOT), line, may_be_gone=False)) == [problem]


def test_names_in_documents_that_exist_are_left_alone():
    facts = docs.Facts(ROOT)
    for line in ("git push deis master", "deis run -- ls --no-such-option", "deis scale web=3", "workflow down", "deis config",
                 "deis perms:list --admin --limit=3", "workflow up --state DIR --domain example.com", "DEIS_DEPLOY_TIMEOUT=30"):
        assert list(docs.problems_of_line(facts, line, may_be_gone=False)) == [], line


def test_a_leak_is_told_from_noise_and_from_a_cache_that_fills():
    grows = program("bench/idle").grows
    assert grows("pss", [20 + i * 0.1 for i in range(31)])
    assert grows("zombies", [0, 0, 1, 1, 2, 2, 3])
    assert not grows("pss", [20.0, 20.2, 20.1, 20.3, 20.0, 20.2, 20.1, 20.2])
    assert not grows("pss", [20.0] * 5 + [30.0] * 26)
    assert not grows("files", [10, 12] * 15)
    assert not grows("pss", [20, 20, 20, 90, 20, 20])


def test_a_long_step_says_how_far_it_is_also_into_a_pipe(tmp_path):
    # The step ends only once somebody behind a pipe has read how far it is.
    script = f""". tools/steps.sh
work() {{ echo "[1/3] step"; until [ -e {tmp_path}/seen ]; do sleep 0.1; done; echo "[3/3] step"; return 7; }}
{{ with_progress {tmp_path}/log work; echo "status $?"; }} |
  while read -r line; do echo "$line"; [[ $line != *step* ]] || touch {tmp_path}/seen; done"""
    shown = subprocess.run(["bash", "-c", script], cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True, timeout=120).stdout.splitlines()
    assert "[1/3] step" in shown and shown[-1] == "status 7"
