"""The limits, as the files of `crewgate.limits` write them: name, value, unit, reason."""

import ast
import inspect
import re
from pathlib import Path
from typing import NamedTuple

from _generate.markdown import code, table, text
from crewgate import limits

# The name of a limit says its unit. The first of these whose words stand in the name holds.
_UNITS = {
    "micro": "micro-credits",
    "bytes_per_second": "bytes a second",
    "per_second": "a second",
    "per_hour": "an hour",
    "days": "days",
    "seconds": "seconds",
    "ms": "milliseconds",
    "ns": "nanoseconds",
    "bytes": "bytes",
    "chars": "characters",
    "ppm": "millionths",
    "share": "share",
    "ratio": "ratio",
}
_TITLES = {"__init__": "General", "control_api": "Control API"}
_POWERS = {2**30: "GiB", 2**20: "MiB", 2**10: "KiB"}
_ASSIGNMENT = re.compile(r"(\w+) = (.*?)(?:  # (.*))?")
_LONG = 10**12  # a larger number is shown as its file writes it, such as 2**40 - 1


class Limit(NamedTuple):
    """One limit, as its file has it: `expression` is the source of its value."""

    name: str
    expression: str
    reason: str


class Section(NamedTuple):
    """Limits that stand together below one comment of a file."""

    title: str
    limits: list[Limit]


def markdown() -> str:
    """A section for each file, with a table for each of its parts."""
    folder = Path(inspect.getfile(limits)).parent
    files = sorted(folder.glob("*.py"), key=lambda path: (path.stem != "__init__", path.stem))
    return "\n".join(_of_file(path) for path in files)


def _of_file(path: Path) -> str:
    source = path.read_text(encoding="utf-8")
    summary = (ast.get_docstring(ast.parse(source)) or "").partition("\n\n")[0]
    parts = [
        f"## {_TITLES.get(path.stem, path.stem.replace('_', ' ').capitalize())}\n",
        f"{text(summary)}\n",
    ]
    for section in sections(source):
        title, _, more = section.title.partition(". ")
        if title:
            parts.append(f"**{text(title)}.** {text(more)}\n")
        rows = [(code(each.name), *_value(each), text(each.reason)) for each in section.limits]
        parts.append(table(("name", "value", "unit", "reason"), rows))
    return "\n".join(parts)


def sections(source: str) -> list[Section]:
    """Read a file of limits.

    A comment after an empty line is the title of a section; one after a limit belongs to the limit
    below it, as does the comment at the end of that limit's line.
    """
    found = [Section("", [])]
    comment: list[str] = []
    is_title = False
    before = ""
    for line in source.splitlines():
        if line.startswith("#"):
            if not before.startswith("#"):
                comment, is_title = [], not before
            comment.append(line.removeprefix("#").strip())
        elif assignment := _ASSIGNMENT.fullmatch(line):
            if is_title:
                found.append(Section(" ".join(comment).rstrip("."), []))
                comment, is_title = [], False
            name, expression, reason = assignment.groups(default="")
            reasons = [*comment, reason]
            found[-1].limits.append(Limit(name, expression, " ".join(filter(None, reasons))))
            comment = []
        before = line
    return [section for section in found if section.limits]


def unit(name: str) -> str:
    """The unit that the name of a limit says; that of a plain number is empty."""
    return next((text for words, text in _UNITS.items() if f"_{words}_" in f"_{name}_"), "")


def _value(limit: Limit) -> tuple[str, str]:
    """The value and its unit, as a person reads them."""
    value, named = getattr(limits, limit.name), unit(limit.name)
    if isinstance(value, tuple):
        return ", ".join(f"{each:,}" for each in value), named
    if isinstance(value, int) and named == "bytes":
        for power, symbol in _POWERS.items():
            if value >= power and value % power == 0:
                return f"{value // power:,}", symbol
    if isinstance(value, int) and value >= _LONG:
        return code(limit.expression), named
    return f"{value:,}", named
