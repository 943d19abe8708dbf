"""Where Debian packages come from on this machine, and root file systems made of them."""

import os
import pathlib
import re
import subprocess

SUITE = "bookworm"


def sources():
    """mmdebstrap arguments for this machine's own Debian suites; other vendors' archives are left out."""
    files = [pathlib.Path("/etc/apt/sources.list"), *sorted(pathlib.Path("/etc/apt/sources.list.d").glob("*"))]
    lines, stanzas = [], []
    for file in files:
        if not file.is_file():
            continue
        text = file.read_text()
        if file.suffix == ".sources":
            stanzas += [s.strip() for s in re.split(r"\n\s*\n", text) if re.search(rf"^Suites:.*\b{SUITE}\b", s, re.M)
                        or re.search(rf"^Suites:.*\b{SUITE}-(security|updates)\b", s, re.M)]
        else:
            lines += [l for l in text.splitlines() if re.match(rf"deb\s+(\[[^]]*\]\s+)?\S+\s+{SUITE}(-updates|-security)?\s+.*\bmain\b", l)]
    return lines, stanzas


def apt_options():
    """The machine's proxy and certificate settings, for the making only."""
    dump = subprocess.run(["apt-config", "dump"], text=True, stdout=subprocess.PIPE, check=True).stdout
    return [line.rstrip(";") for line in dump.splitlines() if re.match(r'Acquire::https?::(Proxy|CaInfo)\b.* "[^"]', line)]


def make_root(target, packages, hooks=(), variant="essential", log=None):
    """A root file system with these packages, as a tar or a folder; `hooks` are mmdebstrap options."""
    lines, stanzas = sources()
    arguments = ["mmdebstrap", "--mode=root", f"--variant={variant}", f"--include={','.join(packages)}",
                 "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-include=/usr/share/doc/*/copyright",
                 "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/info/*",
                 "--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=force-confold", "--aptopt=Acquire::Retries \"3\"",
                 *[f"--aptopt={option}" for option in apt_options()], *hooks, SUITE, str(target)]
    extra = None
    if stanzas:
        extra = pathlib.Path(str(target) + ".sources")
        extra.write_text("\n\n".join(stanzas + []) + "\n")
        arguments.append(str(extra))
    arguments += lines
    env = dict(os.environ, SOURCE_DATE_EPOCH="1700000000", DEBIAN_FRONTEND="noninteractive")
    try:
        with open(log or os.devnull, "w") as out:
            done = subprocess.run(arguments, stdout=out, stderr=subprocess.STDOUT, env=env, check=False)
    finally:
        if extra:
            extra.unlink(missing_ok=True)
    if done.returncode != 0:
        raise RuntimeError(f"mmdebstrap failed; see {log}")
