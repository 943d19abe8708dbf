"""The deis client as people and scripts call it: streams, exit statuses, git, terminal, plugins."""

import json
import os
import pathlib
import pty
import select
import signal
import stat
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from workflow_testing import DEIS, free_port, run  # noqa: E402

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
