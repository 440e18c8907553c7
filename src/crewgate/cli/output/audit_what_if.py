"""The output of `crewgate audit what-if`: one document for a script, or tables for a person.

A person sees one row for each branch, with the strongest step; a script gets each step.
"""

import copy
import json
from collections.abc import Callable, Iterator, Sequence

import click
import msgspec
from rich.text import Text

from crewgate.audit.replayed_records import ReadProgress
from crewgate.audit.what_if_results import ReplayedStep, WhatIf
from crewgate.cli.output.tables import open_console, print_table, table_of, utc
from crewgate.config import Config
from crewgate.config.judged_tools import covers, judged_tools
from crewgate.core.credits import format_credits
from crewgate.core.rules.rule import STEPS, LoopRules, RuleKind, RuleStep


def show(found: WhatIf, notes: Sequence[str], *, limit: int, as_json: bool) -> None:
    """Print what rules would have done, and at most `limit` branches."""
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(found) | {"notes": notes}, indent=2))
        return
    console = open_console()
    rows = _strongest(found.steps)
    listed = sorted(rows, key=lambda row: (-row.saved_micro, -row.saved_calls, row.time))[:limit]
    if listed:
        columns = dict(_COLUMNS)
        if not any(row.caller for row in listed):
            del columns["called by"]
        print_table(
            console, table_of(columns, listed, numbers=("count", "saved calls", "saved credits"))
        )
    for line in (*_sums(found, rows, len(listed)), *notes):
        console.print(Text(line))


def _strongest(steps: Sequence[ReplayedStep]) -> list[ReplayedStep]:
    """Return the strongest step of each branch, with all that was saved there."""
    found: dict[tuple[str, str, str], ReplayedStep] = {}
    for each in steps:
        key = each.machine, each.crew, each.branch
        known = found.get(key)
        if known is None:
            found[key] = copy.copy(each)
            continue
        calls, micro = known.saved_calls + each.saved_calls, known.saved_micro + each.saved_micro
        stronger = each if _rank(each) > _rank(known) else known
        found[key] = msgspec.structs.replace(stronger, saved_calls=calls, saved_micro=micro)
    return list(found.values())


def _rank(row: ReplayedStep) -> tuple[bool, int]:
    """Return how strong a step is; one in observe mode is weaker than a refusal."""
    return row.is_enforced and row.step is not RuleStep.WARN, STEPS.index(row.step)


def _amount(row: ReplayedStep) -> str:
    is_credits = row.rule_kind is RuleKind.CREDITS_PER_MINUTE
    return format_credits(row.count) if is_credits else str(row.count)


_COLUMNS: dict[str, Callable[[ReplayedStep], str]] = {
    "time (UTC)": lambda row: utc(row.time),
    "step": lambda row: row.step if row.is_enforced else f"would {row.step}",
    "crew/role": lambda row: f"{row.crew}/{row.role}".rstrip("/"),
    "branch": lambda row: row.branch,
    "rule": lambda row: row.rule,
    "count": _amount,
    "tool": lambda row: row.tool,
    "request": lambda row: row.request,
    "called by": lambda row: row.caller,
    "saved calls": lambda row: str(row.saved_calls),
    "saved credits": lambda row: format_credits(row.saved_micro),
}


def _sums(found: WhatIf, rows: Sequence[ReplayedStep], listed: int) -> Iterator[str]:
    if len(rows) > listed:
        yield f"{len(rows) - listed} more branches are not listed; --limit lists more"
    if found.first is None or found.last is None:
        yield "the audit has no such call"
        return
    yield (
        f"{_counted(found.calls, 'permitted call')} from {utc(found.first)[:19]} to "
        f"{utc(found.last)[:19]} UTC, for {format_credits(found.cost_micro)} credits"
    )
    acting = [row for row in rows if row.is_enforced]
    would = len(rows) - len(acting)
    words = {RuleStep.END: "ended", RuleStep.REFUSE: "refused a call", RuleStep.WARN: "warned"}
    numbers = [f"{sum(row.step is step for row in acting)} {words[step]}" for step in words]
    observed = f"; {would} only observed" if would else ""
    yield f"branches: {', '.join(numbers)}{observed}"
    yield (
        f"saved: {_counted(found.saved_calls, 'call')}, {format_credits(found.saved_micro)} credits"
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _watching_nothing(loops: LoopRules, config: Config) -> Iterator[str]:
    """Yield what a rule names and the configuration lacks; the file of rules may have a typo."""
    crews, tools = {crew.name for crew in config.crews}, judged_tools(config)
    for rule in loops.rules:
        if rule.crew is not None and rule.crew not in crews:
            yield f"Rule {rule.name}: the configuration has no crew {rule.crew}."
        for pattern in rule.tools:
            if not any(covers(pattern, tool) for tool in tools):
                yield f"Rule {rule.name}: {pattern} covers no tool of the configuration."


def notes(found: WhatIf, progress: ReadProgress, loops: LoopRules, config: Config) -> Iterator[str]:
    """Yield what limits the answer, in sentences."""
    yield from _watching_nothing(loops, config)
    compares = loops.compares_calls
    if compares and found.undigested_calls:
        yield (
            f"{_counted(found.undigested_calls, 'call')} had no digest: no rule compared calls "
            "then, or the body was too long. Each of them counted as a new call, so rules on equal "
            "calls found less than they would have."
        )
    if compares and found.exempt_calls:
        yield (
            f"{_counted(found.exempt_calls, 'call')} may be repeated (exempt tools, or messages "
            "such as tools/list), and had no digest."
        )
    if found.refused_calls:
        yield (
            f"{_counted(found.refused_calls, 'call')} had been refused by rules. What they would "
            "have cost is unknown, so they save nothing here."
        )
    if compares and loops.volatile_members != config.loops.volatile_members:
        yield (
            "volatile_members has no effect here: the gateway left out those of its configuration "
            "when it made the digests."
        )
    observed = [rule.name for rule in loops.rules if rule.mode == "observe"]
    if observed:
        yield f'Rules with mode = "observe" save nothing: {", ".join(observed)}.'
    if found.unlisted_steps:
        yield f"{_counted(found.unlisted_steps, 'further step')} were only counted."
    if found.forgotten_branches:
        yield (
            f"Too many branches were live at once, so the counts of {found.forgotten_branches} "
            "began anew."
        )
    if progress.unreadable_lines:
        yield f"Skipped {_counted(progress.unreadable_lines, 'incomplete or damaged line')}."
