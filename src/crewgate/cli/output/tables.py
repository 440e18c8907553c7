"""Tables on a terminal or in a file; a row that does not fit is printed as several lines.

The texts of a table came from outside, so each passes `printable`.
"""

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TypeVar

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from crewgate.core.terminal_text import printable

R = TypeVar("R")
# Columns of a pipe or a file, which needs no folding for a screen.
_WIDTH = 240


def open_console() -> Console:
    """Return standard output as a console, as wide as the terminal, or 240 columns for a file."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH)


def print_table(console: Console, table: Table) -> None:
    """Print a table; row by row if the screen is too narrow for whole ids side by side.

    No line ends with blanks. No line is wider than the screen, unless a single word is.
    """
    unlimited = console.options.update(max_width=_WIDTH)
    if console.measure(table, options=unlimited).maximum <= console.width:
        for segments in console.render_lines(table, pad=False):
            line = Text.assemble(*((each.text, each.style or "") for each in segments))
            line.rstrip()
            console.print(line, soft_wrap=True)
        return
    headings = [f"{column.header} " for column in table.columns]
    for row in zip(*(column.cells for column in table.columns), strict=True):
        texts = [cell for cell in row if isinstance(cell, Text)]
        pairs = zip(headings, texts, strict=True)
        named = [Text(heading, "dim") + cell for heading, cell in pairs if cell]
        for line in _flow(named, console.width):
            console.print(line, soft_wrap=True)


def print_labeled(label: str, text: str, width: int) -> None:
    """Print a text after its label of `width` columns; further lines of it are indented.

    A word that is longer than the line stays whole, so that a person can copy it.
    """
    columns = max(open_console().width - width, 1)
    lines = textwrap.wrap(text, columns, break_long_words=False, break_on_hyphens=False)
    for number, line in enumerate(lines or [""]):
        click.echo(f"{'' if number else label:<{width}}{line}")


def _flow(texts: list[Text], width: int) -> list[Text]:
    """Return lines of texts with two spaces between; all but the first are indented.

    A text that is longer than a line has lines of its own, with more indent after the first.
    """
    lines: list[Text] = []
    for text in texts:
        if lines and lines[-1].cell_len + 2 + text.cell_len <= width:
            lines[-1] = lines[-1] + Text("  ") + text
            continue
        indent, parts = Text("  " if lines else ""), [text]
        if indent.cell_len + text.cell_len > width:
            parts = _wrapped(text, width - 4)
        for part in parts:
            part.rstrip()
            lines.append(indent + part)
            indent = Text("    ")
    return lines


def _wrapped(text: Text, width: int) -> list[Text]:
    """Return the lines of a text; a word that is longer than a line stays whole."""
    offsets, used = [], 0
    for word in re.finditer(r"\S+\s*", text.plain):
        if used and used + cell_len(word[0].rstrip()) > width:
            offsets.append(word.start())
            used = 0
        used += cell_len(word[0])
    return [*text.divide(offsets)]


def new_table(*columns: str, numbers: tuple[str, ...] = ()) -> Table:
    """Return an empty table; `numbers` are the right-aligned columns."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        right = name in numbers
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    return table


def table_of(
    columns: Mapping[str, Callable[[R], str | Text]],
    rows: Iterable[R],
    numbers: tuple[str, ...] = (),
) -> Table:
    """Return a table of `rows`; `columns` maps each heading to a function that gives the text."""
    table = new_table(*columns, numbers=numbers)
    for row in rows:
        table.add_row(*cells(*(text_of(row) for text_of in columns.values())))
    return table


def cells(*texts: str | Text) -> list[Text]:
    """Return the cells of a row, with control characters escaped."""
    return [text if isinstance(text, Text) else Text(printable(text)) for text in texts]


def utc(moment: datetime) -> str:
    """Return a time to the millisecond, without a zone: the heading of its column says UTC."""
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
