"""Parameters that a reader of a call cannot understand: a bare bool, and more than four of them (docs/development.md).

It reads declarations as text, which is fast and needs no compiler: in C++ only a declaration has `bool name` between
parentheses, and only a declaration has a list of nothing but `type name` pairs. What was there before the rule is counted
per file in tools/checks/style.allowed, whose numbers may only fall.
"""

import pathlib
import re

ALLOWED = pathlib.Path(__file__).with_suffix(".allowed")
MOST_PARAMETERS = 4
EXCEPTION = "NOLINT(parameters)"  # on the line of the name, followed by the reason
BLANKED = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'|^\s*#[^\n]*(?:\\\n[^\n]*)*',
                     re.S | re.M)
PARAMETER = re.compile(r"^(?:const\s+|unsigned\s+|struct\s+|typename\s+)*[A-Za-z_][\w:]*(?:<.*>)?(?:::\w+)*(?:\s+const)?"
                       r"(?:\s*[&*]+\s*|\s+)(?:const\s+)?[A-Za-z_]\w*(?:\[\w*\])*(?:\s*=.*)?$", re.S)
# "return f(x)" and its like look like a type and a name.
NO_TYPES = {"return", "co_return", "co_await", "throw", "new", "delete", "case", "else", "goto", "not"}


def without_comments(text):
    """The same text with comments, literals and macros blanked out, so that positions stay."""
    return BLANKED.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)


def split_top_level(text):
    """The pieces between commas that stand in no bracket. "<" counts as one: there are no comparisons in declarations."""
    pieces, depth, start = [], 0, 0
    for at, c in enumerate(text):
        if c in "(<[{":
            depth += 1
        elif c in ")]}" or (c == ">" and text[at - 1] != "-"):
            depth -= 1
        elif c == "," and depth == 0:
            pieces.append(text[start:at].strip())
            start = at + 1
    return [*pieces, text[start:].strip()]


def parameter_lists(text):
    """(position, name, [parameter]) of every list of parameters: functions, constructors, and function types' are not."""
    for found in re.finditer(r"([A-Za-z_~]\w*)\s*\(", text):
        if found.group(1) in ("if", "for", "while", "switch", "catch", "sizeof", "decltype", "requires", "return", "alignas"):
            continue
        depth, at = 1, found.end()
        while depth and at < len(text):
            depth += {"(": 1, ")": -1}.get(text[at], 0)
            at += 1
        parameters = split_top_level(text[found.end():at - 1])
        if parameters != [""] and all(PARAMETER.match(p) and p.split()[0] not in NO_TYPES for p in parameters):
            yield found.start(), found.group(1), parameters


def problems_in(text):
    """(line, what is wrong), in the order of the text."""
    original = text.split("\n")
    text = without_comments(text)
    for position, name, parameters in parameter_lists(text):
        line = text.count("\n", 0, position) + 1
        if EXCEPTION in original[line - 1]:
            continue
        for parameter in parameters:
            if re.match(r"(?:const\s+)?bool\s+\w+", parameter):
                yield line, f"{name} takes a bare bool: {parameter}; an enum or a field of an options struct reads better"
        if len(parameters) > MOST_PARAMETERS:
            yield line, f"{name} takes {len(parameters)} parameters; more than {MOST_PARAMETERS} belong into a struct"


def allowed():
    lines = (line.split() for line in ALLOWED.read_text().splitlines() if line and not line.startswith("#")) if ALLOWED.exists() else []
    return {file: int(number) for number, file in lines}


def check(root, files):
    """Problems beyond those allowed; a file that has become better than its allowance is told, too."""
    before, found = allowed(), {}
    for path in files:
        told = list(problems_in(path.read_text()))
        if told:
            found[str(path.relative_to(root))] = told
    result = []
    for file, told in sorted(found.items()):
        if len(told) > before.get(file, 0):
            result += [f"{file}:{line}: {what}" for line, what in told]
    for file, number in sorted(before.items()):
        if len(found.get(file, [])) < number:
            result.append(f"{file}: only {len(found.get(file, []))} left; run tools/check style --shrink")
    return result


def shrink(root, files, everything=False):
    """Takes what has been mended off the list; `everything` writes a new one."""
    before, lines = allowed(), []
    for path in files:
        file, number = str(path.relative_to(root)), len(list(problems_in(path.read_text())))
        number = number if everything else min(number, before.get(file, 0))
        if number:
            lines.append(f"{number} {file}")
    head = "# Parameters that were there before the rule, per file. These numbers only fall: tools/check style --shrink.\n"
    ALLOWED.write_text(head + "\n".join(lines) + ("\n" if lines else ""))
