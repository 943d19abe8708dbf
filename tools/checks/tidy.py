"""clang-tidy over every source file that waits or has threads, unless its content, as the compiler sees it, has been found
clean before. (The others have nothing of what .clang-tidy is for, and each costs as much as compiling it.)

What is clean is remembered in ~/.cache/workflow/tidy by a digest of the file, of every header of ours that it reaches, of
the flags, the checks and the packages of the system's headers. So a second run checks what has changed and what that
reaches, and nothing else.
"""

import concurrent.futures
import functools
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import tempfile

CACHE = pathlib.Path(os.environ.get("WORKFLOW_CACHE", pathlib.Path.home() / ".cache" / "workflow")) / "tidy"
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)
WAITS = re.compile(r"\bco_(?:await|return|yield)\b|\bstd::j?thread\b|\boffload\b")
# What others' headers hold is read once (tidy_headers.h) instead of by each file. It must have been read with the flags of
# the file: the same for all, since macros that a file does not look at do no harm.
HEADERS = pathlib.Path(__file__).with_name("tidy_headers.h")
FLAGS = ["-O0", "-g0", "-DBOOST_CONTAINER_DYN_LINK", "-DBOOST_CONTAINER_NO_LIB", "-DBOOST_JSON_DYN_LINK", "-DBOOST_JSON_NO_LIB"]
FINDING = re.compile(r"^(/[^:]+):(\d+):\d+: (?:error|warning): (.*)$", re.M)


class Digests:
    def __init__(self, root, folder):
        self.src = root / "src"
        packages = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version}\n", "clang-tidy-19", "libboost1.81-dev",
                                   "libstdc++-12-dev", "libgrpc++-dev", "libssl-dev"], text=True, stdout=subprocess.PIPE).stdout
        self.common = packages + (root / ".clang-tidy").read_text() + HEADERS.read_text() + " ".join(FLAGS)
        self.commands = {entry["file"]: entry["command"] for entry in json.loads((folder / "compile_commands.json").read_text())}
        self.root = str(root)

    @functools.cache
    def content(self, path):
        return path.read_bytes()

    @functools.cache
    def includes(self, path):
        names = INCLUDE.findall(self.content(path).decode(errors="replace"))
        return [found for name in names for found in (self.src / name, path.parent / name) if found.is_file()][:200]

    def of(self, path):
        """What the result depends on, wherever the checkout lies."""
        reached, open_ones = {path}, [path]
        while open_ones:
            for header in self.includes(open_ones.pop()):
                if header not in reached:
                    reached.add(header)
                    open_ones.append(header)
        flags = [word for word in shlex.split(self.commands[str(path)].replace(self.root, ".")) if word.startswith("-")]
        digest = hashlib.sha256(json.dumps([self.common, flags]).encode())
        for file in sorted(reached):
            digest.update(f"\n{file.relative_to(self.src)}\n".encode() + self.content(file))
        return digest.hexdigest()


def precompiled(folder):
    """The headers of others, read once, in `folder`."""
    made = pathlib.Path(folder) / "headers.pch"
    subprocess.run(["clang++-19", "-std=c++23", *FLAGS, "-x", "c++-header", str(HEADERS), "-o", str(made)], check=True)
    return made


def tidy(folder, headers, path):
    """What clang-tidy says about a file: (line, text) pairs, and its whole output when it could not even read it."""
    extra = [f"--extra-arg={flag}" for flag in [*FLAGS, "-include-pch", str(headers)]]
    done = subprocess.run(["clang-tidy-19", "--quiet", "-p", str(folder), *extra, str(path)], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    found = sorted({f"{file}:{line}: {text}" for file, line, text in FINDING.findall(done.stdout)})
    return found if found or done.returncode == 0 else [f"{path}: {done.stdout}{done.stderr}"]


def check(root):
    folder = root / "build"
    if not (folder / "compile_commands.json").exists():
        return ["tidy: build/ is not configured yet: cmake --preset release"]
    CACHE.mkdir(parents=True, exist_ok=True)
    digests = Digests(root, folder)
    # Tests are short-lived programs of one thread: what is looked for here does not hide in them.
    files = sorted(path for path in map(pathlib.Path, digests.commands)
                   if path.is_relative_to(root / "src") and path.is_file() and not path.stem.endswith(("_test", "_fuzz", "_bench"))
                   and WAITS.search(path.read_text()))
    todo = {path: digest for path in files if not (CACHE / (digest := digests.of(path))).exists()}
    print(f"tidy: {len(todo)} of {len(files)} files have changed since they were found clean", flush=True)
    if not todo:
        return []
    problems = set()
    with tempfile.TemporaryDirectory(prefix="tidy-") as temporary, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        headers = precompiled(temporary)
        running = {pool.submit(tidy, folder, headers, path): path for path in todo}
        for number, done in enumerate(concurrent.futures.as_completed(running), 1):
            found = done.result()
            if not found:
                (CACHE / todo[running[done]]).touch()
            print(f"[{number}/{len(todo)}] {running[done].relative_to(root)}" + "".join(f"\n  {text}" for text in found), flush=True)
            problems.update(found)
    return sorted(problem.replace(f"{root}/", "") for problem in problems)
