"""Tables on a terminal or in a file; a row that does not fit is printed as several lines.

The texts of a table came from outside, so each passes `printable`.
"""

import textwrap
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TypeVar

import click
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
    """Print a table; row by row if the screen is too narrow for whole ids side by side."""
    unlimited = console.options.update(max_width=_WIDTH)
    if console.measure(table, options=unlimited).maximum <= console.width:
        console.print(table)
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
    """Return lines of whole texts with two spaces between; all but the first are indented."""
    lines = texts[:1]
    for text in texts[1:]:
        if lines[-1].cell_len + 2 + text.cell_len <= width:
            lines[-1] = lines[-1] + Text("  ") + text
        else:
            lines.append(Text("  ") + text)
    return lines


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
