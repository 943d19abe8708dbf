"""What must not get out: secrets in logs, another's data in answers; and what must not get in: requests without bounds."""

import json
import pathlib
import socket
import statistics
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from controller_under_test import (  # noqa: E402, F401
    BUILDER_KEY, Api, build, cluster, postgres, said, start_controller)
from workflow_testing import run  # noqa: E402


@pytest.fixture(scope="module")
def controller(start_controller, cluster):  # noqa: F811
    return start_controller(cluster.kubeconfig, LOG_LEVEL="debug", LOGIN_FAILURES="0", DEIS_DEPLOY_HOOK_URLS="http://127.0.0.1:9/hook",
                            DEIS_DEPLOY_HOOK_SECRET_KEY="zq7-hook-key", S3_SECRET_KEY="zq7-store-secret",
                            DATABASE_PASSWORD="zq7-database")


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pem")
    run("openssl", "req", "-x509", "-nodes", "-days", "9", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=zq7-name",
        "-keyout", folder / "key", "-out", folder / "crt")
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "zq7-comment", "-f", folder / "ssh")
    return {name: (folder / name).read_text() for name in ("key", "crt", "ssh.pub")}


@pytest.fixture(scope="module")
def owner(controller, cluster, pem):  # noqa: F811
    """A user with something of everything, each marked `zq7`, and an app."""
    controller.register("admin", "zq7-password-of-admin")
    user = controller.register("owner", "zq7-password")
    user.app = user.create_app()
    path = f"/v2/apps/{user.app}"
    done = [
        user.post(f"{path}/config/", {"values": {"PORT": "5000", "KEY": "zq7-value"}, "registry": {"username": "zq7-user", "password": "zq7-registry"},
                                      "lifecycle_post_start": {"web": "echo zq7-hook"}}),
        build(user, user.app, cluster.image, procfile={"web": "serve --password zq7-command"}),
        user.post(f"{path}/settings/", {"label": {"note": "zq7-label"}, "whitelist": ["203.0.113.77"]}),
        user.post(f"{path}/domains/", {"domain": "zq7.example.com"}),
        user.post("/v2/certs/", {"name": "zq7-cert", "certificate": pem["crt"], "key": pem["key"]}),
        user.post("/v2/certs/zq7-cert/domain/", {"domain": "zq7.example.com"}),
        user.post("/v2/keys/", {"id": "zq7-key", "public": pem["ssh.pub"]}),
        user.post("/v2/tokens/", {"name": "zq7-token"})]
    assert [a.status_code for a in done] == [201] * 8, [a.text for a in done]
    user.named_token = done[-1].json()["token"]
    return user


def test_no_secret_is_logged_at_any_level(owner, controller, cluster, pem):  # noqa: F811
    path = f"/v2/apps/{owner.app}"
    anonymous = controller.anonymous()
    # And what goes wrong is told without what was sent.
    anonymous.post("/v2/auth/login/", {"username": "owner", "password": "zq7-wrong"})
    owner.post("/v2/auth/passwd/", {"password": "zq7-wrong", "new_password": "zq7-next"})
    owner.post("/v2/auth/passwd/", {"password": "zq7-password", "new_password": "zq7-next"})
    owner.post(f"{path}/config/", {"values": {"1BAD": "zq7-value"}})
    owner.post(f"{path}/config/", {"values": {"KEY": "zq7-other"}}, headers={"Idempotency-Key": "a"})
    owner.call("POST", f"{path}/config/", data='{"values": {"KEY": "zq7-broken', headers={"Content-Type": "application/json"})
    owner.post("/v2/certs/", {"name": "x", "certificate": pem["crt"], "key": pem["key"].replace("A", "B", 3)})
    build(owner, owner.app, cluster.missing_image, procfile={"web": "serve --password zq7-command"})
    Api(controller.url, headers={"X-Deis-Builder-Auth": "zq7-guess"}).get("/v2/hooks/keys/" + owner.app)
    controller.builder().get("/v2/hooks/keys/" + owner.app)
    Api(controller.url, "zq7-no-token").get("/v2/apps/")
    controller.sql("alter table configs rename to elsewhere")
    try:
        assert owner.post(f"{path}/config/", {"values": {"KEY": "zq7-last"}}).status_code == 500
    finally:
        controller.sql("alter table elsewhere rename to configs")
    log = controller.output()
    assert "level=debug" in log or "level=info" in log
    for secret in ("zq7-password", "zq7-wrong", "zq7-next", "zq7-value", "zq7-other", "zq7-broken", "zq7-last", "zq7-registry", "zq7-command", "zq7-hook",
                   "zq7-store-secret", "zq7-guess", "zq7-no-token", "PRIVATE KEY", pem["key"].splitlines()[1], owner.token, owner.named_token, BUILDER_KEY):
        assert secret not in log, [line for line in log.splitlines() if secret in line][:3]


def test_no_secret_is_kept_where_it_is_not_needed(owner, controller):
    everything = controller.sql("select row_to_json(e) from events e") + controller.sql("select row_to_json(t) from tokens t") + controller.sql(
        "select row_to_json(u) from users u")
    for secret in ("zq7-value", "zq7-registry", "zq7-command", "zq7-password", owner.token, owner.named_token):
        assert secret not in everything, secret


def test_no_answer_shows_a_stranger_what_is_anothers(owner, controller):
    stranger = controller.register("stranger")
    described = controller.anonymous().get("/v2/openapi.json").json()["paths"]
    seen = 0
    values = {"{app}": owner.app, "{version}": "v2", "{type}": "web", "{name}": "zq7-cert", "{job}": "1", "{uuid}": "x", "{domain}": "zq7.example.com",
              "{username}": "owner", "{fingerprint}": "x"}
    for path, operations in described.items():
        if "get" not in operations:
            continue
        for name, value in values.items():
            path = path.replace(name, value)
        path = path.replace("{id}", "zq7-key" if "/keys/" in path else "1")
        for query in ("", "?limit=1000", "?limit=1000&offset=0&since=0"):
            answer = stranger.get(path + query)
            shown = answer.text + json.dumps(dict(answer.headers))
            assert "zq7" not in shown.replace("zq7-key", "", shown.count(path)) and "203.0.113.77" not in shown, (path, shown[:500])
            assert owner.app not in shown.replace(path, ""), (path, shown[:500])
            seen += 1
    assert seen > 100


def test_what_is_taken_is_said_without_saying_by_whom(owner, controller, pem):
    other = controller.register("other")
    for path, body in (("/v2/apps/", {"id": owner.app}), ("/v2/keys/", {"id": "mine", "public": pem["ssh.pub"]}),
                       ("/v2/certs/", {"name": "zq7-cert", "certificate": pem["crt"], "key": pem["key"]})):
        answer = other.post(path, body)
        assert answer.status_code == 400 and "owner" not in answer.text, answer.text


def test_guessing_a_name_takes_as_long_as_guessing_a_password(owner, controller):
    def seconds(username):
        took = []
        for _ in range(5):
            began = time.monotonic()
            assert controller.anonymous().post("/v2/auth/login/", {"username": username, "password": "wrong"}).status_code == 400
            took.append(time.monotonic() - began)
        return statistics.median(took)

    assert 0.4 < seconds("nobody-of-that-name") / seconds("owner") < 2.5


@pytest.mark.parametrize("header", ["X-Deis-Builder-Auth", "Authorization"])
def test_an_empty_or_a_partial_key_opens_nothing(owner, controller, header):
    whole = BUILDER_KEY if header == "X-Deis-Builder-Auth" else f"token {owner.token}"
    path = f"/v2/hooks/keys/{owner.app}" if header == "X-Deis-Builder-Auth" else "/v2/auth/whoami/"
    for text in ("", whole[:-1], whole + "0", whole.upper(), "%00"):
        if text.upper() == whole:
            continue
        assert Api(controller.url, headers={header: text}).get(path).status_code == 401, text
    assert Api(controller.url, headers={header: whole}).get(path).status_code == 200


def raw(controller, text):
    with socket.create_connection(("127.0.0.1", controller.port), timeout=20) as connection:
        connection.sendall(text)
        return connection.recv(1000)


def test_a_request_without_bounds_is_refused(owner, controller):
    head = f"Host: x\r\nAuthorization: token {owner.token}\r\nContent-Type: application/json\r\n".encode()
    assert raw(controller, b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + head + b"\r\n")[9:12] in (b"414", b"431", b"400", b"413")
    many = b"".join(b"X-%d: y\r\n" % n for n in range(20_000))
    assert raw(controller, b"GET /v2/ HTTP/1.1\r\n" + head + many + b"\r\n")[9:12] in (b"431", b"400", b"413")
    assert raw(controller, b"POST /v2/apps/ HTTP/1.1\r\n" + head + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")[9:12] == b"400"

    def endless():
        for _ in range(400):
            yield b'"' + b"x" * 65536

    before = memory(controller)
    answer = owner.call("POST", "/v2/apps/", data=endless(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413, answer.text
    assert memory(controller) - before < 64
    assert owner.get("/v2/").status_code == 200


def memory(controller):
    status = pathlib.Path(f"/proc/{controller.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024
