"""Breaks the lines of a text between words if they are longer than the terminal is wide.

A pipe or a file gets each line whole, because a program reads it.
"""

import os
import re
import sys
from collections.abc import Iterable
from textwrap import wrap

import click

# What a person copies: a command or a name.
_QUOTED = re.compile("`[^`]*`")
_NO_BREAK = "\0"  # no text for a terminal has it


def terminal_columns(*, err: bool = False) -> int:
    """Return how wide the terminal of standard output or error is; 0 if it is no terminal."""
    stream = sys.stderr if err else sys.stdout
    try:
        return os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
    except (OSError, ValueError):
        return 0


def between_words(lines: Iterable[str], columns: int, indent: str = "") -> list[str]:
    """Return lines of at most `columns`, unless a word is longer; 0 leaves all as they are.

    A text in backquotes is one word, so that a person can copy it. All but the first part of a line
    begin with `indent`.
    """
    if not columns:
        return list(lines)
    return [part for line in lines for part in _parts(line, columns, indent)]


def print_wrapped(text: str, *, err: bool = False) -> None:
    """Print lines, between words if they are too long for the terminal."""
    lines = between_words(text.splitlines(), terminal_columns(err=err), "  ")
    click.echo("\n".join(lines), err=err)


def _parts(line: str, columns: int, indent: str) -> list[str]:
    if len(line) <= columns:
        return [line]
    whole = _QUOTED.sub(lambda found: found[0].replace(" ", _NO_BREAK), line)
    parts = wrap(
        whole, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return [part.replace(_NO_BREAK, " ") for part in parts]
