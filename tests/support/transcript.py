"""Transcripts: files of commands and what they print.

    # A comment.
    $ kubectl create namespace demo
    namespace/demo created
    $new kubectl auth whoami        (only with the newest kubectl; $old: only with Debian's)
    ...
    $ kubectl get pod none
    Error from server (NotFound): pods "none" not found
    [exit 1]
    [old]                           (Debian's prints something else: what follows)
    ...

In what is expected, runs of blanks are one blank, `*` stands for any text within a line, and a line `...` for any lines.
WORKFLOW_RECORD=1 rewrites a file with what was printed, ages and other accidents replaced by `*`: read the difference.
"""

import re
import subprocess


class Step:
    def __init__(self, line, kind, command):
        self.line, self.kind, self.command, self.before = line, kind, command, []
        self.new, self.old = [], None  # what is printed; None: the same

    def expected(self, kubectl):
        return self.old if kubectl == "old" and self.old is not None else self.new

    def record(self, kubectl, printed):
        if kubectl == "old" and self.kind == "":
            self.old = printed
        else:
            self.new = printed


def parse(path):
    steps, loose = [], []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        started = re.match(r"\$(new|old|) (.*)", line)
        if started:
            steps.append(Step(number, started[1], started[2]))
            steps[-1].before, loose = loose, []
        elif line.startswith("#") or not line.strip():
            loose.append(line)
        elif line == "[old]":
            steps[-1].old = []
        else:
            step = steps[-1]
            (step.new if step.old is None else step.old).append(line)
    return steps


def plain(line):
    return re.sub(r"\s+", " ", line).strip()


def matches(expected, printed):
    """Whether the lines match, `...` and `*` included."""
    if not expected:
        return not printed
    if expected[0].strip() == "...":
        return any(matches(expected[1:], printed[i:]) for i in range(len(printed) + 1))
    if not printed:
        return False
    pattern = ".*".join(re.escape(part) for part in plain(expected[0]).split("*"))
    return re.fullmatch(pattern, plain(printed[0])) is not None and matches(expected[1:], printed[1:])


def run(step, env, cwd):
    done = subprocess.run(["timeout", "45", "bash", "-c", step.command], env=env, cwd=cwd, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    printed = [line for line in done.stdout.splitlines() if line.strip()]
    return printed + ([f"[exit {done.returncode}]"] if done.returncode else [])


ACCIDENTS = (
    (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "*"),
    (r"\w{3}, \d\d \w{3} \d{4} [\d:]+ [+-]\d{4}", "*"),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "*"),
    (r"-[bcdfghjklmnpqrstvwxz2456789]{8,10}(-[bcdfghjklmnpqrstvwxz2456789]{5})?\b", "-*"),
    (r"\b10\.43\.\d+\.\d+\b", "10.43.*"), (r"\b10\.42\.\d+\.\d+\b", "10.42.*"),
    (r"(resourceVersion: |\"resourceVersion\": )\"?\d+\"?", r"\1*"), (r"(?<=\s)\d+[smh](\d+s)?(?= ago|\s|$)", "*"),
    (r"pod-template-hash=\w+", "pod-template-hash=*"), (r"127\.0\.0\.1:\d+", "127.0.0.1:*"), (r"\x1b\[[\d;]*m", "*"),
    (r":3\d{4}/", ":*/"), (r"eyJ[\w.-]+", "*"))


def recorded(line):
    for pattern, instead in ACCIDENTS:
        line = re.sub(pattern, instead, line)
    return line.rstrip()


def write(path, steps):
    lines = []
    for step in steps:
        lines += [*step.before, f"${step.kind} {step.command}", *step.new]
        if step.old is not None:
            lines += ["[old]", *step.old]
    path.write_text("\n".join(lines) + "\n")
