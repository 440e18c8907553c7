"""Tables on a terminal or in a file, whose texts came from outside once.

Decides how a row is shown that does not fit; knows nothing of what it says.
"""

from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from crewgate.core.terminal_text import printable

_WIDTH = 240  # of a pipe or a file: no line is folded for a screen that is not there


def open_console() -> Console:
    """Standard output, as wide as a terminal is, or as a file may be."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH)


def print_table(console: Console, table: Table) -> None:
    """As a table, or row by row where the screen is too narrow for whole ids side by side."""
    room = console.options.update(max_width=_WIDTH)
    if console.measure(table, options=room).maximum <= console.width:
        console.print(table)
        return
    heads = [f"{column.header} " for column in table.columns]
    for row in zip(*(column.cells for column in table.columns), strict=True):
        texts = [cell for cell in row if isinstance(cell, Text)]
        named = [Text(head, "dim") + cell for head, cell in zip(heads, texts, strict=True) if cell]
        for line in _flow(named, console.width):
            console.print(line, soft_wrap=True)


def _flow(texts: list[Text], width: int) -> list[Text]:
    """Lines of whole texts with two spaces between; all but the first are indented."""
    lines = texts[:1]
    for text in texts[1:]:
        if lines[-1].cell_len + 2 + text.cell_len <= width:
            lines[-1] = lines[-1] + Text("  ") + text
        else:
            lines.append(Text("  ") + text)
    return lines


def new_table(*columns: str, numbers: tuple[str, ...] = ()) -> Table:
    """An empty table; `numbers` are the columns that stand to the right."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        right = name in numbers
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    return table


def cells(*texts: str | Text) -> list[Text]:
    """A row of a table: a text that came from outside cannot drive the terminal."""
    return [text if isinstance(text, Text) else Text(printable(text)) for text in texts]


def utc(moment: datetime) -> str:
    """A time as tables have it, to the millisecond; its column says that it is UTC."""
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
