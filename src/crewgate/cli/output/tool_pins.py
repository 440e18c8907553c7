"""The output about pinned MCP tools: a table, and the changes of a definition."""

import json
import shlex
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from crewgate.core.mcp import tool_ids
from crewgate.core.mcp.pins.definition_diff import diff_lines
from crewgate.core.mcp.pins.endpoint_pins import PinState
from crewgate.core.mcp.pins.tool_definitions import INSTRUCTIONS
from crewgate.core.terminal_text import printable
from crewgate.ipc.pin_messages import Definitions, PinRow

# Digits of a digest in a table, and in a command that a person copies. With 32 digits (128 bits), a
# server cannot find another definition with the same ones.
_TABLE_DIGITS, _COMMAND_DIGITS = 12, 32
# The admin socket's own fields, which no output shows.
_HIDDEN = ("type", "id")


def show_pins(rows: list[PinRow], *, as_json: bool) -> None:
    """Print a row for each tool, or one JSON document."""
    from crewgate.cli.output.tables import open_console, print_table, table_of

    if as_json:
        click.echo(json.dumps({"tools": [_row_document(row) for row in rows]}))
        return
    if not rows:
        click.echo("no client of this machine has listed the tools of an MCP server yet")
        return
    columns: dict[str, Callable[[PinRow], str]] = {
        "tool": _subject,
        "state": lambda row: f"{row.state}, gone" if row.gone else row.state,
        "first seen (UTC)": lambda row: _moment(row.first_seen),
        "changed (UTC)": lambda row: _moment(row.changed),
        "approved (UTC)": lambda row: _moment(row.approved),
        "digest": lambda row: (row.newest or row.digest)[:_TABLE_DIGITS],
    }
    if not any(row.approved for row in rows):
        del columns["approved (UTC)"]
    print_table(open_console(), table_of(columns, rows))


def definition_lines(found: Definitions, config_path: Path) -> Iterator[str]:
    """Yield the lines of `crewgate mcp diff` about one tool."""
    row = found.row
    yield f"{_subject(row)}: {row.state}{_since(row)}"
    if row.state is PinState.PINNED:
        return
    newest = row.newest or row.digest
    if row.newest == row.digest:
        yield "  the server shows the pinned definition again"
    elif found.pinned is None or found.newest is None:
        yield "  the agent has not kept both texts: a definition is long, or there are many"
    else:
        yield from (f"  {line}" for line in diff_lines(found.pinned, found.newest))
    name = "--instructions" if row.name == INSTRUCTIONS else row.name
    config = shlex.quote(str(config_path))
    yield f"to approve it: crewgate mcp approve -c {config} {row.endpoint} {name} \\"
    yield f"    --digest {newest[:_COMMAND_DIGITS]}"


def definition_document(found: Definitions) -> dict[str, Any]:
    """Return a definition for JSON; a text that the agent has not kept is null."""
    texts = {"pinned": found.pinned, "newest": found.newest}
    return _row_document(found.row) | {
        f"{which}_definition": json.loads(text) if text else None for which, text in texts.items()
    }


def as_document(answer: msgspec.Struct) -> dict[str, Any]:
    """Return an answer of the agent for JSON."""
    return {k: v for k, v in msgspec.to_builtins(answer).items() if k not in _HIDDEN}


def _row_document(row: PinRow) -> dict[str, Any]:
    is_tool = row.name != INSTRUCTIONS
    times = {"first_seen": row.first_seen, "changed": row.changed, "approved": row.approved}
    return {
        "endpoint": row.endpoint,
        "name": row.name if is_tool else None,
        "tool": tool_ids.tool_id(row.endpoint, row.name) if is_tool else None,
        "state": row.state.value,
        "digest": row.digest,
        "newest": row.newest or row.digest,
        "gone_since": _iso(row.gone),
    } | {name: _iso(seconds) for name, seconds in times.items()}


def _subject(row: PinRow) -> str:
    if row.name == INSTRUCTIONS:
        return f"{row.endpoint} (instructions)"
    return printable(tool_ids.tool_id(row.endpoint, row.name))


def _since(row: PinRow) -> str:
    at = row.changed or (row.first_seen if row.state is PinState.NEW else 0)
    return f" since {_moment(at)}Z" if at else ""


def _moment(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}" if seconds else ""


def _iso(seconds: int) -> str | None:
    if not seconds:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
