"""`crewgate ledger report` and `reconcile`: costs by the ledger, by the audit, and compared."""

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from crewgate.cli.options import CREW_NAME, config_option, json_option, print_result
from crewgate.config import Config
from crewgate.config.load import load
from crewgate.core.budget.ledger_protocol import AccountStatement
from crewgate.core.credits import format_credits
from crewgate.core.cross_crew_accounts import caller
from crewgate.core.ids import crew_key
from crewgate.ledger.factory import open_ledger

if TYPE_CHECKING:
    from crewgate.audit.query_results import CallGroup

_LEVELS = {"crew": 0, "run": 1, "branch": None}
_MACHINE = "machine"
# The ledger does not know these; the audit does.
_AUDITED = ["role", "tool", "day"]


@click.command("report")
@config_option
@click.option(
    "--by",
    type=click.Choice([*_LEVELS, _MACHINE, *_AUDITED]),
    default="run",
    show_default=True,
    help="A row for each. Crew, run and branch include everything below; machine counts what a "
    "machine drew; role, tool and day come from the audit.",
)
@click.option("--crew", type=CREW_NAME, metavar="CREW", help="Only rows of this crew.")
@json_option
def report(*, config_path: Path, by: str, crew: str | None, as_json: bool) -> None:
    """Show what was spent, what is held and what is left."""
    config = load(config_path)
    if by in _AUDITED:
        rows = [_audited(each) for each in _groups(config, by, crew)]
    elif by == _MACHINE:
        rows = _leased(config, crew)
    else:
        rows = [_row(*each) for each in _named(config) if _is_level(each[0], by)]
        rows = [row for row in rows if crew in {None, row["crew"]}]
    if as_json:
        click.echo(json.dumps({"rows": rows}))
    else:
        _show(rows, by)


@click.command("reconcile")
@config_option
@json_option
@click.pass_context
def reconcile(context: click.Context, *, config_path: Path, as_json: bool) -> None:
    """Compare the ledger with the audit, branch by branch; exit status 1 if they differ.

    The command reads all audit files that this machine has kept. Calls in flight count as
    differences, and so do costs that a machine has not reported to the ledger yet (for up to a
    second): run the command while no call is in flight.
    """
    config = load(config_path)
    audited = {(each.crew, each.key): each for each in _groups(config, "branch", None)}
    found = []
    for (crew, branch), booked in _booked(_named(config)).items():
        seen = audited.pop((crew, branch), None)
        logged = (seen.cost_micro, seen.burned_micro) if seen else (0, 0)
        own = booked.spent, booked.burned
        if logged != own:
            found.append(_Difference(booked.account, branch, *own, *logged, booked.leased))
    for (crew, branch), each in audited.items():
        if branch and each.cost_micro + each.burned_micro:
            found.append(_Difference(crew, branch, 0, 0, each.cost_micro, each.burned_micro))
    text = "\n".join(map(_explained, found)) or "Ledger and audit agree to the micro-credit."
    document = {"ok": not found, "differences": msgspec.to_builtins(found)}
    print_result(document, text, as_json=as_json, err=not found)
    if any(each.ledger_spent_micro > each.audit_spent_micro for each in found):
        click.echo(
            "note: the audit has no calls of programs that embed the verifier, so the command "
            "shows their costs as differences",
            err=True,
        )
    context.exit(1 if found else 0)


class _Difference(msgspec.Struct, frozen=True):
    """A branch of which the ledger and the audit have different costs."""

    crew: str
    branch: str
    ledger_spent_micro: int
    ledger_burned_micro: int
    audit_spent_micro: int
    audit_burned_micro: int
    leased_micro: int = 0


def _explained(row: _Difference) -> str:
    ledger = _spent_and_burned(row.ledger_spent_micro, row.ledger_burned_micro)
    audit = _spent_and_burned(row.audit_spent_micro, row.audit_burned_micro)
    held = format_credits(row.leased_micro)
    unreported = f"; a machine may still have to report a part of {held} leased credits"
    text = f"{row.crew} {row.branch}: the ledger has {ledger}, the audit {audit}"
    return text + (unreported if row.leased_micro else "")


def _spent_and_burned(spent: int, burned: int) -> str:
    return f"{format_credits(spent)} spent and {format_credits(burned)} burned"


class _Booked(msgspec.Struct):
    """What the ledger has for one branch itself, without the branches below it; micro-credits."""

    account: str
    spent: int = 0
    burned: int = 0
    leased: int = 0

    def add(self, statement: AccountStatement, sign: int) -> None:
        self.spent += sign * statement.settled
        self.burned += sign * statement.burned
        self.leased += sign * statement.leased


def _booked(named: list[tuple[AccountStatement, str]]) -> dict[tuple[str, str], _Booked]:
    """Return what the ledger has for each branch, by its calling crew and its id.

    For a call that a [[crossing]] allows, the ledger has the account that paid, and the audit has
    the crew that called (`cross_crew_accounts`). If a token of this crew has the id of the branch
    too, the audit cannot tell the two branches apart, so this function adds them up.
    """
    branches: dict[bytes, tuple[str, str]] = {}
    found: dict[tuple[str, str], _Booked] = {}
    for statement, account in named:
        if statement.path:
            branch = branches[statement.key] = caller(account), statement.name
            found.setdefault(branch, _Booked(account)).add(statement, 1)
            parent = branches.get(statement.path[-1])
            if parent:
                found[parent].add(statement, -1)
    return found


def _named(config: Config) -> list[tuple[AccountStatement, str]]:
    """Return each level of the ledger with the name of its crew, ancestors first."""
    ledger = open_ledger(config.ledger, readonly=True)
    with closing(ledger.session):
        statements = ledger.report()
    crews = {each.key: each.name for each in statements if not each.path}
    return [(each, crews[each.path[0]] if each.path else each.name) for each in statements]


def _leased(config: Config, crew: str | None) -> list[dict[str, Any]]:
    """Return a row for each machine: what it drew and spent, still leases, and lost."""
    ledger = open_ledger(config.ledger, readonly=True)
    with closing(ledger.session):
        found = ledger.by_holder(None if crew is None else crew_key(crew))
    return [
        {
            "machine": name,
            "spent_micro": totals.settled,
            "reserved_micro": totals.reserved,
            "leased_micro": totals.idle,
            "burned_micro": totals.burned,
            "overrun_micro": totals.overrun,
        }
        for name, totals in sorted(found.items())
    ]


def _is_level(statement: AccountStatement, by: str) -> bool:
    depth = len(statement.path)
    return depth == _LEVELS[by] if _LEVELS[by] is not None else depth > 0


def _groups(config: Config, by: str, crew: str | None) -> "list[CallGroup]":
    from crewgate.audit.filters import AuditFilter, GroupBy
    from crewgate.audit.queries import AuditQueries

    with closing(AuditQueries(config.audit.folder)) as audit:
        return audit.groups(AuditFilter(crew=crew), GroupBy(by))


def _audited(group: "CallGroup") -> dict[str, Any]:
    return {
        "key": group.key,
        "crew": group.crew or None,
        "calls": group.permitted,
        "spent_micro": group.cost_micro,
        "burned_micro": group.burned_micro,
        "overrun_micro": group.overrun_micro,
    }


def _row(statement: AccountStatement, crew: str) -> dict[str, Any]:
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
    from crewgate.cli.output.tables import cells, new_table, open_console, print_table

    console = open_console()
    if not rows:
        console.print("no branch has drawn any credits yet")
        return
    amounts = ["quota", "spent", "reserved", "leased", "burned", "left"]
    shown = [each for each in amounts if rows[0].get(f"{each}_micro") is not None]
    shown += ["overrun"] if any(row["overrun_micro"] for row in rows) else []
    if by in _LEVELS:
        keys = ["crew"] if by == "crew" else ["crew", "branch"]
    else:
        keys = [_MACHINE] if by == _MACHINE else ["key", "calls"]
    headings = [by if key in {"key", "branch"} else key for key in keys]
    table = new_table(*headings, *shown, "", numbers=("calls", *shown))
    for row in rows:
        texts = [_text(key, row[key]) for key in keys]
        texts += [format_credits(row[f"{each}_micro"]) for each in shown]
        table.add_row(*cells(*texts, "closed" if row.get("closed") else ""))
    print_table(console, table)


def _text(key: str, value: str | int | None) -> str:
    """Return the text of a cell; a call that was refused for its path has no tool."""
    if key == "key":
        return str(value or "(unknown)")
    return "" if value is None else str(value)
