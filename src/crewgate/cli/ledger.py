"""`crewgate ledger`: the books of every budget, of one machine or of many.

Reads the ledger itself, so it needs the right to that, and no running gateway.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crewgate.cli.options import config_option, json_option
from crewgate.core.credits import format_credits

if TYPE_CHECKING:
    from crewgate.config import Ledger
    from crewgate.core.ledger import Statement

_LEVELS = {"crew": 0, "run": 1, "branch": None}


@click.group("ledger")
def command() -> None:
    """Say what every crew, run and branch has spent, and keep the tables in order."""


@command.command("migrate")
@config_option
@json_option
def migrate(*, config_path: Path, as_json: bool) -> None:
    """Bring the ledger's tables up to date, or make them."""
    from crewgate.ledger import schema
    from crewgate.ledger.opening import open_session

    session = open_session(_ledger(config_path))
    try:
        before, after = schema.migrate(session)
    finally:
        session.close()
    if as_json:
        click.echo(json.dumps({"before": before, "after": after}))
    elif before == after:
        click.echo(f"The tables are of version {after}, as this Crewgate needs them.", err=True)
    else:
        click.echo(f"The tables were of version {before} and are of version {after}.", err=True)


@command.command("check")
@config_option
@json_option
@click.pass_context
def check(context: click.Context, *, config_path: Path, as_json: bool) -> None:
    """Say whether the books add up; status 1 if they do not."""
    from crewgate.ledger import schema
    from crewgate.ledger.opening import open_session
    from crewgate.ledger.soundness import findings

    session = open_session(_ledger(config_path), readonly=True)
    try:
        schema.require_current(session)
        found = list(findings(session))
    finally:
        session.close()
    if as_json:
        click.echo(json.dumps({"ok": not found, "findings": found}))
    for each in [] if as_json else found:
        click.echo(each)
    if not as_json and not found:
        click.echo("Every level is the sum of its leases.", err=True)
    context.exit(1 if found else 0)


@command.command("report")
@config_option
@click.option(
    "--by",
    type=click.Choice(list(_LEVELS)),
    default="run",
    show_default=True,
    help="A line for each of these; each counts all below it.",
)
@click.option("--crew", metavar="CREW", help="What this crew has.")
@json_option
def report(*, config_path: Path, by: str, crew: str | None, as_json: bool) -> None:
    """Say what was spent, what is held and what is left."""
    from crewgate.ledger.opening import open_ledger

    ledger = open_ledger(_ledger(config_path), readonly=True)
    try:
        statements = ledger.report()
    finally:
        ledger.close_session()
    crews = {each.key: each.name for each in statements if not each.path}
    rows = [
        _row(each, crews[each.path[0]] if each.path else each.name)
        for each in statements
        if _LEVELS[by] in {None, len(each.path)} and (each.path or by == "crew")
    ]
    rows = [row for row in rows if crew in {None, row["crew"]}]
    if as_json:
        click.echo(json.dumps({"rows": rows}))
    else:
        _show(rows, by)


def _ledger(config_path: Path) -> "Ledger":
    from crewgate.config.load import load

    return load(config_path).ledger


def _row(statement: "Statement", crew: str) -> dict[str, Any]:
    return {
        "crew": crew,
        "branch": statement.name if statement.path else None,
        "depth": len(statement.path),
        "closed": statement.closed,
        "quota_micro": statement.quota if statement.path else None,
        "spent_micro": statement.settled,
        "reserved_micro": statement.reserved,
        "leased_micro": statement.leased,
        "burned_micro": statement.burned,
        "left_micro": statement.remaining if statement.path else None,
        "overrun_micro": statement.overrun,
    }


def _show(rows: list[dict[str, Any]], by: str) -> None:
    from crewgate.cli.tables import cells, new_table, open_console, print_table

    console = open_console()
    if not rows:
        console.print("nobody has drawn any credit yet")
        return
    amounts = ["quota", "spent", "reserved", "leased", "burned", "left"]
    shown = [each for each in amounts if by != "crew" or each not in {"quota", "left"}]
    names = ["crew"] if by == "crew" else ["crew", by]
    table = new_table(*names, *shown, "", numbers=tuple(shown))
    for row in rows:
        texts = [row["crew"], *([] if by == "crew" else [row["branch"] or ""])]
        texts += [format_credits(row[f"{each}_micro"]) for each in shown]
        table.add_row(*cells(*texts, "closed" if row["closed"] else ""))
    print_table(console, table)
