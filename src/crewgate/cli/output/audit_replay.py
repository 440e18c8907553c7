"""The output of `crewgate audit replay`."""

import textwrap
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import click
import msgspec

from crewgate.audit.replay.branch_replay import BranchSnapshot
from crewgate.audit.replay.recorded_runs import RecordedRun, RecordedRuns
from crewgate.audit.replay.run_replay import RunReplay, merged
from crewgate.audit.replay.step_text import plural
from crewgate.audit.replay.timeline import ReplayStep, Timeline, timeline
from crewgate.cli.output import not_asked
from crewgate.cli.output.tables import open_console, print_table, table_of, utc
from crewgate.core.audit.records import when
from crewgate.core.credits import format_credits
from crewgate.core.rules.rule import RuleMode, RuleStep
from crewgate.core.terminal_text import printable

# How much of an id is shown: up to a hyphen, and so much that no two branches look the same.
_BEGINNINGS = (8, 13, 18, 23)
_ID_CHARS = 36


def show_runs(found: RecordedRuns, now: datetime, *, as_json: bool) -> None:
    """Print the runs, the newest last, as they had ended `now`."""
    if as_json:
        document = msgspec.to_builtins(found)
        click.echo(msgspec.json.encode(document).decode())
        return
    if not found.runs:
        click.echo("the audit has no run in this time", err=True)
    else:
        columns = {
            "first (UTC)": lambda run: utc(run.first)[:19],
            "last": lambda run: utc(run.last)[:19],
            "crew": lambda run: run.crew,
            "run": lambda run: run.run,
            "subject": lambda run: run.subject,
            "branches": lambda run: str(run.branches),
            "calls": lambda run: str(run.calls),
            "refused": lambda run: str(run.refused),
            "spent": lambda run: format_credits(run.spent_micro),
            "state": lambda run: run.how_ended(now),
        }
        numbers = ("branches", "calls", "refused", "spent")
        rows: list[RecordedRun] = found.runs[::-1]
        print_table(open_console(), table_of(columns, rows, numbers))
    for line in not_asked.lines(found.not_asked):
        click.echo(line, err=True)


def show(found: RunReplay, html_path: Path | None, *, as_json: bool) -> None:
    """Print the steps, what they came to, and the file that was written."""
    steps = timeline(merged(found.machines), found.question.run)
    if as_json:
        document = {
            "crew": found.question.crew,
            "run": found.question.run,
            "machines": [each.machine for each in found.machines],
            "not_asked": not_asked.document(found.not_asked),
            "left_out": sum(each.left_out for each in found.machines),
            **msgspec.to_builtins(steps),
        }
        click.echo(msgspec.json.encode(document).decode())
        return
    names = [each.machine for each in found.machines]
    for line in step_lines(found.question.crew, found.question.run, names, steps):
        click.echo(line)
    if steps.steps:
        for line in _notes(found):
            click.echo(line)
    for missing in not_asked.lines(found.not_asked):
        click.echo(missing, err=True)
    if html_path is not None:
        click.echo(f"written to {printable(str(html_path))}")


def step_lines(crew: str, run: str, machines: list[str], steps: Timeline) -> Iterator[str]:
    """Yield the lines that show the steps of a run, and what they came to, on the terminal."""
    width = open_console().width
    of_crew = f" of crew {printable(crew)}" if crew else ""
    if not steps.steps:
        yield (
            f"the audit has no line of run {printable(run)}{of_crew} in this time; without RUN, "
            "`crewgate audit replay` lists the runs"
        )
        return
    yield f"run {printable(run)}{of_crew}"
    chars = _chars(steps)
    day = ""
    for step in steps.steps:
        moment = when(step.moment_us * 1000)
        if f"{moment:%Y-%m-%d}" != day:
            day = f"{moment:%Y-%m-%d}"
            yield f"{day} (UTC)"
        yield from _step(step, steps, machines if len(machines) > 1 else [], chars, width)
    yield ""
    yield "after the last step"
    yield from _branches(steps, chars, width)
    if len(machines) > 1:
        yield "clocks of machines can differ: the order between them is only about right"


def _chars(steps: Timeline) -> int:
    """Return how much of an id is shown."""
    for chars in _BEGINNINGS:
        if len({each.branch[:chars] for each in steps.branches}) == len(steps.branches):
            return chars
    return _ID_CHARS


def _step(
    step: ReplayStep, steps: Timeline, names: list[str], chars: int, width: int
) -> Iterator[str]:
    branch = steps.branches[step.branch].branch[:chars] if step.branch >= 0 else ""
    machine = f"{names[step.machine]:<{max(map(len, names))}}  " if names else ""
    moment = f"{when(step.moment_us * 1000):%H:%M:%S.%f}"[:-3]
    label = f"{moment}  {printable(machine)}{branch:<{chars}}  "
    lines = textwrap.wrap(step.words, max(width - len(label), 20), break_on_hyphens=False)
    yield f"{label}{lines[0] if lines else ''}"
    yield from (" " * len(label) + line for line in lines[1:])


def _branches(steps: Timeline, chars: int, width: int) -> Iterator[str]:
    """Yield a line for each branch as it was after the last step, parents before children."""
    last: dict[int, BranchSnapshot] = {}
    for step in steps.steps:
        last |= dict(step.changes)
    below: dict[str, list[int]] = {}
    for number, branch in enumerate(steps.branches):
        below.setdefault(branch.parent, []).append(number)
    waiting = [(number, 0) for number in reversed(below.get("", []))]
    while waiting:
        number, depth = waiting.pop()
        branch, snapshot = steps.branches[number], last[number]
        spent = f"{format_credits(snapshot.spent)} spent"
        counts = f"{plural(snapshot.calls, 'call')}, {snapshot.refused} refused, {spent}"
        still = f", {snapshot.open} open" if snapshot.open else ""
        rule = f", {rule_text(snapshot)}" if snapshot.rule else ""
        who = f"{branch.branch[:chars]} {branch.role}"
        text = f"{who}: {snapshot.state}, {counts}{still}{rule}"
        indent = "  " * (depth + 1)
        yield from textwrap.wrap(
            printable(text), width, initial_indent=indent, subsequent_indent=f"{indent}  "
        )
        waiting += [(each, depth + 1) for each in reversed(below.get(branch.branch, []))]


def rule_text(snapshot: BranchSnapshot) -> str:
    """Return the last step of a rule; one that only observes would have done it."""
    is_observing = snapshot.rule_mode == RuleMode.OBSERVE and snapshot.rule_step != RuleStep.WARN
    return f"rule {snapshot.rule}: {'would ' if is_observing else ''}{snapshot.rule_step}"


def _notes(found: RunReplay) -> Iterator[str]:
    for each in found.machines:
        name = printable(each.machine) or "this machine"
        if each.left_out and each.left_out_from is not None:
            since = f"{utc(each.left_out_from)} UTC"
            more = plural(each.left_out, "more line")
            yield f"{name}: {more} from {since} on did not fit; use --since"
        if each.unreadable:
            lines = plural(each.unreadable, "line")
            yield f"{name}: {lines} with this id cannot be read as records"
