"""The node agent under bad luck and bad company: hostile volumes, full disks, loud pods, registries with passwords."""

import base64
import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from engine_with_pods import IMAGE, PodEngine, container, engine, is_ready, missing_parts, ns  # noqa: E402, F401
from faults import SmallDisk, full_process_table, idle_connections, kill_containerd, no_descriptors  # noqa: E402
from workflow_testing import free_port, run, wait_for  # noqa: E402

if missing_parts():
    pytest.skip(missing_parts(), allow_module_level=True)


def pod_folder(engine, ns, name):
    return engine.state / "pods" / engine.find("pods", ns, name)["metadata"]["uid"]


def log_folder(engine, ns, name):
    return engine.state / "logs/pods" / f"{ns}_{name}_{engine.find('pods', ns, name)['metadata']['uid']}" / "c"


# --- volumes


def test_a_sub_path_never_leads_out_of_its_volume(engine, ns):
    """An init container may leave any link in a volume that it shares."""
    outside = engine.state / "outside"
    outside.mkdir()
    (outside / "secret").write_text("of the host")
    links = "; ".join(f"ln -s {outside} /v/{name}" for name in ("..data", "link"))
    mount = lambda sub: {"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": sub}]}
    for name, sub in (("dots", "..data"), ("through-dots", "..data/secret"), ("link", "link"), ("below-link", "link/new"), ("long", "s" * 300)):
        engine.pod(ns, name, "cat /v /v/*", container=mount(sub), restartPolicy="Never", volumes=[{"name": "v", "emptyDir": {}}],
                   initContainers=[{"name": "i", "image": IMAGE, "command": ["sh", "-c", links],
                                    "volumeMounts": [{"name": "v", "mountPath": "/v"}]}])
    for name in ("dots", "through-dots", "link", "below-link", "long"):
        engine.wait_pod(ns, name, lambda pod: (container(pod) or {}).get("state", {}).get("waiting", {}).get("reason") == "CreateContainerConfigError")
        assert engine.wait_event(ns, name, "Failed")["type"] == "Warning"
        engine.delete("pods", ns, name)
        engine.gone("pods", ns, name)
    assert [p.name for p in outside.iterdir()] == ["secret"]


def test_what_keeps_a_pod_from_starting_is_told_and_it_can_go(engine, ns):
    engine.pod(ns, "below-a-file", volumes=[{"name": "v", "hostPath": {"path": "/etc/passwd/x"}}])
    engine.pod(ns, "no-claim", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "none"}}])
    engine.pod(ns, "no-secret", volumes=[{"name": "v", "secret": {"secretName": "late"}}])
    assert "Not a directory" in engine.wait_event(ns, "below-a-file", "FailedMount")["message"]
    engine.wait_event(ns, "no-secret", "FailedMount")
    # It is tried again: what was missing may come.
    engine.create("secrets", ns, "late", stringData={"a": "b"})
    engine.wait_running(ns, "no-secret", 60)
    for name in ("below-a-file", "no-claim", "no-secret"):
        engine.delete("pods", ns, name)
        engine.gone("pods", ns, name)


def test_secrets_of_pods_are_readable_by_their_pods_alone(engine, ns):
    engine.create("secrets", ns, "s", stringData={"key": "hidden"})
    token = {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    volumes = [{"name": "s", "secret": {"secretName": "s"}}, {"name": "t", **token}, {"name": "e", "emptyDir": {}}]
    mounts = [{"name": v["name"], "mountPath": "/" + v["name"]} for v in volumes]
    script = "cat /s/key; cat /t/token | wc -c; stat -Lc %a:%u /t/token; cat /etc/hosts | grep -c localhost; echo x > /s/key; echo y > /e/y && echo written; sleep 1000"
    engine.pod(ns, "p", script, container={"volumeMounts": mounts, "securityContext": {"runAsUser": 1000}}, volumes=volumes)
    engine.wait_running(ns, "p")
    # What it says goes two ways, which the runtime reads side by side: in no certain order.
    said = ("hidden", "600:1000", "Read-only file system", "written\n")
    wait_for(lambda: all(word in engine.output(ns, "p") for word in said), 30, "the pod has looked")
    assert (pod_folder(engine, ns, "p") / "volumes/s/key").read_text() == "hidden"
    for folder in ("pods", "volumes", "logs"):
        assert stat.S_IMODE((engine.state / folder).stat().st_mode) == 0o700


def test_the_newest_version_of_a_secret_reaches_its_pod(engine, ns):
    """Each round changes it twice at once: the older may never be written last."""
    engine.create("secrets", ns, "s", stringData={"round": "0"})
    engine.pod(ns, "p", container={"volumeMounts": [{"name": "s", "mountPath": "/s"}]}, volumes=[{"name": "s", "secret": {"secretName": "s"}}])
    engine.wait_running(ns, "p")
    file = pod_folder(engine, ns, "p") / "volumes/s/round"
    for number in range(200):
        for half in ("a", "b"):
            engine.patch("secrets", ns, "s", {"stringData": {"round": f"{number}{half}"}})
        wait_for(lambda: file.read_text() == f"{number}b", 10, f"round {number}")


# --- how pods end


def test_a_liveness_kill_says_that_it_was_one(engine, ns):
    """The app obeys SIGTERM and exits with 0: that is not why it had to go."""
    engine.pod(ns, "p", "trap 'exit 0' TERM; while :; do sleep 0.1; done",
               container={"livenessProbe": {"exec": {"command": ["sh", "-c", "echo the database is away; exit 1"]}, "periodSeconds": 1, "failureThreshold": 1}})
    pod = engine.wait_pod(ns, "p", lambda pod: (container(pod) or {}).get("restartCount", 0) >= 1)
    end = container(pod)["lastState"]["terminated"]
    assert (end["exitCode"], end["reason"]) == (0, "LivenessProbeFailed")
    assert end["message"] == "Liveness probe failed: the database is away"
    assert engine.wait_event(ns, "p", "Unhealthy")["message"] == "Liveness probe failed: the database is away"
    assert engine.wait_event(ns, "p", "Killing")["message"] == "Container c failed liveness probe, will be restarted"


def test_a_probe_goes_by_the_status_however_long_the_answer(engine, ns):
    engine.pod(ns, "p", "mkdir /tmp/www; head -c 3000000 /dev/zero > /tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www",
               container={"readinessProbe": {"httpGet": {"port": 8080, "path": "/index.html"}, "periodSeconds": 1}})
    engine.wait_running(ns, "p")


def test_the_words_of_a_probe_are_expanded_and_those_of_a_hook_are_not(engine, ns):
    """As Kubernetes does it: $$ is $, and $(NAME) what the container's spec says."""
    engine.pod(ns, "p", container={
        "env": [{"name": "FILE", "value": "/tmp/hooked"}],
        "lifecycle": {"postStart": {"exec": {"command": ["sh", "-c", "echo $$ > /tmp/hooked"]}}},
        "readinessProbe": {"exec": {"command": ["sh", "-c", 'test "$$(cat $(FILE))" -gt 1 && test $$HOME = "$HOME"']}, "periodSeconds": 1}})
    engine.wait_pod(ns, "p", is_ready)


def test_words_that_are_no_utf8_break_nothing(engine, ns):
    engine.pod(ns, "p", r"printf 'caf\351' > /dev/termination-log; printf 'caf\351\n'; exit 5", restartPolicy="Never",
               container={"lifecycle": {"postStart": {"exec": {"command": ["sh", "-c", r"printf 'h\377'; exit 1"]}}}})
    pod = engine.wait_phase(ns, "p", "Failed")
    assert "caf\ufffd" in container(pod)["state"]["terminated"]["message"]
    connection = engine.api.connect()
    connection.request("GET", engine.path("pods", ns, "p") + "/log")
    assert connection.getresponse().read() == b"caf\xe9\n"


def test_named_network_namespaces_of_others_keep_no_pod(engine, ns):
    """`ip netns add` mounts over /run/netns."""
    engine.pod(ns, "before")
    engine.wait_running(ns, "before")
    name = "wf-test-" + ns[:8]
    run("ip", "netns", "add", name)
    try:
        engine.pod(ns, "after")
        engine.wait_running(ns, "after")
        for pod in ("before", "after"):
            engine.delete("pods", ns, pod)
            engine.gone("pods", ns, pod)
    finally:
        run("ip", "netns", "delete", name)


def test_heaps_of_containerd_and_its_shims_are_kept_small(engine, ns):
    engine.pod(ns, "p")
    engine.wait_running(ns, "p")
    socket = os.fsencode(engine.state / "containerd")
    found = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if os.path.basename(words[0]).startswith(b"containerd") and any(word.startswith(socket) for word in words[1:]):
                found.setdefault(os.path.basename(words[0]), []).append(b"GOGC=50" in (entry / "environ").read_bytes().split(b"\0"))
    assert set(found) == {b"containerd", b"containerd-shim-runc-v2"}
    assert all(all(each) for each in found.values()), found


def test_the_platform_outweighs_apps_and_apps_outweigh_builds(engine, ns):
    send = lambda name, value: engine.api.send("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": name}, "value": value})
    send("test-platform", 1_000_000_000)
    send("test-builds", -100)
    half = {"resources": {"requests": {"cpu": "500m"}}}
    weights = {}
    for name, spec in (("platform", {"priorityClassName": "test-platform"}), ("app", {"container": half}), ("idle", {}),
                       ("build", {"priorityClassName": "test-builds"})):
        uid = engine.pod(ns, name, **spec)["metadata"]["uid"]
        engine.wait_running(ns, name)
        groups = pathlib.Path("/sys/fs/cgroup")
        unified = (groups / "cgroup.controllers").exists()
        file = next((groups if unified else groups / "cpu").glob(f"*/pod{uid}/cpu.{'weight' if unified else 'shares'}"))
        weights[name] = int(file.read_text())
    assert weights["platform"] > weights["app"] > weights["idle"] > weights["build"], weights
    assert weights["platform"] >= os.cpu_count() * 2 * weights["app"] or unified, weights


# --- logs


def test_a_loud_pod_cannot_fill_the_disk(engine, ns):
    """As much as it can for ten seconds: its files stay within five of 10 MiB and what goes by between two looks."""
    engine.pod(ns, "loud", "timeout 10 yes 2>/dev/null 0123456789012345678901234567890123456789012345678901234567890123456789; echo; echo the end; sleep 1000")
    engine.wait_running(ns, "loud")
    folder = log_folder(engine, ns, "loud")
    most = 0

    def over():
        nonlocal most
        most = max([most] + [f.stat().st_size for f in list(folder.glob("0.log*")) if f.exists()])
        return "the end\n" in engine.output(ns, "loud", tailLines=2)

    wait_for(over, 120, "the pod is quiet")
    assert most < 40 << 20
    wait_for(lambda: len(list(folder.glob("0.log*"))) <= 5, 10, "the oldest parts go")


def test_logs_are_read_across_rotations_and_restarts(engine, ns):
    engine.pod(ns, "p", "echo the first line; yes 0123456789012345678901234567890123456789 | head -n 200000; echo the last words; exit 3")
    engine.wait_pod(ns, "p", lambda pod: (container(pod) or {}).get("restartCount", 0) >= 1 and "running" not in container(pod)["state"], 90)
    folder = log_folder(engine, ns, "p")
    assert len(list(folder.glob("1.log.*"))) >= 1 or len(list(folder.glob("0.log.*"))) >= 1
    # The runtime tells of an end before it has written down all that was said.
    wait_for(lambda: engine.output(ns, "p", previous="true", tailLines=1) == "the last words\n", 60, "the log is whole")
    whole = engine.output(ns, "p", previous="true")
    assert whole.startswith("the first line\n") and whole.endswith("the last words\n") and whole.count("\n") == 200002
    assert engine.output(ns, "p", previous="true", tailLines=200001).count("\n") == 200001
    assert engine.output(ns, "p", previous="true", sinceSeconds=3600).count("\n") == 200002


# --- a machine at its limits


@pytest.fixture
def small_engine(tmp_path_factory):
    """An engine whose state lies on a disk of its own."""
    state = tmp_path_factory.mktemp("small")
    with SmallDisk(state, megabytes=700, private=False) as disk:
        (state / "engine").mkdir()
        engine = PodEngine(state / "engine")
        engine.disk = disk
        try:
            yield engine
        finally:
            disk.free()
            engine.close()


def containerds(state):
    """The numbers of the processes that are an engine's containerd."""
    config = str(state / "containerd" / "config.toml").encode()
    found = set()
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if config in (process / "cmdline").read_bytes().split(b"\0"):
                found.add(int(process.name))
    return found


def answers(engine):
    return subprocess.run(["ctr", "-a", engine.state / "containerd/containerd.sock", "-n", "k8s.io", "tasks", "ls"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60).returncode == 0


def test_a_full_disk_restarts_nothing(small_engine, tmp_path):
    engine, shared = small_engine, tmp_path
    ns = engine.namespace("full")
    engine.pod(ns, "healthy", "while [ ! -e /host/stop ]; do sleep 0.1; done", restartPolicy="Never",
               container={"volumeMounts": [{"name": "host", "mountPath": "/host"}],
                          "readinessProbe": {"exec": {"command": ["test", "!", "-e", "/host/unwell"]}, "periodSeconds": 1, "failureThreshold": 1}},
               volumes=[{"name": "host", "hostPath": {"path": str(shared)}}])
    engine.pod(ns, "other")
    running = lambda: [c for name in ("healthy", "other") for c in engine.find("pods", ns, name)["status"]["containerStatuses"]]
    ids = lambda: {c["containerID"] for c in running()}
    engine.wait_running(ns, "other")
    engine.wait_running(ns, "healthy")
    before, in_runtime = ids(), set(engine.ctr("containers", "ls", "-q").split())
    with engine.disk.full():
        # Its status changes now, and cannot be written.
        (shared / "unwell").touch()
        wait_for(lambda: is_ready(engine.find("pods", ns, "healthy")) and engine.api.send("POST", "/api/v1/namespaces", {"metadata": {"name": "none"}})[0] >= 500,
                 30, "nothing can be written")
    engine.wait_pod(ns, "healthy", lambda pod: not is_ready(pod), 60)
    (shared / "unwell").unlink()
    engine.wait_running(ns, "healthy", 60)
    assert ids() == before and set(engine.ctr("containers", "ls", "-q").split()) == in_runtime
    assert [c["restartCount"] for c in running()] == [0, 0]
    (shared / "stop").touch()
    engine.wait_phase(ns, "healthy", "Succeeded", 60)


def test_without_descriptors_what_runs_runs_on(engine, ns):
    engine.pod(ns, "p")
    before = container(engine.wait_running(ns, "p"))["containerID"]
    with no_descriptors(engine.process), idle_connections(("127.0.0.1", engine.port), 30):
        engine.ctr("tasks", "kill", "-s", "KILL", before.removeprefix("containerd://"))
    pod = engine.wait_pod(ns, "p", lambda pod: container(pod)["restartCount"] == 1 and is_ready(pod), 60)
    assert container(pod)["lastState"]["terminated"]["exitCode"] == 137
    engine.pod(ns, "next")
    engine.wait_running(ns, "next", 60)


def test_without_processes_what_runs_runs_on(engine, ns):
    """containerd ends, and what starts it again may make no thread more than it has."""
    engine.pod(ns, "p", "while :; do sleep 1; done")
    before = container(engine.wait_running(ns, "p"))["containerID"]
    with full_process_table(engine.process):
        kill_containerd(engine.state)
        engine.pod(ns, "next")
    engine.wait_running(ns, "next", 90)
    after = container(engine.wait_running(ns, "p", 60))
    assert (after["containerID"], after["restartCount"]) == (before, 0)


def test_containerd_killed_on_a_full_disk_loses_no_container(small_engine):
    """The next containerd cannot write either, and may know little of what runs: what the engine sees run, runs."""
    engine = small_engine
    ns = engine.namespace("killed")
    for name in ("a", "b"):
        engine.pod(ns, name, "while :; do sleep 1; done")
    ids = lambda: {container(engine.wait_running(ns, name, 120))["containerID"] for name in ("a", "b")}
    before = ids()
    with engine.disk.full():
        killed = [kill_containerd(engine.state)]
        for _ in range(2):  # what the first one could keep is not what the second one finds
            wait_for(lambda: containerds(engine.state) - set(killed), 60, "another containerd")
            wait_for(lambda: answers(engine) or not containerds(engine.state) - set(killed), 60, "it answers, or ends")
            for pid in containerds(engine.state):
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: containerds(engine.state) - set(killed), 60, "another containerd")
    engine.pod(ns, "next")
    engine.wait_running(ns, "next", 120)
    assert ids() == before
    assert [container(engine.find("pods", ns, name))["restartCount"] for name in ("a", "b")] == [0, 0]
    for name in ("a", "b"):
        engine.delete("pods", ns, name)
        engine.gone("pods", ns, name)


# --- registries with a password


def push_image(base, auth, archive):
    """Puts the one image of a docker archive into a registry, as `docker push` would; returns its digest."""
    import tarfile

    def send(method, path, data=None, kind="application/octet-stream"):
        command = ["curl", "-sk", "-u", auth, "-X", method, "-H", f"Content-Type: {kind}", "-D", "-", "-o", "/dev/null", base + path if path.startswith("/") else path]
        done = subprocess.run(command + (["--data-binary", "@-"] if data is not None else []), input=data, stdout=subprocess.PIPE, check=True)
        head = done.stdout.decode()
        location = re.search(r"(?im)^location: (\S+)", head)
        return int(re.findall(r"HTTP/\S+ (\d+)", head)[-1]), location and location[1]

    def blob(data):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        status, location = send("POST", "/v2/team/app/blobs/uploads/", b"")
        assert status == 202, status
        status, _ = send("PUT", location + ("&" if "?" in location else "?") + "digest=" + digest, data)
        assert status == 201, status
        return {"digest": digest, "size": len(data)}

    with tarfile.open(archive) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))[0]
        config, layer = tar.extractfile(manifest["Config"]).read(), tar.extractfile(manifest["Layers"][0]).read()
    docker = "application/vnd.docker."
    body = json.dumps({"schemaVersion": 2, "mediaType": docker + "distribution.manifest.v2+json",
                       "config": {"mediaType": docker + "container.image.v1+json", **blob(config)},
                       "layers": [{"mediaType": docker + "image.rootfs.diff.tar", **blob(layer)}]}).encode()
    status, _ = send("PUT", "/v2/team/app/manifests/1", body, docker + "distribution.manifest.v2+json")
    assert status == 201, status


@pytest.fixture(params=["http", "https"])
def registry(request, engine, tmp_path):
    from engine_with_pods import image_archive

    if not shutil.which("docker-registry"):
        pytest.skip("docker-registry is not installed")
    port = free_port()
    # sha: no, bcrypt alone is read. Made by `htpasswd -nbB team secret`'s algorithm, through crypt(3).
    hashed = run("python3", "-c", "import crypt; print(crypt.crypt('secret', crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))").stdout.strip().splitlines()[-1]
    (tmp_path / "htpasswd").write_text(f"team:{hashed}\n")
    tls = ""
    if request.param == "https":
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
            "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "ca.crt")
        tls = f"  tls: {{certificate: {tmp_path}/ca.crt, key: {tmp_path}/key.pem}}\n"
    (tmp_path / "config.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/data}}}}\nhttp:\n  addr: 127.0.0.1:{port}\n{tls}"
        f"auth: {{htpasswd: {{realm: team, path: {tmp_path}/htpasswd}}}}\n")
    trust = engine.state / "containerd/certs.d" / f"127.0.0.1:{port}"
    trust.mkdir(parents=True)
    base = f"{request.param}://127.0.0.1:{port}"
    certificate = f'ca = "{tmp_path}/ca.crt"\n' if tls else ""
    (trust / "hosts.toml").write_text(f'server = "{base}"\n[host."{base}"]\ncapabilities = ["pull", "resolve"]\n{certificate}')
    process = subprocess.Popen(["docker-registry", "serve", tmp_path / "config.yml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: subprocess.run(["curl", "-sk", base + "/v2/"], stdout=subprocess.PIPE).returncode == 0, 20, "the registry answers")
        image_archive(tmp_path / "image.tar")
        push_image(base, "team:secret", tmp_path / "image.tar")
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("form", ["host", "url", "auth"])
def test_an_image_is_pulled_with_the_pods_credentials(engine, registry, request, form):
    ns = engine.namespace("pull-" + form + ("s" if "https" in request.node.name else ""))
    entry = {"auth": base64.b64encode(b"team:secret").decode()} if form == "auth" else {"username": "team", "password": "secret"}
    key = f"https://{registry}/v2/" if form == "url" else registry
    config = base64.b64encode(json.dumps({"auths": {key: entry}}).encode()).decode()
    engine.create("secrets", ns, "team", data={".dockerconfigjson": config}, type="kubernetes.io/dockerconfigjson")
    image = {"image": registry + "/team/app:1", "imagePullPolicy": "Always"}
    engine.pod(ns, "without", "echo pulled", container=image, restartPolicy="Never")
    engine.pod(ns, "with", "echo pulled", container=image, restartPolicy="Never", imagePullSecrets=[{"name": "team"}])
    engine.wait_phase(ns, "with", "Succeeded", 60)
    assert engine.output(ns, "with") == "pulled\n"
    engine.wait_pod(ns, "without", lambda pod: (container(pod) or {}).get("state", {}).get("waiting", {}).get("reason") in ("ErrImagePull", "ImagePullBackOff"))
    engine.api.send("DELETE", f"/api/v1/namespaces/{ns}")
