"""Which tests ask the machine for the time of day: they themselves, or what they name of a file.

What they name of a `conftest.py` above them counts too. The text is searched, so a new test is
found as soon as it is there. A script for another process, between three quotes, does not count:
such tests are about processes, and the time is a stamp to them.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parents[1]
CLOCK = re.compile(
    r"\btime\.(?:time|time_ns|gmtime|localtime|ctime|strftime)\b|\bCLOCK_REALTIME\b"
    r"|\b(?:date|datetime)\.(?:now|utcnow|today)\b"
)
# A clock by another name would not be found.
RENAMED = re.compile(
    r"^ *(?:from time import|import time as|from datetime import.* as )", re.MULTILINE
)
SCRIPT = re.compile(r'"{3}.*?"{3}', re.DOTALL)


def names_of(path: Path) -> list[str]:
    """The tests of a file that do, by name."""
    return sorted(name for name in readers(path) if name.startswith("test_"))


@cache
def readers(path: Path) -> frozenset[str]:
    """Functions, classes and values of a file that do, or that name one that does."""
    found: frozenset[str] = frozenset()
    if path.parent not in {TESTS, path.parents[-1]}:
        above = path.parents[1] if path.name == "conftest.py" else path.parent
        found = readers(above / "conftest.py")
    text = path.read_text() if path.exists() else ""
    if not found and not CLOCK.search(text):
        return frozenset()
    parts = list(_parts(text))
    while True:
        known = "|".join([CLOCK.pattern, *(rf"\b{name}\b" for name in found)])
        more = found.union(*(names for names, code in parts if re.search(known, code)))
        if more == found:
            return found
        found = more


def _parts(text: str) -> Iterator[tuple[set[str], str]]:
    """What the top of a file defines: the names, and the text with its decorators."""
    lines = text.splitlines()
    for node in ast.parse(text).body:
        first = node.lineno
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = {node.name}
            first = min([first, *(each.lineno for each in node.decorator_list)])
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {x.id for each in targets for x in ast.walk(each) if isinstance(x, ast.Name)}
        else:
            continue
        yield names, SCRIPT.sub("", "\n".join(lines[first - 1 : node.end_lineno]))
