"""Whatever is wrong, the answer names it and says what to do."""

import json
import os
import socket
import subprocess

import pytest

from workflow_testing import ROOT, WORKFLOW, run


def post(platform, path, body, headers=None):
    return platform.get(f"deis.{platform.domain}", path, "POST", headers) if body is None else raw_post(
        platform, path, body, headers)


def raw_post(platform, path, body, headers=None):
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", platform.http, timeout=20)
    connection.request("POST", path, body=body, headers={"Host": f"deis.{platform.domain}",
                                                         "Content-Type": "application/json", **(headers or {})})
    response = connection.getresponse()
    answer = response.status, response.read().decode()
    connection.close()
    return answer


def token(user):
    return json.loads((user.folder / "client.json").read_text())["token"]


@pytest.mark.parametrize("name", ["Upper", "under_score", "9lives", "-dash", "dash-", "a.b", "x" * 64])
def test_wrong_app_names_are_refused_by_field(alice, platform, name):
    status, body = raw_post(platform, "/v2/apps/", json.dumps({"id": name}), {"Authorization": f"token {token(alice)}"})
    assert status == 400
    assert "id" in json.loads(body)


def test_a_taken_app_name_is_refused(alice, app):
    refused = alice.deis("create", app, "--no-remote", check=False)
    assert refused.returncode != 0 and "already exists" in refused.stdout


def test_malformed_json_is_a_400_that_says_so(alice, platform):
    status, body = raw_post(platform, "/v2/apps/", '{"id": ', {"Authorization": f"token {token(alice)}"})
    assert status == 400 and "JSON" in body


def test_an_oversize_body_is_refused(alice, platform):
    status, _ = raw_post(platform, "/v2/apps/", b'{"id": "' + b"x" * (20 << 20) + b'"}',
                         {"Authorization": f"token {token(alice)}"})
    assert status == 413


def test_a_wrong_ssh_key_is_refused_with_the_reason(alice):
    bad = alice.folder / "bad.pub"
    bad.write_text("ssh-rsa not-a-key someone\n")
    refused = alice.deis("keys:add", bad, check=False)
    assert refused.returncode != 0 and "key" in refused.stdout.lower()


def test_no_token_is_a_401(platform):
    assert platform.get(f"deis.{platform.domain}", "/v2/apps/")[0] == 401


def test_up_names_the_port_that_is_taken(tmp_path):
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = run(WORKFLOW, "up", "--state", tmp_path / "s", "--http-port", port, "--https-port", "28443", "--ssh-port",
                      "28222", "--status-port", "28090", "--api-port", "26443", check=False)
    assert refused.returncode != 0
    assert str(port) in refused.stdout and "--http-port" in refused.stdout


def test_up_lists_every_bad_option(tmp_path):
    refused = run(WORKFLOW, "up", "--state", tmp_path / "s", "--http-port", "0", "--domain", "no good", check=False)
    assert refused.returncode != 0
    assert "--http-port" in refused.stdout and "--domain" in refused.stdout


@pytest.mark.parametrize("command", ["up", "down"])
def test_without_root_it_says_so(command, tmp_path):
    tmp_path.chmod(0o777)
    done = subprocess.run([WORKFLOW, command, "--state", tmp_path / "s"], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, user=65534, group=65534, timeout=30)
    assert done.returncode != 0 and "root" in done.stdout


def test_a_missing_package_is_named(tmp_path):
    """In a mount namespace where containerd is hidden, `up` says what to install."""
    script = f"mount --bind /dev/null /usr/bin/containerd && exec {WORKFLOW} up --state {tmp_path}/s"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=30)
    assert done.returncode != 0 and "apt-get install" in done.stdout and "containerd" in done.stdout


def test_a_full_disk_is_refused_before_anything_starts(tmp_path):
    script = (f"mkdir -p {tmp_path}/s && mount -t tmpfs -o size=8m none {tmp_path}/s && exec {WORKFLOW} up --state {tmp_path}/s"
              " --http-port 28080 --https-port 28443 --ssh-port 28222 --status-port 28090 --api-port 26443")
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=30)
    assert done.returncode != 0 and "GiB free" in done.stdout


def test_unknown_commands_are_named():
    refused = run(WORKFLOW, "no-such-thing", check=False)
    assert refused.returncode == 2 and "no-such-thing" in refused.stdout


__all__ = ["ROOT", "os"]
