"""The output of `crewgate revocations`: a table for a person, one document for a script."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from crewgate.cli.output import not_asked
from crewgate.core.ids import EntityKind
from crewgate.ipc.cluster_view import ClusterRevocationRow, ClusterRevocations
from crewgate.ipc.revocation_messages import RevocationRow

_BY = {"owner": "a person or program there", "overrun": "the gateway: an overrun"}


def show(found: ClusterRevocations, crew: str = "", *, as_json: bool) -> None:
    """Print the revocations, the oldest first; exit with status 1 if a machine gave no answer.

    `crew` is the one that was asked for, or empty.
    """
    if as_json:
        click.echo(json.dumps(document(found)))
    else:
        _print(found, crew)
    not_asked.exit_if_any(found.not_asked)


def _print(found: ClusterRevocations, crew: str) -> None:
    from crewgate.cli.output.tables import open_console, print_table, table_of

    rows, of = found.rows, len(found.machines) + len(found.not_asked)
    if rows:
        columns: dict[str, Callable[[ClusterRevocationRow], str]] = {
            "since (UTC)": lambda row: _time(row.at),
            "what": _what,
            "crew/role": _whose,
            "by": lambda row: _BY.get(row.by, row.by),
            "ordered on": lambda row: row.origin,
            "why": lambda row: row.reason,
            "until (UTC)": lambda row: _time(row.expires),
            "in force on": lambda row: _machines(row, of),
        }
        if of == 1:
            del columns["in force on"]
        if not any(row.reason for row in rows):
            del columns["why"]
        print_table(open_console(), table_of(columns, rows))
    if found.machines:
        click.echo(_footer(len(rows), found.total, crew))
    for line in not_asked.lines(found.not_asked):
        click.echo(line)


def document(found: ClusterRevocations) -> dict[str, Any]:
    """Return what --json prints; times are RFC 3339 in UTC, null if unknown."""
    return {
        "total": found.total,
        "machines": found.machines,
        "not_asked": not_asked.document(found.not_asked),
        "revocations": [_document(row) for row in found.rows],
    }


def _document(row: ClusterRevocationRow) -> dict[str, Any]:
    found = msgspec.structs.asdict(row)
    times = {name: _rfc(found[name]) for name in ("at", "expires", "before")}
    return {name: value or None for name, value in (found | times).items()} | {
        "coarsened": row.coarsened,
        "on": row.on,
        "missing": list(row.missing),
    }


def _machines(row: ClusterRevocationRow, of: int) -> str:
    """Return on how many of all machines it is in force, and which of those asked lack it."""
    lacking = f" (not {', '.join(row.missing)})" if row.missing else ""
    return f"{row.on} of {of}{lacking}"


def _rfc(seconds: int) -> str:
    return (
        datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z") if seconds else ""
    )


def _time(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}" if seconds else "unknown"


def _what(row: RevocationRow) -> str:
    name = row.name or f"(key {row.key})"
    if row.coarsened:
        return f"all tokens of crew {name}, because its share was full"
    if row.kind == EntityKind.CREW.label:
        return f"all tokens of crew {name}"
    return f"{row.kind} {name}"


def _whose(row: RevocationRow) -> str:
    return f"{row.crew}/{row.role}" if row.role else row.crew


def _footer(listed: int, total: int, crew: str) -> str:
    if not total:
        return f"nothing of crew {crew} is revoked" if crew else "nothing is revoked"
    number = "1 revocation is" if total == 1 else f"{total} revocations are"
    more = f"; {total - listed} older ones are not listed; --limit lists more"
    return f"{number} in force{more if total > listed else ''}"
