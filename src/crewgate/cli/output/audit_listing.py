"""Prints one listing of `crewgate audit`: a JSON document for a script, or a table for a person."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

import click
import msgspec
from rich.text import Text

from crewgate.audit.cluster_report import ClusterAuditReport
from crewgate.cli.output import not_asked
from crewgate.cli.output.tables import open_console, print_table, table_of

R = TypeVar("R")


def print_listing(
    found: ClusterAuditReport,
    name: str,
    rows: Sequence[R],
    columns: Mapping[str, Callable[[R], str | Text]],
    *,
    nothing: str,
    optional: Collection[str] = (),
    numbers: tuple[str, ...] = (),
    as_json: bool,
) -> None:
    """Print the rows, newest last; exit with status 1 if some machine gave no answer.

    `name` is their member of the document. Without a row, a person reads `nothing`. The `optional`
    columns are there if a row has a text for them; the column `machine`, if several machines were
    asked; and `numbers` are aligned to the right.
    """
    if as_json:
        members = {
            name: msgspec.to_builtins(rows),
            "machines": found.machines,
            "not_asked": not_asked.document(found.not_asked),
        }
        click.echo(json.dumps(members, indent=2))
    elif rows:
        shown = {
            heading: text_of
            for heading, text_of in columns.items()
            if heading not in optional or any(map(text_of, rows))
        }
        if found.is_of_one:
            shown.pop("machine", None)
        print_table(open_console(), table_of(shown, rows, numbers=numbers))
    else:
        click.echo(nothing)
    if not as_json:
        for line in not_asked.lines(found.not_asked):
            click.echo(line)
    not_asked.exit_if_any(found.not_asked)
