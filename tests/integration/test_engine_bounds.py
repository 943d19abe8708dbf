"""What the engine keeps, refuses and lets others see, whatever it is sent."""

import json
import pathlib
import re
import stat
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from engine_under_test import Engine  # noqa: E402

MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MIB = 1 << 20


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    engine = Engine(tmp_path_factory.mktemp("engine"))
    yield engine
    engine.kill()


def held_bytes(engine):
    """What the engine's process holds for itself."""
    text = pathlib.Path(f"/proc/{engine.process.pid}/smaps_rollup").read_text()
    return int(re.search(r"Private_Dirty:\s+(\d+)", text)[1]) * 1024


def large_map(name, number):
    return {"metadata": {"name": name}, "data": {"text": f"{number:09}" + "x" * 900_000}}


def test_history_is_bounded_in_bytes(engine):
    assert engine.api.send("POST", MAPS, large_map("history", 0))[0] == 201
    before = held_bytes(engine)
    for number in range(100):
        assert engine.api.send("PUT", MAPS + "/history", large_map("history", number))[0] == 200
    assert held_bytes(engine) - before < 40 * MIB
    engine.api.send("DELETE", MAPS + "/history")


def test_a_watcher_that_does_not_read_is_let_go_and_can_list_anew(engine):
    # The kernel takes some megabytes for it; what is beyond that must not wait in the engine.
    connection = engine.api.connect(60)
    version = engine.api.get(MAPS)["metadata"]["resourceVersion"]
    connection.request("GET", f"{MAPS}?watch=1&resourceVersion={version}")
    answer = connection.getresponse()
    assert engine.api.send("POST", MAPS, large_map("slow", 0))[0] == 201
    before = held_bytes(engine)
    for number in range(100):
        assert engine.api.send("PUT", MAPS + "/slow", large_map("slow", number))[0] == 200
    assert held_bytes(engine) - before < 60 * MIB
    seen = [json.loads(line)["object"] for line in answer]  # to its end, which the engine makes
    assert 0 < len(seen) < 100
    connection.close()
    # Where it was is forgotten, and it is told so; the list has what it missed.
    path = f"{MAPS}?watch=1&timeoutSeconds=1&resourceVersion={seen[-1]['metadata']['resourceVersion']}"
    status, refusal = engine.api.send("GET", path)
    assert (status, refusal["reason"]) == (410, "Expired")
    assert engine.api.get(MAPS + "/slow")["data"]["text"].startswith("000000099")
    engine.api.send("DELETE", MAPS + "/slow")


def deployment(name, variables, value="v"):
    env = [{"name": f"VARIABLE_{n}", "value": value} for n in range(variables)]
    container = {"name": "web", "image": "example.com/web", "env": env}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": 0, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}}}


def test_keyed_lists_of_tens_of_thousands_are_written_in_every_way(engine):
    """Were any part of it a walk for each element, one of these would take minutes."""
    path, many = DEPLOYMENTS + "/large", 24_000
    variables = lambda answer: answer["spec"]["template"]["spec"]["containers"][0]["env"]
    status, made = engine.api.send("POST", DEPLOYMENTS, deployment("large", many))
    assert status == 201, made
    status, put = engine.api.send("PUT", path, deployment("large", many, "w"))
    assert status == 200, put
    assert variables(put)[-1] == {"name": f"VARIABLE_{many - 1}", "value": "w"}
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", "env": [
        {"name": f"VARIABLE_{n}", "value": "x"} for n in range(0, many, 2)]}]}}}}
    status, patched = engine.api.send("PATCH", path, patch, "application/strategic-merge-patch+json")
    assert status == 200, patched
    assert [v["value"] for v in variables(patched)[:4]] == ["x", "w", "x", "w"]
    status, applied = engine.api.send("PATCH", path + "?fieldManager=helm&force=true", deployment("large", many, "y"),
                                      "application/apply-patch+yaml")
    assert status == 200, applied
    assert {v["value"] for v in variables(applied)} == {"y"} and len(variables(applied)) == many
    engine.api.send("DELETE", path)


def test_changes_of_a_large_object_that_race_are_all_kept(engine):
    """A large object is worked on beside the loop: another change may come first, and neither is lost."""
    assert engine.api.send("POST", DEPLOYMENTS, deployment("raced", 4_000))[0] == 201
    answers = []

    def annotate(number):
        patch = {"metadata": {"annotations": {f"n{number}": "yes"}}}
        answers.append(engine.api.send("PATCH", DEPLOYMENTS + "/raced", patch, "application/merge-patch+json")[0])

    threads = [threading.Thread(target=annotate, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    annotations = engine.api.get(DEPLOYMENTS + "/raced")["metadata"].get("annotations", {})
    assert answers == [200] * 4
    assert {f"n{n}" for n in range(4)} <= set(annotations)
    engine.api.send("DELETE", DEPLOYMENTS + "/raced")


def test_a_long_list_comes_whole_in_every_form(engine):
    for number in range(40):
        body = {"metadata": {"name": f"long-{number:02}", "labels": {"long": "yes"}}, "data": {"text": "y" * 30_000}}
        assert engine.api.send("POST", MAPS, body)[0] == 201
    names = [f"long-{number:02}" for number in range(40)]
    path = MAPS + "?labelSelector=long"
    assert [item["metadata"]["name"] for item in engine.api.get(path)["items"]] == names
    table = engine.api.send("GET", path + "&includeObject=Object", headers={
        "Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})[1]
    assert [row["cells"][0] for row in table["rows"]] == names
    assert [row["object"]["metadata"]["name"] for row in table["rows"]] == names
    text = engine.api.send("GET", path, headers={"Accept": "application/yaml"})[1]
    assert [line.split()[-1] for line in text.splitlines() if line.strip().startswith("name: long-")] == names
    status, gone = engine.api.send("DELETE", path)
    assert status == 200
    assert [item["metadata"]["name"] for item in gone["items"]] == names
    assert engine.api.get(path)["items"] == []


def test_all_faults_of_a_body_are_named_in_one_answer(engine):
    body = '{"metadata": {"name": "faults", "nmae": "x"}, "data": {"a": "1", "a": "2"}, "dtaa": {}}'
    status, refusal = engine.api.send("POST", MAPS + "?fieldValidation=Strict", body)
    assert status == 400
    for fault in ('unknown field "metadata.nmae"', 'unknown field "dtaa"', 'duplicate field "data.a"'):
        assert fault in refusal["message"]
    # However long the names and however many.
    names = ", ".join(f'"{"n" * 100_000}{i}": {{"inner": 1}}' for i in range(20))
    status, refusal = engine.api.send("POST", MAPS + "?fieldValidation=Strict", '{"metadata": {"name": "faults"}, ' + names + "}")
    assert status == 400 and len(json.dumps(refusal)) < 20_000


# --- who may see and do what

def test_only_its_owner_reads_the_state(engine):
    assert stat.S_IMODE(engine.state.stat().st_mode) == 0o700
    readable = [str(p.relative_to(engine.state)) for p in engine.state.rglob("*")
                if not p.is_dir() and p.stat().st_mode & 0o077 and not p.name.startswith(("test-", "engine.log"))]
    assert [p for p in readable if not p.endswith(".crt")] == []
    assert {"engine.db", "engine.db-wal", "audit", "pki"} <= {p.name for p in engine.state.iterdir()}


@pytest.mark.parametrize("headers, status", [
    ({"Impersonate-User": "ann"}, 403),
    ({"Impersonate-User": "ann", "Impersonate-Group": "system:masters"}, 200),
    ({"Impersonate-User": "ann", "Impersonate-Uid": "7"}, 403),
    ({"Impersonate-Group": "nobodys"}, 400),
    ({"Impersonate-Uid": "7"}, 400),
    ({"Impersonate-User": "", "Impersonate-Group": "nobodys"}, 400),
    ({"Impersonate-User": "ann", "Impersonate-Extra-Scopes": "view"}, 400)])
def test_who_acts_as_another_acts_as_all_of_that_other(engine, headers, status):
    assert engine.api.send("GET", "/api/v1/namespaces/default/secrets", headers=headers)[0] == status


def test_a_pod_has_the_priority_of_its_class(engine):
    pods, classes = "/api/v1/namespaces/default/pods", "/apis/scheduling.k8s.io/v1/priorityclasses"
    pod = lambda **spec: {"metadata": {"generateName": "rank-"}, "spec": {"containers": [{"name": "a", "image": "example.com/a"}], **spec}}
    make = lambda **spec: engine.api.send("POST", pods, pod(**spec))
    assert engine.api.send("POST", classes, {"metadata": {"name": "gold"}, "value": 1000, "preemptionPolicy": "Never"})[0] == 201
    spec = make(priorityClassName="gold")[1]["spec"]
    assert (spec["priority"], spec["preemptionPolicy"]) == (1000, "Never")
    assert make(priorityClassName="system-node-critical")[1]["spec"]["priority"] == 2_000_001_000
    assert make(priorityClassName="system-cluster-critical")[1]["spec"]["priority"] == 2_000_000_000
    spec = make()[1]["spec"]
    assert spec["priority"] == 0 and "priorityClassName" not in spec
    status, refusal = make(priorityClassName="lead")
    assert status == 403 and "no PriorityClass with name lead was found" in refusal["message"]
    assert make(priorityClassName="gold", priority=7)[0] == 403
    assert engine.api.send("POST", classes, {"metadata": {"name": "usual"}, "value": 5, "globalDefault": True})[0] == 201
    spec = make()[1]["spec"]
    assert (spec["priority"], spec["priorityClassName"]) == (5, "usual")
    assert engine.api.send("POST", classes, {"metadata": {"name": "greed"}, "value": 1_000_000_001})[0] == 422
    assert engine.api.send("PATCH", classes + "/gold", {"value": 1}, "application/merge-patch+json")[0] == 422
    assert engine.api.send("POST", classes, {"metadata": {"name": "system-mine"}, "value": 1})[0] == 422
    engine.api.send("DELETE", pods)
    engine.api.send("DELETE", classes + "/usual")
