"""What the documents name must exist: files, links, commands and options of the programs, environment variables.

The documents are README.md, docs/*.md and the README.md of every folder. docs/differences.md may name what the original had.
"""

import re

CODE = re.compile(r"```[^\n]*\n(.*?)```|`([^`\n]+)`", re.S)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
# Paths from the root: what begins with one of the root's own folders.
PATH = re.compile(r"^(?:src|docs|tests|tools|bench|charts|deploy|cmake|buildpacks)(?:/[\w.*-]+)+/?$")
VARIABLE = re.compile(r"^([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=.*)?$")
WORKFLOW = re.compile(r"(?:^|\$ |[;&|] |bin/)workflow ([a-z]\w*)((?: --[a-z][\w-]*(?:[= ][^\s-]\S*)?)*)")
DEIS = re.compile(r"(?:^|\$ |[;&|] |bin/)deis ([a-z]+(?::[a-z]+)?)((?: +[^\s|;&]+)*)")
OPTION = re.compile(r"--([a-z][a-z-]*)")


def code_of(text):
    """Lines of code blocks, and each piece between back-quotes, with its line number."""
    for found in CODE.finditer(text):
        inner = found.group(1) if found.group(1) is not None else found.group(2)
        start = text.count("\n", 0, found.start(1 if found.group(1) is not None else 2)) + 1
        for offset, line in enumerate(inner.split("\n")):
            yield start + offset, line.split("  #")[0].strip()


class Facts:
    """What there is, read from the sources."""

    def __init__(self, root):
        self.root = root
        read = lambda pattern: "\n".join(path.read_text(errors="replace") for path in sorted(root.glob(pattern)) if path.is_file())
        cli = read("src/cli/*.cpp")
        self.deis = {}
        for name, row in re.findall(r'\.name = "([a-z]+(?::[a-z]+)?)",(.*?)\.run = ', cli, re.S):
            self.deis[name] = set(re.findall(r'\{(?:0|\'\w\'), "([a-z-]+)"', row)) | {"help", "config"}
            # Options that several commands share are named by a constant.
            self.deis[name] |= {option for constant, option in re.findall(r"constexpr Option (\w+) = \{[^,]+, \"([a-z-]+)\"", cli +
                                read("src/cli/*.h")) if re.search(rf"\b{constant}\b", row)}
        self.shortcuts = dict(re.findall(r'\{"([a-z:]+)", "([a-z]+:[a-z]+)"\}', read("src/cli/commands.cpp")))
        self.resources = set(re.findall(r'^      \{"([a-z]+)", "[^"]*", "[^"]*", "[a-z]*"\}', read("src/cli/commands.cpp"), re.M))
        self.workflow = set(re.findall(r'^    \{"([a-z]+)", ', read("src/bin/workflow/main.cpp"), re.M))
        self.workflow_options = set(re.findall(r'"--([a-z-]+)"', read("src/**/*.cpp")))
        self.variables = read("src/**/*.cpp") + read("src/**/*.h") + read("charts/**/*") + read("tests/**/*.py") + read("bench/*") + \
            read("buildpacks/**/*") + read("tools/**/*") + read("cmake/*") + read("CMake*") + read("test") + read("quickstart")
        self.presets = set(re.findall(r'"name": "([a-z]+)"', read("CMakePresets.json")))


def problems_of_line(facts, line, may_be_gone):
    for word in line.split():
        word = word.strip(",;:()\"'")
        if PATH.match(word) and not list(facts.root.glob(word.rstrip("/"))) and not (facts.root / word).exists():
            yield f"{word} does not exist"
    variable = VARIABLE.match(line)
    if variable and not may_be_gone and variable.group(1) not in facts.variables:
        yield f"no program knows the variable {variable.group(1)}"
    for command, options in WORKFLOW.findall(line):
        if command not in facts.workflow:
            yield f"there is no `workflow {command}`"
        for option in OPTION.findall(options):
            if option not in facts.workflow_options:
                yield f"`workflow {command}` has no option --{option}"
    for command, rest in DEIS.findall(line):
        name = facts.shortcuts.get(command, command)
        if name in facts.resources and name not in facts.deis:
            continue  # its default verb, or its list of verbs
        if name not in facts.deis and command not in ("help", "foo") and not may_be_gone:
            yield f"there is no `deis {command}`"
        for option in OPTION.findall(rest.split(" -- ")[0]) if name in facts.deis else ():
            if option not in facts.deis[name]:
                yield f"`deis {command}` has no option --{option}"
    for preset in re.findall(r"--preset[ =](\w+)", line):
        if preset not in facts.presets:
            yield f"there is no preset {preset}"


def documents(root):
    return sorted([*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("src/**/README.md"), *root.glob("bench/*.md"),
                   *root.glob("tests/**/README.md"), *root.glob("tools/**/README.md"), *root.glob("charts/**/README.md")])


def check(root):
    facts, problems = Facts(root), []
    for path in documents(root):
        text, here = path.read_text(), path.relative_to(root)
        for target in LINK.findall(text):
            if not re.match(r"[a-z]+:", target) and not (path.parent / target).exists():
                problems.append(f"{here}: the link to {target} leads nowhere")
        for number, line in code_of(text):
            problems += [f"{here}:{number}: {what}" for what in problems_of_line(facts, line, here.name == "differences.md")]
    return problems
