"""The forms in which lists and watches answer: objects, tables and metadata, as JSON and as YAML, in every version of a kind."""

import json
import pathlib
import sys

import pytest
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from engine_under_test import Engine  # noqa: E402

MAPS = "/api/v1/namespaces/default/configmaps"
SCALERS = "/apis/autoscaling/{}/namespaces/default/horizontalpodautoscalers"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
METADATA_OF_ONE = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    engine = Engine(tmp_path_factory.mktemp("engine"))
    for number in range(5):
        body = {"metadata": {"name": f"map-{number}", "labels": {"odd": str(number % 2)}}, "data": {"text": "ünïcode: \"x\"\n- y"}}
        assert engine.api.send("POST", MAPS, body)[0] == 201
    scaler = {"metadata": {"name": "web"}, "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "minReplicas": 1, "maxReplicas": 3,
        "metrics": [{"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 50}}}]}}
    assert engine.api.send("POST", SCALERS.format("v2"), scaler)[0] == 201
    yield engine
    engine.kill()


def ask(engine, path, accept):
    """Content type and text."""
    connection = engine.api.connect()
    try:
        connection.request("GET", path, headers={"Accept": accept})
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.status == 200, text
        return answer.headers["Content-Type"], text
    finally:
        connection.close()


def test_a_list_as_yaml_says_what_it_says_as_json(engine):
    kind, text = ask(engine, MAPS + "?labelSelector=odd%3D1", "application/yaml")
    assert kind.startswith("application/yaml")
    # As text, without guesses: a time stays a text.
    assert yaml.load(text, yaml.BaseLoader)["items"][0]["data"]["text"] == "ünïcode: \"x\"\n- y"
    kind, plain = ask(engine, MAPS + "?labelSelector=odd%3D1", "application/json")
    assert kind.startswith("application/json")
    names = lambda items: [item["metadata"]["name"] for item in items]
    assert names(yaml.load(text, yaml.BaseLoader)["items"]) == names(json.loads(plain)["items"]) == ["map-1", "map-3"]


def test_metadata_alone_is_that_of_the_objects(engine):
    whole = json.loads(ask(engine, MAPS + "?labelSelector=odd&limit=3", "application/json")[1])
    part = json.loads(ask(engine, MAPS + "?labelSelector=odd&limit=3", METADATA)[1])
    assert (part["kind"], part["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
    assert part["metadata"]["remainingItemCount"] == 2
    assert part["items"] == [{"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}
                             for item in whole["items"]]
    rest = json.loads(ask(engine, f"{MAPS}?labelSelector=odd&limit=3&continue={part['metadata']['continue']}", METADATA)[1])
    assert [item["metadata"]["name"] for item in rest["items"]] == ["map-3", "map-4"]
    assert "continue" not in rest["metadata"]


def test_a_table_has_the_rows_of_the_list(engine):
    table = json.loads(ask(engine, MAPS, TABLE)[1])
    assert table["kind"] == "Table"
    assert [row["cells"][0] for row in table["rows"]] == ["kube-root-ca.crt"] * (len(table["rows"]) - 5) + [f"map-{n}" for n in range(5)]
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_every_version_shows_its_own_form(engine, version):
    one = json.loads(ask(engine, SCALERS.format(version) + "/web", "application/json")[1])
    whole = json.loads(ask(engine, SCALERS.format(version), "application/json")[1])["items"][0]
    assert one["metadata"] == whole["metadata"] and whole["spec"] == one["spec"]
    assert ("metrics" in whole["spec"]) == (version == "v2")
    part = json.loads(ask(engine, SCALERS.format(version), METADATA)[1])["items"][0]
    assert part["metadata"] == whole["metadata"]
    table = json.loads(ask(engine, SCALERS.format(version), TABLE)[1])
    assert table["rows"][0]["cells"][0] == "web"
    assert table["rows"][0]["object"]["metadata"] == whole["metadata"]


def test_a_watch_tells_metadata_alone(engine):
    connection = engine.api.connect()
    try:
        connection.request("GET", MAPS + "?watch=true&timeoutSeconds=1&labelSelector=odd", headers={"Accept": METADATA_OF_ONE})
        events = [json.loads(line) for line in connection.getresponse()]
    finally:
        connection.close()
    assert [event["object"]["metadata"]["name"] for event in events] == [f"map-{n}" for n in range(5)]
    assert all(event["object"]["kind"] == "PartialObjectMetadata" and "data" not in event["object"] for event in events)
