"""The output of `crewgate revocations`: a table for a person, one document for a script."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from crewgate.core.ids import EntityKind
from crewgate.ipc.revocation_messages import RevocationRow

_BY = {"owner": "a person or program there", "overrun": "the gateway: an overrun"}


def show(rows: Sequence[RevocationRow], total: int, *, as_json: bool) -> None:
    """Print the rows, the oldest first; `total` counts all that match."""
    if as_json:
        click.echo(json.dumps(document(rows, total)))
        return
    from crewgate.cli.output.tables import open_console, print_table, table_of

    if rows:
        columns: dict[str, Callable[[RevocationRow], str]] = {
            "since (UTC)": lambda row: _time(row.at),
            "what": _what,
            "crew/role": _whose,
            "by": lambda row: _BY.get(row.by, row.by),
            "on": lambda row: row.origin,
            "why": lambda row: row.reason,
            "until (UTC)": lambda row: _time(row.expires),
        }
        if not any(row.reason for row in rows):
            del columns["why"]
        print_table(open_console(), table_of(columns, rows))
    click.echo(_footer(len(rows), total))


def document(rows: Sequence[RevocationRow], total: int) -> dict[str, Any]:
    """Return what --json prints; times are RFC 3339 in UTC, null if unknown."""
    return {"total": total, "revocations": [_document(row) for row in rows]}


def _document(row: RevocationRow) -> dict[str, Any]:
    found = msgspec.structs.asdict(row)
    times = {name: _rfc(found[name]) for name in ("at", "expires", "before")}
    return {name: value or None for name, value in (found | times).items()} | {
        "coarsened": row.coarsened
    }


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


def _footer(listed: int, total: int) -> str:
    if not total:
        return "nothing is revoked"
    number = "1 revocation is" if total == 1 else f"{total} revocations are"
    more = f"; {total - listed} older ones are not listed; --limit lists more"
    return f"{number} in force{more if total > listed else ''}"
