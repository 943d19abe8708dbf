"""What bin/compile asks about an app's files: `scripts`: whether the project has programs of its own to install; `pipfile`:
what Pipfile.lock says, as requirements."""

import json
import sys
import tomllib


def has_scripts():
    with open("pyproject.toml", "rb") as file:
        project = tomllib.load(file)
    return bool(project.get("project", {}).get("scripts") or project.get("tool", {}).get("poetry", {}).get("scripts"))


def requirement(name, entry):
    extras = "[" + ",".join(entry["extras"]) + "]" if entry.get("extras") else ""
    marker = f" ; {entry['markers']}" if entry.get("markers") else ""
    if "git" in entry:
        subfolder = f"#subdirectory={entry['subdirectory']}" if "subdirectory" in entry else ""
        return f"{name}{extras} @ git+{entry['git']}@{entry['ref']}{subfolder}{marker}"
    if "path" in entry:
        return entry["path"]
    if "file" in entry:
        return f"{name}{extras} @ {entry['file']}{marker}"
    hashes = "".join(f" --hash={one}" for one in entry.get("hashes", []))
    return f"{name}{extras}{entry['version']}{marker}{hashes}"


def print_pipfile():
    with open("Pipfile.lock") as file:
        locked = json.load(file)
    sources = [source["url"] for source in locked["_meta"].get("sources", [])]
    # pip's own settings know the operator's index; another one is the app's.
    for url in sources:
        if "pypi.org/" not in url:
            print("--extra-index-url", url)
    for name, entry in locked["default"].items():
        print(requirement(name, entry))


if sys.argv[1] == "scripts":
    sys.exit(0 if has_scripts() else 1)
print_pipfile()
