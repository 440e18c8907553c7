"""The output of `crewgate tree`: trees for a person, one document for a script."""

import json
from typing import TYPE_CHECKING, Any

import click

from crewgate.core.credits import format_credits
from crewgate.core.terminal_text import printable
from crewgate.ipc.admin_messages import TreeRow

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

_IDENTITY = ("parent", "orchestrator", "role", "process", "grant", "subject")
_COLORS = {
    "live": "green",
    "exhausted": "yellow",
    "expired": "bright_black",
    "token-revoked": "magenta",
    "revoked": "red",
    "closed": "red",
}


def show(rows: list[TreeRow], *, as_json: bool) -> None:
    """Print the branches as one JSON document, or as trees for a person."""
    if as_json:
        click.echo(json.dumps(document(rows)))
        return
    from crewgate.cli.output.tables import open_console

    console = open_console()
    if not rows:
        console.print("no branch has made a call on this machine since its table was created")
    for tree in trees(rows):
        console.print(tree)


def document(rows: list[TreeRow]) -> dict[str, Any]:
    """Return what --json prints; amounts are micro-credits, null if unknown or unlimited."""
    return {
        "crews": [
            {"crew": row.crew, "state": row.state, **_amounts(row)}
            for row in rows
            if not row.branch
        ],
        "branches": [
            {
                "crew": row.crew,
                "branch": row.branch,
                **{name: getattr(row, name) or None for name in _IDENTITY},
                "state": row.state,
                "quota_micro": row.quota,
                "overrun_micro": row.overrun,
                **_amounts(row),
            }
            for row in rows
            if row.branch
        ],
    }


def _amounts(row: TreeRow) -> dict[str, Any]:
    return {
        "spent_micro": row.spent,
        "reserved_micro": row.reserved,
        "burned_micro": row.burned,
        "left_micro": None if row.left < 0 else row.left,
        "leased_micro": row.leased,
        "leased_on": dict(row.leased_on),
    }


def trees(rows: list[TreeRow]) -> "list[Tree]":
    """Return a tree for each crew; in `rows`, parents come first."""
    from rich.tree import Tree

    found: list[Tree] = []
    nodes: dict[str, Tree] = {}
    for row in rows:
        if not row.branch:
            tree = Tree(_crew(row), guide_style="bright_black")
            found.append(tree)
            nodes = {"": tree}
            continue
        # If the parent is no longer on this machine, show the branch under its crew.
        above = nodes.get(row.parent) or nodes[""]
        nodes[row.branch] = above.add(_branch(row))
    return found


def _crew(row: TreeRow) -> "Text":
    from rich.text import Text

    text = Text(overflow="fold")
    text.append(printable(row.crew), style="bold")
    text.append(f"  spent {format_credits(row.spent)}")
    if row.left >= 0:
        text.append(" in all")
    for left, window in ((row.left_hour, "this hour"), (row.left_day, "today")):
        if left >= 0:
            text.append(f", {format_credits(left)} left {window}")
    return text


def _branch(row: TreeRow) -> "Text":
    """Return two lines, so that seven levels with whole ids fit into 80 columns."""
    from rich.text import Text

    role = row.role or "ancestor"
    if not row.parent:
        role = f"run ({row.role})" if row.role else "run"
    text = Text(overflow="fold")
    text.append(printable(role), style="bold")
    text.append(f" {printable(row.branch)}\n")
    text.append(row.state, style=_COLORS[row.state])
    text.append(f" {format_credits(row.spent)} of {format_credits(row.quota)} spent")
    if row.state not in {"revoked", "closed"}:
        text.append(f", {format_credits(row.left)} left")
    if row.reserved:
        text.append(f", {format_credits(row.reserved)} reserved")
    if row.leased:
        where = ", ".join(map(printable, row.leased_on))
        text.append(f", {format_credits(row.leased)} leased ({where})")
    if row.burned:
        text.append(f", {format_credits(row.burned)} burned")
    if row.overrun:
        overrun = format_credits(row.overrun)
        text.append(f", ended: answers stated {overrun} more than was reserved", style="red")
    if row.orchestrator:
        text.append(f", {printable(row.orchestrator)}", style="bright_black")
    if row.subject not in {"", row.orchestrator}:
        text.append(f" for {printable(row.subject)}", style="bright_black")
    return text
