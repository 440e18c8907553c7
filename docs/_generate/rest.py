"""Plain text as reStructuredText that shows it as it is."""

import re
import textwrap
from collections.abc import Iterable

_CODE = re.compile(r"`([^`]+)`")
_SPECIAL = re.compile(r"([\\*`|_]|:(?=//))")  # else a URL would be a link
_BLANKS = re.compile(r"\s+")


def text(plain: str) -> str:
    """One paragraph; text between backquotes is code."""
    parts = _CODE.split(_BLANKS.sub(" ", plain))
    return "".join(
        strong(part) if number % 2 else _escaped(part) for number, part in enumerate(parts)
    )


def strong(plain: str) -> str:
    """Text that a reader types as it is. The escaped blanks at its ends are not shown."""
    return rf"\ **{_escaped(plain)}**\ "


def emphasis(plain: str) -> str:
    """A word that stands for another one, such as FILE."""
    return rf"\ *{_escaped(plain)}*\ "


def section(title: str, *parts: str, mark: str = "=") -> str:
    """A heading and what stands below it."""
    escaped = _escaped(title)
    return "\n\n".join([f"{escaped}\n{mark * len(escaped)}", *parts])


def definitions(rows: Iterable[tuple[str, str]]) -> str:
    """A list of terms and their meanings, both in reStructuredText."""
    return "\n\n".join(f"{term}\n{textwrap.indent(meaning, '  ')}" for term, meaning in rows)


def literal(plain: str) -> str:
    """Lines that stay as they are."""
    return "::\n\n" + textwrap.indent(plain, "  ")


def _escaped(plain: str) -> str:
    return _SPECIAL.sub(r"\\\1", plain)
