"""An engine that serves the API and runs its controllers, and a node that only pretends: pods become ready at once."""

import base64
import http.client
import json
import os
import pathlib
import re
import signal
import ssl
import subprocess
import threading
import time

from kubernetes_clients import kubectl
from workflow_testing import WORKFLOW, free_port, wait_for


class Api:
    """The Kubernetes API as a client without a library sees it."""

    def __init__(self, kubeconfig):
        text = pathlib.Path(kubeconfig).read_text()
        folder = pathlib.Path(kubeconfig).parent
        field = lambda name: re.search(name + r": \"?([^\s\"]+)", text)[1]
        self.port = int(field("server").rsplit(":", 1)[1])
        self.context = ssl.create_default_context(cadata=base64.b64decode(field("certificate-authority-data")).decode())
        for name, option in (("client-certificate-data", "test-client.crt"), ("client-key-data", "test-client.key")):
            (folder / option).write_bytes(base64.b64decode(field(name)))
        self.context.load_cert_chain(folder / "test-client.crt", folder / "test-client.key")

    def connect(self, timeout=30):
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=timeout)

    def send(self, method, path, body=None, content_type="application/json", headers=None):
        """Status and decoded answer."""
        connection = self.connect()
        try:
            data = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": content_type, **(headers or {})})
            answer = connection.getresponse()
            text = answer.read()
            try:
                return answer.status, json.loads(text)
            except ValueError:
                return answer.status, text.decode()
        finally:
            connection.close()

    def get(self, path):
        status, answer = self.send("GET", path)
        assert status == 200, answer
        return answer

    def watch(self, path, timeout=30):
        """Yields events until the server ends the watch."""
        connection = self.connect(timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            if answer.status != 200:
                raise AssertionError(answer.read())
            for line in answer:
                yield json.loads(line)
        finally:
            connection.close()


class PretendedNode(threading.Thread):
    """Answers for a kubelet: a bound pod gets an address and is ready after `delay`; one that is to go, goes."""

    def __init__(self, api, name, delay=0.0):
        super().__init__(daemon=True)
        self.api, self.name_, self.delay, self.count = api, name, delay, 0
        self.stuck = lambda pod: False  # which pods never become ready

    def run(self):
        while True:
            try:
                for event in self.api.watch("/api/v1/pods?watch=true"):
                    if event["type"] in ("ADDED", "MODIFIED"):
                        self.see(event["object"])
            except (OSError, AssertionError, http.client.HTTPException):
                time.sleep(0.1)  # the engine is restarting, or the test is over

    def see(self, pod):
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        if "nodeName" not in pod["spec"]:
            return
        if "deletionTimestamp" in meta:
            self.api.send("DELETE", path, {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}})
        elif "podIP" not in pod["status"] and not self.stuck(pod):
            self.count += 1
            timer = threading.Timer(self.delay, self.start_pod, (path, pod, self.count))
            timer.daemon = True
            timer.start()

    def start_pod(self, path, pod, number):
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        once = pod["spec"]["restartPolicy"] != "Always"
        state = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}} if once else {
            "running": {"startedAt": now}}
        ready = "False" if once else "True"
        status = {
            "phase": "Succeeded" if once else "Running", "podIP": f"10.42.0.{number % 250 + 2}", "hostIP": "127.0.0.1", "startTime": now,
            "conditions": [{"type": t, "status": s, "lastTransitionTime": now} for t, s in (
                ("PodScheduled", "True"), ("Initialized", "True"), ("ContainersReady", ready), ("Ready", ready))],
            "containerStatuses": [{"name": c["name"], "image": c["image"], "imageID": "", "ready": not once, "restartCount": 0,
                                   "state": state} for c in pod["spec"]["containers"]]}
        self.api.send("PATCH", path + "/status", {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status},
                      "application/merge-patch+json")


class Engine:
    def __init__(self, state, env=None):
        self.state = pathlib.Path(state)
        self.env = {**os.environ, **(env or {})}
        self.port = free_port()
        self.process = None
        self.start()

    def start(self):
        self.log = open(self.state / "engine.log", "a")
        self.process = subprocess.Popen(
            [WORKFLOW, "engine", "--state", self.state, "--api-port", str(self.port), "--api-only"],
            stdout=self.log, stderr=self.log, env=self.env)
        wait_for(self.answers, 20, "the engine answers")
        self.api = Api(self.state / "kubeconfig")

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError((self.state / "engine.log").read_text())
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=ssl._create_unverified_context(), timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)

    def kubectl(self, *arguments, check=True, program=None, timeout=60, **options):
        env = dict(os.environ, KUBECONFIG=str(self.state / "kubeconfig"), HOME=str(self.state))
        done = subprocess.run([program or kubectl(), *map(str, arguments)], env=env, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=timeout, **options)
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(map(str, arguments))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done
