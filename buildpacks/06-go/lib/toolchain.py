"""toolchain.py FOLDER WANTED: fetches a Go toolchain (the module golang.org/toolchain, go.dev/ref/mod) from GOPROXY into FOLDER/root.

WANTED is what go.mod says: "1.22" takes the newest 1.22.x, "1.22.3" the newest that is no older, "" the newest of all. Its
hash must be the one that the checksum database GOSUMDB has (asked through the proxy, where that serves it)."""

import base64
import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile

MODULE = "golang.org/toolchain"
KNOWN = re.compile(r"v0\.0\.1-go(\d+)\.(\d+)(?:\.(\d+))?\.linux-amd64$")


def fail(*lines):
    sys.exit("\n".join(f" !     {line}" for line in lines))


def proxies():
    found = [word for word in re.split(r"[,|]", os.environ["GOPROXY"]) if word not in ("", "direct")]
    if "off" in found or not found:
        fail("GOPROXY names no module proxy to fetch Go from.", "The operator can name one for all builds: BUILD_ENV_GOPROXY")
    return [proxy.rstrip("/") for proxy in found]


def get(url, to=None):
    with urllib.request.urlopen(urllib.request.Request(url, headers={"User-Agent": "workflow"}), timeout=120) as answer:
        if to is None:
            return answer.read().decode()
        shutil.copyfileobj(answer, to)


def first(urls, to=None):
    """Of the first that has it."""
    problem = None
    for url in urls:
        try:
            return get(url, to)
        except urllib.error.URLError as error:
            problem = f"{url}: {error}"
    raise LookupError(problem)


def choose(listed, wanted):
    releases = sorted(tuple(int(part or 0) for part in match.groups()) for match in map(KNOWN.match, listed.split()) if match)
    releases = [release for release in releases if release >= (1, 21, 0)]  # before, a release had no toolchain for others
    if not releases:
        fail("The module proxy lists no Go toolchains.")
    if not wanted:
        return releases[-1]
    numbers = tuple(int(part) for part in re.match(r"\d+(\.\d+)*", wanted)[0].split("."))
    if numbers < (1, 21):
        return [release for release in releases if release[:2] == releases[0][:2]][-1]
    same = [release for release in releases if release[:2] == numbers[:2] and release >= numbers]
    if not same:
        newest = {release[:2]: release for release in releases}
        fail(f"go.mod asks for Go {wanted}, which cannot be had. The newest of each:",
             ", ".join(".".join(map(str, release)) for release in newest.values()))
    return same[-1]


def hash_of(path):
    """Hash1 of golang.org/x/mod/sumdb/dirhash: over the sorted list of the files' own hashes."""
    lines = []
    with zipfile.ZipFile(path) as file:
        for name in sorted(file.namelist()):
            with file.open(name) as content:
                lines.append(f"{hashlib.file_digest(content, 'sha256').hexdigest()}  {name}\n")
    return "h1:" + base64.b64encode(hashlib.sha256("".join(lines).encode()).digest()).decode()


def known_hash(version):
    database = os.environ["GOSUMDB"].split()[0].split("+")[0]
    if database == "off":
        return None
    lookup = f"lookup/{MODULE}@{version}"
    text = first([f"{proxy}/sumdb/{database}/{lookup}" for proxy in proxies()] + [f"https://{database}/{lookup}"])
    return re.search(rf"^{re.escape(MODULE)} {re.escape(version)} (h1:\S+)$", text, re.M)[1]


def unpack(path, root, prefix):
    with zipfile.ZipFile(path) as file:
        for entry in file.infolist():
            name = entry.filename.removeprefix(prefix)
            target = os.path.normpath(os.path.join(root, name))
            if not target.startswith(root + os.sep) or name.startswith(("test/", "api/", "doc/")) or entry.is_dir():
                continue
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with file.open(entry) as source, open(target, "wb") as out:
                shutil.copyfileobj(source, out)
            # The zip of a module has no modes; programs lie in these folders.
            if name.startswith(("bin/", "pkg/tool/")):
                os.chmod(target, stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)


def main():
    folder, wanted = sys.argv[1:]
    try:
        release = choose(first([f"{proxy}/{MODULE}/@v/list" for proxy in proxies()]), wanted)
        number = ".".join(map(str, release))
        version = f"v0.0.1-go{number}.linux-amd64"
        print(f"Go {number}", flush=True)
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            first([f"{proxy}/{MODULE}/@v/{version}.zip" for proxy in proxies()], file)
            file.flush()
            expected = known_hash(version)
            if expected and hash_of(file.name) != expected:
                fail(f"What the module proxy sends as Go {number} is not what the checksum database knows.")
            unpack(file.name, os.path.join(folder, "root"), f"{MODULE}@{version}/")
    except LookupError as error:
        fail("Go cannot be fetched: " + str(error), "The operator can name another module proxy for all builds: BUILD_ENV_GOPROXY")


main()
