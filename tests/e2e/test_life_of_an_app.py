"""What a user does to an app, each step seen through HTTP."""

import json
import re

from workflow_testing import ROOT, run, wait_for


def hosts_that_answer(platform, name, requests=60):
    """The pods that answer: the sample's page names its own host."""
    pages = (platform.app(name, "/host") for _ in range(requests))
    return {body.strip() for status, _, body in pages if status == 200}


def test_config_reaches_the_app_and_unset_takes_it_back(alice, platform, app):
    alice.deis("config:set", "POWERED_BY=the test", "-a", app)
    platform.wait_served(app, "Powered by the test")
    assert "POWERED_BY" in alice.deis("config:list", "-a", app).stdout
    alice.deis("config:unset", "POWERED_BY", "-a", app)
    wait_for(lambda: "the test" not in platform.app(app)[2], what="the default text is back")


def test_scaled_to_three_all_three_answer_and_back_to_one(alice, platform, app):
    alice.deis("scale", "web=3", "-a", app)
    wait_for(lambda: len(hosts_that_answer(platform, app)) == 3, 15, "three pods answer")
    listing = alice.deis("ps", "-a", app).stdout
    assert listing.count(" up ") == 3, listing
    alice.deis("scale", "web=1", "-a", app)
    wait_for(lambda: len(hosts_that_answer(platform, app)) == 1, 15, "one pod answers")


def test_scaled_to_zero_the_router_says_503_and_back_it_serves(alice, platform, app):
    alice.deis("scale", "web=0", "-a", app)
    wait_for(lambda: platform.app(app)[0] == 503, 10, "503 without pods")
    alice.deis("scale", "web=1", "-a", app)
    wait_for(lambda: platform.app(app)[0] == 200, 10, "200 with a pod")


def test_rollback_brings_the_old_config_back_as_a_new_release(alice, platform, app, releases):
    good = releases(app)[0]
    alice.deis("config:set", "POWERED_BY=a mistake", "-a", app)
    platform.wait_served(app, "a mistake")
    alice.deis("rollback", good, "-a", app)
    wait_for(lambda: "a mistake" not in platform.app(app)[2], what="the mistake is gone")
    assert int(releases(app)[0][1:]) == int(good[1:]) + 2


def test_a_domain_of_ones_own_serves_until_it_is_removed(alice, platform, app):
    assert platform.get("www.example.org")[0] == 404
    alice.deis("domains:add", "www.example.org", "-a", app)
    wait_for(lambda: platform.get("www.example.org")[0] == 200, 5, "the domain serves")
    alice.deis("domains:remove", "www.example.org", "-a", app)
    wait_for(lambda: platform.get("www.example.org")[0] == 404, 5, "the domain is gone")


def test_a_release_that_cannot_start_leaves_the_old_one_serving(alice, platform, app, releases):
    before = platform.app(app)[2]
    failed = alice.deis("config:set", "CRASH_AT_START=1", "-a", app, check=False)
    assert failed.returncode != 0
    assert platform.app(app)[2] == before
    alice.deis("config:set", "POWERED_BY=recovery", "CRASH_AT_START=", "-a", app, check=False)
    alice.deis("config:unset", "CRASH_AT_START", "-a", app, check=False)
    platform.wait_served(app, "Powered by")


def test_logs_show_what_the_app_wrote(alice, platform, app):
    platform.app(app, "/log?line=marker-4711")
    wait_for(lambda: "marker-4711" in alice.deis("logs", "-a", app).stdout, 5, "the line is in the log")


def test_an_image_in_the_platforms_registry_says_its_port_itself(alice, platform):
    registry = platform.kubectl("get", "service", "deis-registry", "-n", "deis", "-o", "jsonpath={.spec.clusterIP}")
    run("skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci-archive:{ROOT}/build/images/stack.tar", f"docker://{registry}/web:v1",
        timeout=180)
    alice.deis("create", "from-registry", "--no-remote")
    alice.deis("pull", "localhost:5555/web:v1", "-a", "from-registry", "-p", "web: exec python3 -m http.server $PORT")
    wait_for(lambda: platform.app("from-registry")[0] == 200, 10, "the port that the image exposes is served")
    log = wait_for(lambda: (text := alice.deis("logs", "-a", "from-registry").stdout).count("GET /") and text, 5, "the request is in the log")
    assert "deis[controller]: INFO alice deployed localhost:5555/web:v1" in log
    alice.deis("destroy", "-a", "from-registry", "--confirm=from-registry")


def test_run_executes_a_command_in_the_apps_environment(alice, app):
    assert "one-off-42" in alice.deis("run", "-a", app, "--", "echo one-off-$((40 + 2))").stdout
    # Words after the dashes reach the program as they are.
    assert alice.deis("run", "-a", app, "--", "sh", "-c", "echo hi").stdout.splitlines()[-1] == "hi"
    words = ["it's", "$HOME", "*", "a  b", ""]
    assert alice.deis("run", "-a", app, "--", "printf", "[%s]", *words).stdout.splitlines()[-1] == "[it's][$HOME][*][a  b][]"


def test_config_of_several_lines_survives_pull_and_push(alice, app):
    key = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE 'x' \"y\" $HOME # no comment\n-----END EC PRIVATE KEY-----"
    alice.deis("config:set", f"LINES={key}", "-a", app)
    pulled = alice.deis("config:pull", "-a", app).stdout
    alice.deis("config:unset", "LINES", "-a", app)
    alice.deis("config:push", "-a", app, input=pulled)
    shown = alice.deis("run", "-a", app, "--", "printenv", "LINES").stdout
    assert shown.split("...\n", 1)[1] == key + "\n"
    alice.deis("config:unset", "LINES", "-a", app)


def test_a_one_off_command_means_what_was_written_and_prints_what_it_prints(alice, app):
    pid = alice.deis("run", "-a", app, "--", "echo $$").stdout
    assert re.search(r"^\d+$", pid, re.M), pid
    done = alice.deis("run", "-a", app, "--", "printf 'caf\\351\\n'; exit 5", check=False)
    assert done.returncode == 5 and "caf\ufffd" in done.stdout, done.stdout


def test_restart_replaces_the_pods(alice, platform, app):
    before = hosts_that_answer(platform, app, 5)
    alice.deis("ps:restart", "-a", app)
    wait_for(lambda: hosts_that_answer(platform, app, 5).isdisjoint(before), 20, "other pods answer")


def test_websockets_pass_through_the_router(platform, app):
    import base64
    import os
    import socket

    key = base64.b64encode(os.urandom(16)).decode()
    with socket.create_connection(("127.0.0.1", platform.http), timeout=5) as connection:
        connection.sendall((f"GET /websocket HTTP/1.1\r\nHost: {app}.{platform.domain}\r\nUpgrade: websocket\r\n"
                            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(4096)
        assert b" 101 " in answer.split(b"\r\n")[0], answer
        payload, mask = b"hello", b"\x01\x02\x03\x04"
        connection.sendall(b"\x81" + bytes([0x80 | len(payload)]) + mask +
                           bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))
        frame = answer.split(b"\r\n\r\n", 1)[1]
        while len(frame) < 2 + len(payload):
            frame += connection.recv(4096)
        assert frame[2:7] == payload


def test_unknown_hosts_are_not_found(platform, app):
    assert platform.app("no-such-app")[0] == 404


def test_destroy_removes_the_app_everywhere(alice, platform):
    alice.deploy("shortlived", "hello")
    platform.wait_served("shortlived", "Powered by")
    alice.deis("destroy", "-a", "shortlived", "--confirm=shortlived")
    wait_for(lambda: platform.app("shortlived")[0] == 404, 5, "the route is gone")
    namespaces = json.loads(platform.kubectl("get", "namespaces", "-o", "json"))["items"]
    assert "shortlived" not in [n["metadata"]["name"] for n in namespaces]
    assert "shortlived" not in alice.deis("apps:list").stdout
