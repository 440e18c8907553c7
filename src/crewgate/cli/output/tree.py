"""The output of `crewgate tree`: trees for a person, one document for a script."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from crewgate.cli.output import not_asked
from crewgate.core.credits import format_credits
from crewgate.core.rules.rule import RuleMode, RuleStep
from crewgate.core.terminal_text import printable
from crewgate.ipc.cluster_tree import ClusterTreeRow, MachineShare
from crewgate.ipc.cluster_view import ClusterTree

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


def show(found: ClusterTree, *, as_json: bool) -> None:
    """Print the branches as one JSON document, or as trees for a person.

    Exit with status 1 if some machine gave no answer.
    """
    if as_json:
        click.echo(json.dumps(document(found)))
    else:
        _print(found)
    not_asked.exit_if_any(found.not_asked)


def _print(found: ClusterTree) -> None:
    from crewgate.cli.output.tables import open_console

    console = open_console()
    is_one = len(found.machines) + len(found.not_asked) <= 1
    if not found.rows:
        where = "this machine since its table was" if is_one else "a machine since the tables were"
        console.print(f"no branch has made a call on {where} created")
    for tree in trees(found.rows, is_one=is_one):
        console.print(tree)
    if found.left_out:
        click.echo(
            f"{found.left_out} branches are left out, because there are too many; "
            "`crewgate tree --local` on their machine shows all of them"
        )
    for line in not_asked.lines(found.not_asked):
        click.echo(line)


def document(found: ClusterTree) -> dict[str, Any]:
    """Return what --json prints; amounts are micro-credits, null if unknown or unlimited."""
    rows = found.rows
    return {
        "machines": found.machines,
        "not_asked": not_asked.document(found.not_asked),
        "left_out": found.left_out,
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
                "rule": row.rule or None,
                "rule_step": row.rule_step,
                "rule_mode": row.rule_mode,
                **_amounts(row),
            }
            for row in rows
            if row.branch
        ],
    }


def _amounts(row: ClusterTreeRow) -> dict[str, Any]:
    return {
        "machines": [_share(each) for each in row.machines],
        "spent_micro": row.spent,
        "reserved_micro": row.reserved,
        "burned_micro": row.burned,
        "left_micro": None if row.left < 0 else row.left,
        "leased_micro": row.leased,
        "leased_on": dict(row.leased_on),
    }


def _share(share: MachineShare) -> dict[str, Any]:
    return {
        "machine": share.machine,
        "state": share.state,
        "spent_micro": share.spent,
        "reserved_micro": share.reserved,
        "leased_micro": share.leased,
    }


def trees(rows: Sequence[ClusterTreeRow], *, is_one: bool = True) -> "list[Tree]":
    """Return a tree for each crew; in `rows`, parents come first.

    Unless there `is_one` machine only, each branch says on which machines it has called.
    """
    from rich.text import Text
    from rich.tree import Tree

    found: list[Tree] = []
    nodes: dict[str, Tree] = {}
    crew: str | None = None
    for row in rows:
        if row.crew != crew:  # a machine that lies may leave out the row of the crew
            crew = row.crew
            name = Text(printable(crew), style="bold") if row.branch else _crew(row)
            tree = Tree(name, guide_style="bright_black")
            found.append(tree)
            nodes = {"": tree}
        if not row.branch:
            continue
        # If the parent is no longer on this machine, show the branch under its crew.
        above = nodes.get(row.parent) or nodes[""]
        nodes[row.branch] = above.add(_branch(row, is_one=is_one))
    return found


def _crew(row: ClusterTreeRow) -> "Text":
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


def _branch(row: ClusterTreeRow, *, is_one: bool) -> "Text":
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
    if row.quotas > 1:
        text.append(f" ({format_credits(row.quota)} on each machine)")
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
    if row.rule_step:
        text.append(f", {rule_text(row)}", style="yellow")
    text.append(_who(row), style="bright_black")
    if not is_one:
        text.append(f", on {', '.join(map(_where, row.machines))}")
    return text


def rule_text(row: ClusterTreeRow) -> str:
    """Return what a rule has done about a branch, or would have done."""
    does = f"{row.rule_step}s" if is_step_done(row) else f"would {row.rule_step}"
    return f"rule {printable(row.rule)} {does}"


def is_step_done(row: ClusterTreeRow) -> bool:
    """Return whether a rule has done what its step says.

    A rule that observes only warns: if the branch has ended, a person has revoked it. Of several
    branches above each other whose counts ask for the end, a rule ends the lowest.
    """
    if row.rule_step is RuleStep.WARN:
        return True
    has_ended = row.rule_step is not RuleStep.END or row.state in {"revoked", "closed"}
    return row.rule_mode is RuleMode.ENFORCE and has_ended


def _who(row: ClusterTreeRow) -> str:
    """Return the orchestrator of a branch, and on whose behalf its run acts."""
    orchestrator = f", {printable(row.orchestrator)}" if row.orchestrator else ""
    subject = "" if row.subject in {"", row.orchestrator} else f" for {printable(row.subject)}"
    return orchestrator + subject


def _where(share: MachineShare) -> str:
    """Return the name of a machine, with what the branch has spent there."""
    return f"{printable(share.machine)} ({format_credits(share.spent)})"
