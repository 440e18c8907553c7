"""`crewgate audit what-if`: what rules on branches would have done to the calls of the audit."""

import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.termui import progressbar

from crewgate import limits
from crewgate.cli.options import CREW_NAME, config_above, config_option, json_option
from crewgate.config import Config
from crewgate.config.load import load, load_rules
from crewgate.config.rules import loop_rules
from crewgate.core.rules.rule import LoopRules
from crewgate.errors import ConfigurationError

if TYPE_CHECKING:
    from crewgate.audit.replayed_records import CallTime, ReadProgress

_SHOWN_EVERY = 4096  # beginnings and ends of calls, some 0.2 seconds


@click.command("what-if")
@partial(config_option, required=False)
@click.argument("rules", required=False, type=click.Path(path_type=Path))
@click.option(
    "--since",
    metavar="WHEN",
    help="Start this long ago (30s, 10m, 2h, 1d) or at 2026-11-24T12:00:00Z.",
)
@click.option("--crew", type=CREW_NAME, metavar="NAME", help="Only calls of this crew.")
@click.option(
    "--limit",
    type=click.IntRange(0, limits.audit_rows_max),
    default=limits.audit_rows_default,
    show_default=True,
    help="List at most so many branches; --json lists steps, and not branches.",
)
@json_option
@click.pass_context
def what_if(
    context: click.Context,
    /,
    *,
    config_path: Path | None,
    rules: Path | None,
    since: str | None,
    crew: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show what rules on branches would have done to the recorded calls, and what that saves.

    RULES is a file with [loops] and [rule.NAME], as in the configuration. Without RULES, the rules
    of the configuration count, as if each had mode = "enforce". Reads the audit files of this
    machine. No gateway has to run.
    """
    from crewgate.audit import folder as audit_folder
    from crewgate.audit.filters import parse_since
    from crewgate.audit.replayed_records import ReadProgress, read_folder
    from crewgate.audit.rule_replay import RuleReplay
    from crewgate.cli.output import audit_what_if

    try:
        start = None if since is None else parse_since(since, datetime.now(UTC))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    config = load(config_above(context, config_path))
    loops = _own_rules(config) if rules is None else load_rules(rules)
    progress = ReadProgress()
    times: Iterable[CallTime] = read_folder(config.audit.folder, progress, start)
    if crew is not None:
        times = (each for each in times if each.call.record.crew == crew)
    size = audit_folder.size(config.audit.folder)
    found = RuleReplay(loops).run(_shown(times, progress, size))
    notes = list(audit_what_if.notes(found, progress, loops, config))
    audit_what_if.show(found, notes, limit=limit, as_json=as_json)


def _own_rules(config: Config) -> LoopRules:
    """Return the rules of a configuration, in force."""
    from crewgate.audit.rule_replay import enforced

    found = loop_rules(config.loops, config.rules)
    if not found.rules:
        raise ConfigurationError(
            f"{config.path}: no rule on branches is on; name a file that has some: write "
            '[loops] and mode = "enforce" into it'
        )
    return enforced(found)


def _shown(
    times: Iterable["CallTime"], progress: "ReadProgress", size: int
) -> Iterator["CallTime"]:
    """Yield the same, and show on a terminal how much was read; a pipe gets nothing of it."""
    label, is_hidden = "reading the audit", not sys.stderr.isatty()
    with progressbar(length=size, label=label, file=sys.stderr, hidden=is_hidden) as bar:
        shown = 0
        for number, each in enumerate(times):
            yield each
            if number % _SHOWN_EVERY == 0:
                bar.update(progress.bytes - shown)
                shown = progress.bytes
