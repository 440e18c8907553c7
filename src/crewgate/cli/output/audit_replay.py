"""The output of `crewgate audit replay` and `verify-export`."""

import textwrap
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import click
import msgspec

from crewgate.audit.replay.branch_life import BranchSnapshot
from crewgate.audit.replay.recorded_runs import RecordedRun, RecordedRuns
from crewgate.audit.replay.run_replay import RunReplay, merged
from crewgate.audit.replay.step_words import many
from crewgate.audit.replay.timeline import ReplayStep, Timeline, timeline
from crewgate.audit.replay.verification import ExportReport, VerifiedMachine
from crewgate.cli.output import not_asked
from crewgate.cli.output.tables import open_console, print_labeled, print_table, table_of, utc
from crewgate.core.audit.records import when
from crewgate.core.credits import format_credits
from crewgate.core.rules.rule import RuleMode, RuleStep
from crewgate.core.terminal_text import printable

_LABEL = 11  # columns
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
    for line in _text(found, steps, open_console().width):
        click.echo(line)
    for missing in not_asked.lines(found.not_asked):
        click.echo(missing, err=True)
    if html_path is not None:
        click.echo(f"written to {printable(str(html_path))}")


def _text(found: RunReplay, steps: Timeline, width: int) -> Iterator[str]:
    crew = f" of crew {found.question.crew}" if found.question.crew else ""
    if not steps.steps:
        yield f"no line of run {found.question.run}{crew} in this time"
        return
    yield f"run {found.question.run}{crew}"
    names = [each.machine for each in found.machines]
    chars = _chars(steps)
    day = ""
    for step in steps.steps:
        moment = when(step.moment_us * 1000)
        if f"{moment:%Y-%m-%d}" != day:
            day = f"{moment:%Y-%m-%d}"
            yield f"{day} (UTC)"
        yield from _step(step, steps, names if len(names) > 1 else [], chars, width)
    yield ""
    yield "after the last step"
    yield from _branches(steps, chars, width)
    yield from _notes(found)


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
        counts = f"{many(snapshot.calls, 'call')}, {snapshot.refused} refused, {spent}"
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
    if len(found.machines) > 1:
        yield "clocks of machines can differ: the order between them is only about right"
    for each in found.machines:
        name = printable(each.machine) or "this machine"
        if each.left_out and each.left_out_from is not None:
            since = f"{utc(each.left_out_from)} UTC"
            more = many(each.left_out, "more line")
            yield f"{name}: {more} from {since} on did not fit; use --since"
        if each.unreadable:
            yield f"{name}: {many(each.unreadable, 'line')} with this id cannot be read as records"


def show_report(report: ExportReport, *, as_json: bool) -> None:
    """Print what was found in an export."""
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
        return
    for label, text in _report(report):
        print_labeled(label, printable(text), _LABEL)


def _report(report: ExportReport) -> Iterator[tuple[str, str]]:
    yield "run", f"{report.run} of crew {report.crew}" if report.crew else report.run
    if report.since is not None:
        yield "from", f"{utc(report.since)[:23]} UTC: the file has no earlier lines"
    if report.until is not None:
        yield "until", f"{utc(report.until)[:23]} UTC: the file has no later lines"
    for each in report.machines:
        yield "machine", each.machine or "(without a name)"
        yield from (("", text) for text in _machine(each))
    yield from (("not asked", name) for name in report.not_asked)
    if not report.compares_words:
        yield "words", "another version of Crewgate wrote the file: only its lines were verified"
    for finding in report.findings:
        yield "WRONG", finding
    if report.is_proven:
        yield "result", "the lines are as the machines have signed them"
    else:
        yield "result", "NOT as the machines have signed it"


def _machine(each: VerifiedMachine) -> Iterator[str]:
    yield f"key {each.key}" + ("" if each.is_known else ", which you did not name")
    yield f"{many(each.lines, 'line')} of the run, as stated at {utc(each.made)[:19]} UTC"
    if each.until is not None:
        yield f"{each.covered} of them signed by checkpoints until {utc(each.until)[:19]} UTC"
    if each.unsigned:
        yield f"{each.unsigned} of them newer than the newest checkpoint"
    if each.changed:
        yield f"{each.changed} of them NOT as they were signed: their file had changed"
    if each.left_out:
        yield f"{many(each.left_out, 'more line')} did not fit"
    if each.unreadable:
        yield f"{many(each.unreadable, 'line')} with the id of the run cannot be read as records"
