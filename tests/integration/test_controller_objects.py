"""What each setting of an app becomes in the cluster, end to end: through the API, into the objects that Kubernetes acts on."""

import base64
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from controller_under_test import (  # noqa: E402, F401
    admin, alice, app, build, cluster, controller, deployed, postgres, said, start_controller)
from workflow_testing import run  # noqa: E402


def template(cluster, app, type_="web"):  # noqa: F811
    found = cluster.engine.api.get(f"/apis/apps/v1/namespaces/{app}/deployments/{app}-{type_}")
    return found["spec"]["template"]["spec"]


@pytest.fixture
def set_config(deployed, alice):  # noqa: F811
    def change(**maps):
        answer = alice.post(f"/v2/apps/{deployed}/config/", maps)
        assert answer.status_code == 201, answer.text
    return change


def service(cluster, app):  # noqa: F811
    metadata = cluster.engine.api.get(f"/api/v1/namespaces/{app}/services/{app}")["metadata"]
    return {k.removeprefix("router.deis.io/"): v for k, v in {**metadata["labels"], **metadata["annotations"]}.items() if k.startswith("router.")}


def test_health_checks_are_probes(deployed, set_config, cluster):  # noqa: F811
    assert template(cluster, deployed)["containers"][0]["readinessProbe"]["tcpSocket"] == {"port": 5000}
    probe = {"httpGet": {"port": 5000, "path": "/ready", "httpHeaders": [{"name": "X-A", "value": "1"}]}, "initialDelaySeconds": 0,
             "timeoutSeconds": 3, "periodSeconds": 4, "successThreshold": 1, "failureThreshold": 2}
    set_config(healthcheck={"web/cmd": {"readinessProbe": probe, "livenessProbe": {"tcpSocket": {"port": 5000}}}})
    container = template(cluster, deployed)["containers"][0]
    assert {k: container["readinessProbe"][k] for k in probe} | {"httpGet": None} == probe | {"httpGet": None}
    assert container["readinessProbe"]["httpGet"]["httpHeaders"] == [{"name": "X-A", "value": "1"}]
    assert container["livenessProbe"]["tcpSocket"] == {"port": 5000}
    # The type's own wins.
    set_config(healthcheck={"web": {"readinessProbe": {"exec": {"command": ["/bin/true"]}}}})
    container = template(cluster, deployed)["containers"][0]
    assert container["readinessProbe"]["exec"] == {"command": ["/bin/true"]} and "livenessProbe" not in container


def test_limits_timeouts_and_tags_are_in_the_pod(deployed, set_config, cluster):  # noqa: F811
    set_config(memory={"web": "128M/256MB"}, cpu={"web": "500m"}, termination_grace_period={"web": "7"}, tags={"disk": "ssd"})
    pod = template(cluster, deployed)
    # One number is the limit; Kubernetes makes it the request, too.
    assert pod["containers"][0]["resources"]["limits"] == {"memory": "256Mi", "cpu": "500m"}
    assert pod["containers"][0]["resources"]["requests"]["memory"] == "128Mi"
    assert (pod["terminationGracePeriodSeconds"], pod["nodeSelector"]) == (7, {"disk": "ssd"})


def test_lifecycle_hooks_are_commands_of_the_container(deployed, set_config, cluster):  # noqa: F811
    set_config(lifecycle_post_start={"web": "touch /tmp/up"}, lifecycle_pre_stop={"web": "touch /tmp/down"})
    hooks = template(cluster, deployed)["containers"][0]["lifecycle"]
    assert hooks["postStart"]["exec"]["command"] == ["/bin/bash", "-c", "touch /tmp/up"]
    assert hooks["preStop"]["exec"]["command"][:2] == ["/bin/bash", "-c"]
    assert hooks["preStop"]["exec"]["command"][2].endswith("touch /tmp/down")  # after routers have forgotten the pod
    set_config(lifecycle_post_start={"web": None}, lifecycle_pre_stop={"web": None})
    assert "postStart" not in template(cluster, deployed)["containers"][0]["lifecycle"]


def test_an_autoscale_rule_is_an_autoscaler(deployed, alice, cluster):  # noqa: F811
    path, settings = f"/apis/autoscaling/v2/namespaces/{deployed}/horizontalpodautoscalers", f"/v2/apps/{deployed}/settings/"
    assert alice.post(settings, {"autoscale": {"web": {"min": 2, "max": 5, "cpu_percent": 40}}}).status_code == 201
    (found,) = cluster.engine.api.get(path)["items"]
    assert (found["spec"]["minReplicas"], found["spec"]["maxReplicas"], found["spec"]["scaleTargetRef"]["name"]) == (2, 5, f"{deployed}-web")
    assert found["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 40
    assert alice.post(settings, {"autoscale": {"web": None}}).status_code == 201
    assert cluster.engine.api.get(path)["items"] == []


def test_what_the_router_is_told(deployed, alice, cluster):  # noqa: F811
    path = f"/v2/apps/{deployed}"
    assert service(cluster, deployed) == {"routable": "true", "domains": deployed, "maintenance": "false", "ssl.enforce": "false"}
    for part, body in (("settings", {"maintenance": True}), ("settings", {"routable": False}), ("tls", {"https_enforced": True}),
                       ("whitelist", {"addresses": ["10.0.0.0/8", "2001:db8::1"]}), ("domains", {"domain": "www.example.org"})):
        assert alice.post(f"{path}/{part}/", body).status_code == 201, part
    assert service(cluster, deployed) == {"routable": "false", "domains": f"{deployed},www.example.org", "maintenance": "true", "ssl.enforce": "true",
                                          "whitelist": "10.0.0.0/8,2001:db8::1"}


@pytest.mark.parametrize("kind", [("rsa:2048",), ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"), ("ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"), ("ed25519",)])
def test_certificates_of_every_kind_of_key_reach_the_router(app, alice, cluster, tmp_path, kind):  # noqa: F811
    domain = f"www.{app}.example.org"
    run("openssl", "req", "-x509", "-nodes", "-days", "9", "-newkey", *kind, "-subj", f"/CN={domain}", "-keyout", tmp_path / "key", "-out", tmp_path / "crt")
    alice.post(f"/v2/apps/{app}/domains/", {"domain": domain})
    body = {"name": f"cert-{app}", "certificate": (tmp_path / "crt").read_text(), "key": (tmp_path / "key").read_text()}
    assert alice.post("/v2/certs/", body).status_code == 201
    assert alice.post(f"/v2/certs/cert-{app}/domain/", {"domain": domain}).status_code == 201
    secret = f"/api/v1/namespaces/{app}/secrets/cert-{app}-cert"
    data = {k: base64.b64decode(v).decode() for k, v in cluster.engine.api.get(secret)["data"].items()}
    # Blanks around the text of a field are not kept.
    assert data["tls.crt"].strip() == body["certificate"].strip() and data["tls.key"].strip() == body["key"].strip()
    assert service(cluster, app)["certificates"] == f"{domain}:cert-{app}"
    assert alice.delete(f"/v2/certs/cert-{app}").status_code == 204
    assert "certificates" not in service(cluster, app) and cluster.engine.api.send("GET", secret)[0] == 404


def test_a_service_by_path_is_a_service(deployed, alice, cluster):  # noqa: F811
    path = f"/v2/apps/{deployed}/services/"
    assert alice.post(path, {"procfile_type": "worker", "path_pattern": "/hooks,~ ^/u/[0-9]+"}).status_code == 201
    found = cluster.engine.api.get(f"/api/v1/namespaces/{deployed}/services/{deployed}-worker")
    assert found["metadata"]["annotations"]["router.deis.io/proxyLocations"] == "/hooks,~ ^/u/[0-9]+"
    assert found["metadata"]["annotations"]["router.deis.io/proxyDomain"] == deployed and found["spec"]["selector"]["type"] == "worker"
    assert alice.delete(path, {"procfile_type": "worker"}).status_code == 204
    assert cluster.engine.api.send("GET", f"/api/v1/namespaces/{deployed}/services/{deployed}-worker")[0] == 404


def test_operators_give_every_app_a_quota_and_an_ingress(start_controller, cluster):  # noqa: F811
    user = start_controller(cluster.kubeconfig, KUBERNETES_NAMESPACE_DEFAULT_QUOTA_SPEC='{"spec":{"hard":{"pods":"9"}}}', NATIVE_INGRESS="true",
                            NATIVE_INGRESS_HOSTNAME="apps.example.org").register("user")
    name = user.create_app()
    assert cluster.engine.api.get(f"/api/v1/namespaces/{name}/resourcequotas/{name}-quota")["spec"]["hard"] == {"pods": "9"}
    rule = cluster.engine.api.get(f"/apis/networking.k8s.io/v1/namespaces/{name}/ingresses/{name}")["spec"]["rules"][0]
    assert rule["host"] == f"{name}.apps.example.org" and rule["http"]["paths"][0]["backend"]["service"]["name"] == name
    user.delete(f"/v2/apps/{name}/")


def test_what_the_cluster_lost_comes_back_at_the_start(deployed, alice, cluster, controller):  # noqa: F811
    path = f"/v2/apps/{deployed}"
    alice.post(f"{path}/settings/", {"maintenance": True})
    before = service(cluster, deployed)
    web = cluster.engine.api.get(f"/apis/apps/v1/namespaces/{deployed}/deployments/{deployed}-web")["metadata"]
    controller.stop()
    cluster.engine.api.send("DELETE", f"/api/v1/namespaces/{deployed}/services/{deployed}")
    controller.start()
    from workflow_testing import wait_for
    wait_for(lambda: cluster.engine.api.send("GET", f"/api/v1/namespaces/{deployed}/services/{deployed}")[0] == 200 and
             service(cluster, deployed) == before, 20, "the Service is as it was")
    # What was right was not touched.
    assert cluster.engine.api.get(f"/apis/apps/v1/namespaces/{deployed}/deployments/{deployed}-web")["metadata"]["generation"] == web["generation"]
