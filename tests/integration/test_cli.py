"""The deis client as people and scripts call it: streams, exit statuses, git, terminal, plugins."""

import json
import os
import pathlib
import pty
import select
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from workflow_testing import DEIS, free_port, run, wait_for  # noqa: E402

CONTROLLER = "http://deis.apps.example.net"
REMOTE = "ssh://git@deis-builder.apps.example.net:2222/{}.git"


class Home:
    """A user's home folder with a profile, and a git repository below it."""

    def __init__(self, folder):
        self.folder = folder
        self.repository = folder / "paper-lantern"
        run("git", "init", "-q", self.repository)
        self.env = {k: v for k, v in os.environ.items() if k not in ("DEIS_PROFILE", "NO_COLOR") and "proxy" not in k.lower()}
        self.env["HOME"] = str(folder)

    def log_in(self, controller=CONTROLLER):
        (self.folder / ".deis").mkdir(mode=0o700, exist_ok=True)
        (self.folder / ".deis" / "client.json").write_text(json.dumps({"username": "maya", "controller": controller}))
        return self

    def deis(self, *words, cwd=None, stdin=None):
        done = subprocess.run([str(DEIS), *words], env=self.env, cwd=cwd or self.repository, input=stdin, text=True,
                              capture_output=True, timeout=20)
        return done.returncode, done.stdout, done.stderr

    def remotes(self):
        return run("git", "remote", "-v", cwd=self.repository).stdout


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def test_errors_go_to_standard_error_with_status_1(home):
    assert home.deis() == (1, "", "Usage: deis <command> [<args>...]\n")
    assert home.deis("update") == (1, "", "Found no matching command, try 'deis help'\nUsage: deis <command> [<args>...]\n")
    assert home.deis("apps:list", "-l") == (1, "", "-l requires argument\nUsage: deis apps:list [options]\n")
    status, out, err = home.deis("whoami")
    assert (status, out) == (1, "")
    assert err == (f"Error: Client configuration file not found at: {home.folder}/.deis/client.json\n"
                   "Are you logged in? Use 'deis login' or 'deis register' to get started.\n")


def test_the_profile_is_chosen_by_option_then_variable_then_default(home):
    home.log_in()
    other = home.folder / "other.json"
    other.write_text('{"username":"sam","controller":"http://deis.example.com"}')
    assert home.deis("whoami")[1] == f"You are maya at {CONTROLLER}\n"
    home.env["DEIS_PROFILE"] = str(other)
    assert home.deis("whoami")[1] == "You are sam at http://deis.example.com\n"
    assert home.deis("whoami", "-c", "client")[1] == f"You are maya at {CONTROLLER}\n"
    assert home.deis("logout")[1] == "Logged out\n"
    assert not other.exists()
    assert home.deis("logout") == (0, "Logged out\n", "")


def test_a_broken_profile_is_named(home):
    home.log_in()
    (home.folder / ".deis" / "client.json").write_text("{")
    status, _, err = home.deis("whoami")
    assert status == 1 and "client.json is not a JSON object" in err


def test_git_remotes_are_made_checked_replaced_and_removed(home):
    home.log_in()
    url = REMOTE.format("paper-lantern")
    assert home.deis("git:remote") == (0, "Git remote deis successfully created for app paper-lantern.\n", "")
    assert url in home.remotes()
    assert home.deis("git:remote")[1] == "Remote deis already exists and is correctly configured for app paper-lantern.\n"
    status, _, err = home.deis("git:remote", "-a", "other")
    assert status == 1
    assert err == ("Error: Remote deis already exists, please run 'deis git:remote -f' to overwrite\n"
                   f"Existing remote URL: {url}\nWhen forced, will overwrite with: {REMOTE.format('other')}\n")
    assert home.deis("git:remote", "-f", "-a", "other")[1] == (
        "Deleting git remote deis.\nGit remote deis successfully created for app other.\n")
    assert home.deis("git:remove")[1] == "Git remotes for app other removed.\n"  # the app is found through the remote
    assert home.remotes() == ""
    assert home.deis("git:remove")[2] == "Error: Could not find remote matching app in 'git remote -v'\n"
    assert "not a git repository" in home.deis("git:remote", cwd=home.folder)[2]


def test_an_unknown_word_runs_a_plugin(home):
    programs = home.folder / "bin"
    programs.mkdir()
    plugin = programs / "deis-lamp"
    plugin.write_text('#!/bin/sh\necho "$0" "$@"\nexit 7\n')
    plugin.chmod(0o755)
    home.env["PATH"] = f"{programs}:{home.env['PATH']}"
    assert home.deis("lamp:on", "-c", "prod", "--x") == (7, f"{plugin} on -c prod --x\n", "")
    assert home.deis("help", "lamp")[1] == f"{plugin} --help\n"


def test_the_name_of_the_program_decides_its_names(home):
    other = home.folder / "hephy"
    other.symlink_to(DEIS)
    done = subprocess.run([str(other), "whoami"], env=home.env, text=True, capture_output=True)
    assert f"{home.folder}/.hephy/client.json" in done.stderr and "'hephy login'" in done.stderr


def test_a_controller_that_is_not_there_is_named(home):
    port = free_port()
    status, _, err = home.deis("login", f"http://localhost:{port}", "--username=maya", "--password=x")
    assert status == 1 and err.startswith(f"Error: http://localhost:{port} cannot be reached")
    home.log_in(f"http://localhost:{port}")
    status, out, err = home.deis("apps")
    assert (status, out) == (1, "") and f"localhost:{port}" in err


def on_terminal(home, words, answers, limit=10):
    """What the program shows on a terminal that types an answer at each prompt, and its exit status."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(str(DEIS), ["deis", *words], home.env)
    shown, deadline = b"", time.monotonic() + limit
    answers = list(answers)
    while time.monotonic() < deadline:
        if not select.select([fd], [], [], 0.1)[0]:
            continue
        try:
            data = os.read(fd, 4096)
        except OSError:
            break
        shown += data
        if answers and shown.endswith(answers[0][0].encode()):
            os.write(fd, answers.pop(0)[1].encode() + b"\n")
    else:
        os.kill(pid, signal.SIGKILL)
    return shown.decode().replace("\r\n", "\n"), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_passwords_are_not_shown(home):
    home.log_in()
    shown, status = on_terminal(home, ["passwd"], [("current password: ", "hunter2"), ("new password: ", "secret-one"),
                                                   ("new password (confirm): ", "secret-two")])
    assert status == 1
    assert shown == ("current password: \nnew password: \nnew password (confirm): \n"
                     "Error: Password mismatch, not changing.\n")
    assert home.deis("passwd", stdin="")[2].startswith("Error: a password is needed")


def test_keys_are_refused_before_anything_is_sent(home):
    home.log_in()
    bad = home.folder / "bad.pub"
    bad.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    assert home.deis("keys:add", str(bad))[2] == f"Error: {bad} is not a valid ssh key\n"
    assert home.deis("keys:add", "id", "/no/such.pub")[2] == "Error: open /no/such.pub: no such file or directory\n"


def test_bad_words_are_refused_before_anything_is_sent(home):
    home.log_in(f"http://localhost:{free_port()}")
    refusals = {
        ("scale", "web"): "'web' does not match the pattern 'type=num', ex: web=2",
        ("config:set", "1A=b"): "'1A=b' does not match the pattern 'key=var', ex: MODE=test",
        ("config:push",): "'no' does not match the pattern 'key=var', ex: MODE=test",
        ("limits:set", "web=512Mi"): "web=512Mi doesn't fit format type=#unit or type=# or type=#/#",
        ("labels:set", "a"): "a is invalid, Must be in format key=value",
        ("registry:set", "colour=red"): 'colour is invalid. Valid keys are "username" or "password"',
        ("releases:info", "v"): "v is not in the form 'v#'",
        ("healthchecks:set", "alive", "exec", "x"): "probe type alive is invalid. Must be one of [liveness readiness]",
        ("destroy", "--confirm=other"): "App paper-lantern does not match confirm other, aborting.",
    }
    for words, message in refusals.items():
        status, _, err = home.deis(*words, stdin="no\n")
        assert status == 1 and err.splitlines()[0] == f"Error: {message}", words


def test_the_client_starts_fast(home):
    home.deis("version")
    took = []
    for _ in range(20):
        start = time.monotonic()
        home.deis("version")
        took.append(time.monotonic() - start)
    assert sorted(took)[10] < 0.05  # 3 ms on an idle machine


class Server:
    """Answers in a controller's place, request by request, and remembers what it was sent. It promises to keep connections
    open and closes each after its answer, as a router does that reloads."""

    def __init__(self, answer, tls=None, host="127.0.0.1"):
        self.answer, self.requests, self.connections = answer, [], 0
        self.socket = socket.create_server((host, 0))
        self.port = self.socket.getsockname()[1]
        self.tls = tls
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            try:
                with self.tls.wrap_socket(connection, server_side=True) if self.tls else connection as stream:
                    self._exchange(stream.makefile("rwb"))
            except OSError:
                continue

    def _exchange(self, stream):
        line = stream.readline().decode().split()
        if len(line) != 3:
            return
        headers = {}
        while (header := stream.readline().decode().strip()):
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        body = stream.read(int(headers.get("content-length", 0)))
        self.requests.append((line[0], line[1], headers, body))
        status, more, text = self.answer(line[0], line[1])
        sent = {"Content-Type": "application/json", "DEIS_API_VERSION": "2.3", "Content-Length": str(len(text.encode())), **more}
        stream.write(f"HTTP/1.1 {status} X\r\n".encode() + "".join(f"{k}: {v}\r\n" for k, v in sent.items() if v is not None).encode()
                     + b"\r\n" + text.encode())
        stream.flush()


def as_controller(method, path):
    """As much of a controller as an account needs."""
    if path == "/v2/":
        return 401, {}, "{}"
    if path.startswith("/v2/auth/login"):
        return 200, {}, '{"token": "t0k3n"}'
    if path == "/v2/apps/":
        return 201, {}, '{"id": "shop"}'
    return (204, {"Content-Type": None, "Content-Length": "0"}, "") if method == "DELETE" else (201, {}, "{}")


def test_a_server_that_closes_after_each_answer_is_asked_on_a_fresh_connection_each_time(home):
    with Server(as_controller) as server:
        url = f"http://localhost:{server.port}"
        account = ["--username=maya", "--password=x"]
        assert home.deis("register", url, *account, "--email=m@example.com")[::2] == (0, "")
        assert home.deis("login", url, *account)[::2] == (0, "")
        assert home.deis("create", "shop", "-b", "https://example.com/buildpack.git", "--no-remote")[::2] == (0, "")
        assert home.deis("auth:cancel", *account, "--yes")[::2] == (0, "")
        posts = [path for method, path, _, _ in server.requests if method == "POST"]
        assert posts == ["/v2/auth/register/", "/v2/auth/login/", "/v2/auth/login/", "/v2/apps/", "/v2/apps/shop/config/", "/v2/auth/login/"]
        assert server.connections == len(server.requests)
        assert all(headers["user-agent"].startswith("Hephy Client v") for _, _, headers, _ in server.requests)


def certificate(folder):
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
        "/CN=localhost", "-keyout", folder / "key.pem", "-out", folder / "cert.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def log_in_as(home, controller, **more):
    home.log_in(controller)
    (home.folder / ".deis" / "client.json").write_text(json.dumps({"username": "maya", "controller": controller, "token": "t0k3n",
                                                                   "ssl_verify": False, **more}))


def test_the_token_goes_over_no_redirect_from_https_to_http_and_to_no_other_host(home):
    with Server(lambda *_: (200, {}, '{"results": [], "count": 0}')) as plain:
        def away(to):
            return lambda *_: (302, {"Location": to}, "")

        with Server(away(f"http://localhost:{plain.port}/v2/apps/"), certificate(home.folder)) as secure:
            log_in_as(home, f"https://localhost:{secure.port}")
            status, out, err = home.deis("apps")
            assert (status, out) == (1, "") and "redirects from https to http" in err
            assert secure.requests and not plain.requests
        with Server(away(f"http://127.0.0.1:{plain.port}/v2/apps/")) as other:
            log_in_as(home, f"http://localhost:{other.port}")
            assert home.deis("apps")[0] == 0
            assert other.requests[0][2]["authorization"] == "token t0k3n"
            assert "authorization" not in plain.requests[0][2]


def test_a_page_for_browsers_is_never_shown(home):
    page = "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<hr><center>nginx</center>\r\n</html>\r\n"
    for status, words in {413: "more than the platform takes in one request", 502: "does not answer", 503: "Try again",
                          504: "does not answer", 404: "another server", 401: "another server"}.items():
        with Server(lambda *_, s=status: (s, {"Content-Type": "text/html", "DEIS_API_VERSION": None}, page)) as router:
            log_in_as(home, f"http://localhost:{router.port}")
            for words_of_command in (["config:set", "A=1", "-a", "shop"], ["apps"], ["logs", "-a", "shop"]):
                code, out, err = home.deis(*words_of_command)
                assert code == 1 and words in err and f"({status})" in err, err
                assert "<" not in out + err and "WARNING" not in err


def test_a_server_of_another_version_is_told_once(home):
    with Server(lambda *_: (200, {"DEIS_API_VERSION": "2.1"}, '{"results": [], "count": 0}')) as old:
        log_in_as(home, f"http://localhost:{old.port}")
        assert home.deis("info", "-a", "shop")[2].count("WARNING: Client and server API versions do not match") == 1


@pytest.fixture
def proxy(tmp_path):
    """Debian's tinyproxy, which wants a password, and its log of connections."""
    if not shutil.which("tinyproxy"):
        pytest.skip("tinyproxy is missing: apt-get install tinyproxy-bin")
    port, log = free_port(), tmp_path / "tinyproxy.log"
    config = tmp_path / "tinyproxy.conf"
    config.write_text(f'Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nLogFile "{log}"\nLogLevel Connect\n'
                      "BasicAuth maya s3cret\nDisableViaHeader Yes\n")
    process = subprocess.Popen(["tinyproxy", "-d", "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def listens():
        with socket.socket() as attempt:
            return attempt.connect_ex(("127.0.0.1", port)) == 0

    wait_for(listens, 10, "tinyproxy listens")
    yield f"127.0.0.1:{port}", lambda: log.read_text()
    process.terminate()
    process.wait()


def machines_address():
    """An address of this machine that is not loopback: what a proxy is used for."""
    for interface in json.loads(run("ip", "-j", "-4", "address").stdout):
        for one in interface["addr_info"]:
            if one["scope"] == "global" and not interface["ifname"].startswith("wf-"):
                return one["local"]
    pytest.skip("this machine has only loopback addresses")


def test_proxies_of_the_environment_are_used_for_plain_and_secure_controllers(home, proxy):
    place, log = proxy
    address = machines_address()

    def listing(*_):
        return 200, {}, '{"results": [{"id": "shop"}], "count": 1}'

    with Server(listing, host=address) as plain, Server(listing, certificate(home.folder), host=address) as secure:
        home.env |= {"http_proxy": f"http://maya:s3cret@{place}", "HTTPS_PROXY": f"maya:s3cret@{place}"}
        log_in_as(home, f"http://{address}:{plain.port}")
        assert home.deis("apps") == (0, "=== Apps\nshop\n", "")
        assert f"GET http://{address}:{plain.port}/v2/apps/" in log()
        assert "proxy-authorization" not in plain.requests[-1][2]

        log_in_as(home, f"https://{address}:{secure.port}")
        assert home.deis("apps") == (0, "=== Apps\nshop\n", "")
        assert f"CONNECT {address}:{secure.port}" in log()
        assert secure.requests[-1][2]["authorization"] == "token t0k3n" and "proxy-authorization" not in secure.requests[-1][2]

        through_proxy = log().count("Connect (file descriptor")
        home.env["no_proxy"] = f"example.com,{address}"
        assert home.deis("apps")[0] == 0
        assert log().count("Connect (file descriptor") == through_proxy

        del home.env["no_proxy"]
        home.env["HTTPS_PROXY"] = f"http://{place}"
        status, out, err = home.deis("apps")
        assert (status, out) == (1, "") and "status 407: it wants a user and a password" in err
        home.env["HTTPS_PROXY"] = "socks5://maya:s3cret@localhost:1"
        status, _, err = home.deis("apps")
        assert status == 1 and "only http:// is" in err and "s3cret" not in err


def test_a_proxy_is_not_asked_for_this_machine(home):
    with Server(lambda *_: (200, {}, '{"results": [], "count": 0}')) as server:
        home.env["http_proxy"] = f"http://localhost:{free_port()}"
        log_in_as(home, f"http://deis.localhost:{server.port}")
        assert home.deis("apps") == (0, "=== Apps\n", "")


def test_what_pull_writes_push_reads(home):
    values = {"KEY": "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----\n", "QUOTES": "it's \"so\"\r\n$HOME `x` \\n",
              "BLANKS": "  two  ", "HASH": "a #b", "EMPTY": "", "JSON": '{"a": "b"}', "PLAIN": "postgres://u:p@h/d?x=1#y"}
    with Server(lambda *_: (200, {}, json.dumps({"values": values}))) as server:
        log_in_as(home, f"http://localhost:{server.port}")
        status, pulled, err = home.deis("config:pull", "-a", "shop")
        assert (status, err) == (0, "") and "PLAIN=postgres://u:p@h/d?x=1#y\n" in pulled
        assert home.deis("config:push", "-a", "shop", stdin=f"# ours\n\n{pulled}")[0] == 0
        assert json.loads(server.requests[-1][3])["values"] == values
        assert home.deis("config:push", "-a", "shop", stdin="export A='1'  # one\r\nB = \"x\\ny\"\n")[0] == 0
        assert json.loads(server.requests[-1][3])["values"] == {"A": "1", "B": "x\ny"}


def test_words_after_two_dashes_are_sent_as_they_are(home):
    with Server(lambda *_: (200, {}, '{"exit_code": 0, "output": "hi\\n"}')) as server:
        log_in_as(home, f"http://localhost:{server.port}")
        assert home.deis("run", "-a", "shop", "--", "sh", "-c", "echo hi") == (0, "Running 'sh -c 'echo hi''...\nhi\n", "")
        assert json.loads(server.requests[-1][3]) == {"command": "sh -c 'echo hi'"}
        home.deis("run", "-a", "shop", "ls *.py | wc")
        assert json.loads(server.requests[-1][3]) == {"command": "ls *.py | wc"}


def test_what_the_original_printed_before_it_read_a_file_is_printed(home):
    home.log_in(f"http://localhost:{free_port()}")
    status, out, err = home.deis("certs:add", "shop", "/no/such.pem", "/no/such.key")
    assert (status, out) == (1, "Adding SSL endpoint... ") and err == "Error: open /no/such.pem: no such file or directory\n"


def test_an_empty_whitelist_is_the_servers_to_refuse(home):
    with Server(lambda *_: (201, {}, '{"addresses": [""]}')) as server:
        log_in_as(home, f"http://localhost:{server.port}")
        home.deis("whitelist:add", "", "-a", "shop")
        assert json.loads(server.requests[-1][3]) == {"addresses": [""]}


def test_a_second_key_of_a_name_gets_advice(home):
    key = home.folder / "root.pub"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "root@localhost", "-f", home.folder / "root")
    with Server(lambda *_: (400, {}, '{"id": ["SSH Key with this id already exists."]}')) as server:
        log_in_as(home, f"http://localhost:{server.port}")
        assert home.deis("keys:add", str(key)) == (1, "Uploading root.pub to deis...\n", (
            "Error: There is a key of this name already. Give this one a name of its own: keys:add <name> <file>\n"))
