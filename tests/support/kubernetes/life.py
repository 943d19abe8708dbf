"""What life/main.go does, with the Python client: `life.py informer|deployment|leader NAMESPACE`."""

import os
import sys
import threading

from kubernetes import client, config, watch
from kubernetes.leaderelection import leaderelection
from kubernetes.leaderelection.electionconfig import Config
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

LIMIT = 60


def expect(lines, wanted):
    """Reads until the wanted line."""
    for line in lines:
        if line == wanted:
            print(line, flush=True)
            return
    sys.exit(f"life: not seen: {wanted}")


def list_and_watch(list_call, ns, tell, page=250):
    """As an informer: a list in pages, then every change after it."""
    names = {"ADDED": "added", "MODIFIED": "updated", "DELETED": "deleted"}
    more = None
    while more != "":
        part = list_call(ns, limit=page, **({"_continue": more} if more else {}))
        for item in part.items:
            yield tell("added", item)
        more = part.metadata._continue or ""
    stream = watch.Watch().stream(list_call, ns, resource_version=part.metadata.resource_version, timeout_seconds=LIMIT,
                                  allow_watch_bookmarks=True)
    for event in stream:
        if event["type"] in names:
            yield tell(names[event["type"]], event["object"])


def informer(ns):
    core = client.CoreV1Api()

    def made(name, data=None, labels=None):
        return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels=labels), data=data)

    for i in range(700):
        core.create_namespaced_config_map(ns, made(f"early-{i:03}", labels={"kind": "early"}))
    lines = list_and_watch(core.list_namespaced_config_map, ns, lambda what, o: f"{what} {o.metadata.name} {(o.data or {}).get('n', '')}")
    expect(lines, "added early-699 ")
    late = core.create_namespaced_config_map(ns, made("late", {"n": "1"}))
    expect(lines, "added late 1")
    late.data["n"] = "2"
    core.replace_namespaced_config_map("late", ns, late)
    expect(lines, "updated late 2")
    core.patch_namespaced_config_map("late", ns, {"data": {"n": "3"}})
    expect(lines, "updated late 3")
    try:
        core.replace_namespaced_config_map("late", ns, late)
        sys.exit("life: an update of an old version was accepted")
    except client.ApiException as error:
        assert error.status == 409, error
    core.delete_namespaced_config_map("late", ns)
    expect(lines, "deleted late 3")
    core.delete_collection_namespaced_config_map(ns, label_selector="kind=early")
    expect(lines, "deleted early-699 ")


def deployment(ns):
    apps = client.AppsV1Api()
    container = client.V1Container(name="web", image="example.com/web:1")
    template = client.V1PodTemplateSpec(metadata=client.V1ObjectMeta(labels={"app": "web"}), spec=client.V1PodSpec(containers=[container]))
    spec = client.V1DeploymentSpec(replicas=2, selector=client.V1LabelSelector(match_labels={"app": "web"}), template=template)

    def tell(what, o):
        if what == "deleted":
            return "deleted web"
        s, wanted = o.status, o.spec.replicas
        settled = ((s.observed_generation or 0) >= o.metadata.generation and s.available_replicas == wanted and
                   s.updated_replicas == wanted and s.replicas == wanted)
        return f"{what} web replicas={wanted} image={o.spec.template.spec.containers[0].image} settled={str(settled).lower()}"

    lines = list_and_watch(apps.list_namespaced_deployment, ns, tell)
    apps.create_namespaced_deployment(ns, client.V1Deployment(metadata=client.V1ObjectMeta(name="web"), spec=spec))
    expect(lines, "updated web replicas=2 image=example.com/web:1 settled=true")
    apps.patch_namespaced_deployment_scale("web", ns, {"spec": {"replicas": 3}})
    expect(lines, "updated web replicas=3 image=example.com/web:1 settled=true")
    apps.patch_namespaced_deployment("web", ns, {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "example.com/web:2"}]}}}})
    expect(lines, "updated web replicas=3 image=example.com/web:2 settled=true")
    apps.delete_namespaced_deployment("web", ns, propagation_policy="Foreground")
    expect(lines, "deleted web")
    print("pods left:", len(client.CoreV1Api().list_namespaced_pod(ns, label_selector="app=web").items))


def leader(ns):
    led = threading.Semaphore(0)

    def stand(name, leads):
        lock = LeaseLock("election", ns, name)
        leaderelection.LeaderElection(Config(lock, lease_duration=4, renew_deadline=2, retry_period=1, onstarted_leading=leads,
                                             onstopped_leading=lambda: None)).run()

    first = client.CoordinationV1Api()

    def first_leads():
        print("first leads", flush=True)
        led.release()

    threading.Thread(target=stand, args=("first", first_leads), daemon=True).start()
    assert led.acquire(timeout=LIMIT)

    def second_leads():
        print("second leads", flush=True)
        led.release()

    # The first one is made to lose: whoever renews needs the version that it saw.
    threading.Thread(target=stand, args=("second", second_leads), daemon=True).start()
    lease = first.read_namespaced_lease("election", ns)
    assert lease.spec.holder_identity == "first", lease
    first.patch_namespaced_lease("election", ns, {"spec": {"holderIdentity": "second"}})
    assert led.acquire(timeout=LIMIT)


config.load_kube_config()
{"informer": informer, "deployment": deployment, "leader": leader}[sys.argv[1]](sys.argv[2])
print("done", flush=True)
os._exit(0)  # candidates still renew their lease in threads
