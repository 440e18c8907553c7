"""Plain text as Markdown that shows it as it is, and tables."""

import re
from collections.abc import Iterable, Sequence

_CODE = re.compile(r"(`[^`]+`)")
_SPECIAL = re.compile(r"([\\*_\[\]<>|$#{}~])")


def text(plain: str) -> str:
    """One paragraph of `plain`, escaped; what stands between backquotes is code, as in Markdown."""
    parts = _CODE.split(" ".join(plain.split()))
    return "".join(
        code(part[1:-1]) if number % 2 else _SPECIAL.sub(r"\\\1", part)
        for number, part in enumerate(parts)
    )


def code(plain: str) -> str:
    """`plain` in backquotes; a table's cell may hold it."""
    return f"`{plain.replace('|', chr(92) + '|')}`"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
