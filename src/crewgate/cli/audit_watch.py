"""What the minting watch saw and did: one document for a script, or a table for a person.

Names in it came from outside once; on a terminal each passes `printable`, never read as markup.
"""

import json
from collections.abc import Callable, Sequence
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from crewgate.audit.query import Watched
from crewgate.core.credits import format_credits
from crewgate.core.printable import printable

_WIDTH: Final = 240  # of a pipe or a file: no line is folded for a screen that is not there
_MICRO: Final = "micro-"


def tell(rows: Sequence[Watched], *, as_json: bool) -> None:
    """On standard output, newest last."""
    if as_json:
        click.echo(json.dumps({"watch": msgspec.to_builtins(rows)}, indent=2))
    elif rows:
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=_WIDTH)
        console.print(_table(rows))
    else:
        click.echo("the minting watch saw nothing unusual")


def _table(rows: Sequence[Watched]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for head in ("time (UTC)", "orchestrator", "step", "stands", "in force", "why", "branch"):
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(
            row.time.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3],
            *(
                Text(printable(text))
                for text in (
                    row.orchestrator,
                    row.step,
                    row.rung if row.was == row.rung else f"{row.was} → {row.rung}",
                    row.in_force,
                    why(row),
                    row.branch,
                )
            ),
        )
    return table


def why(row: Watched) -> str:
    """What was out of bounds, or who did it; credits as people write them."""
    if not row.measure:
        return f"by {row.by}" if row.by == "owner" else ""
    measure = row.measure.removeprefix(_MICRO)
    show: Callable[[int], str] = str if measure == row.measure else format_credits
    if row.usual is None:
        return f"{measure} {show(row.value)}, ceiling {show(row.limit)}"
    return f"{measure} {show(row.value)}, limit {show(row.limit)}, usual {show(row.usual)}"
