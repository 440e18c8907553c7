"""`crewgate top`: shows branches, tools and crews as they spend and call, and ends a branch."""

import json
import os
import sys
import time
from pathlib import Path

import click

from crewgate import limits
from crewgate.cli.options import json_option, machine_options, state_of
from crewgate.cli.output import not_asked
from crewgate.cli.output.tables import open_console
from crewgate.cli.remote.option import with_remote
from crewgate.cli.top.reading import Readings
from crewgate.cli.top.source import AgentSource, Source
from crewgate.cli.top.view import Order, View

_ORDERS = {each.value.partition("/")[0]: each for each in Order}


@click.command("top")
@machine_options
@with_remote("top")
@click.option(
    "--sort",
    type=click.Choice(list(_ORDERS)),
    default="credits",
    show_default=True,
    help="Order at the start: by credits or calls per minute, credits spent, or name.",
)
@click.option(
    "--filter",
    "pattern",
    metavar="TEXT",
    default="",
    help="Show only what has this text at the start: a role, crew, machine, id, state or rule.",
)
@click.option(
    "--every",
    "interval",
    metavar="SECONDS",
    type=click.FloatRange(limits.top_interval_seconds_min, limits.top_interval_seconds_max),
    default=limits.top_interval_seconds_min,
    show_default=True,
    help="Ask the machines so often.",
)
@click.option(
    "--once", is_flag=True, help="Ask twice, --every apart; print what was found, and end."
)
@json_option
def command(
    *, config_path: Path, machine: str, sort: str, pattern: str, interval: float, once: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Watch what the branches of all machines spend and call, and which rules they meet.

    The view is live, and has a table of branches, one of tools and one of crews. Keys sort, filter
    and fold; `e` ends the selected branch and everything below it, and `u` quarantines its
    orchestrator, each after a question. `?` shows all keys.

    A program uses --once --json. Exit status 1 with --once: some machine did not answer; it is
    named.
    """
    show(AgentSource(state_of(config_path), machine), sort, pattern, interval, once=once,
         as_json=as_json)  # fmt: skip


def show(
    source: Source, sort: str, pattern: str, interval: float, *, once: bool, as_json: bool
) -> None:
    """Show what the machines of `source` answer: once, or on the screen until a person quits."""
    if as_json and not once:
        raise click.UsageError("--json is for --once: a screen has no document")
    if len(pattern) > limits.top_filter_chars_max:
        raise click.UsageError(f"--filter: at most {limits.top_filter_chars_max} characters")
    view = View(_ORDERS[sort], pattern)
    if once:
        _print_once(source, view, interval, as_json=as_json)
        return
    is_dumb = os.environ.get("TERM", "dumb") == "dumb"
    if is_dumb or not (sys.stdin.isatty() and sys.stdout.isatty()):
        why = "a terminal with a screen (TERM)" if is_dumb else "a terminal"
        raise click.UsageError(f"standard input and output are not {why}: use --once")
    _watch(source, view, interval)


def _watch(source: Source, view: View, interval: float) -> None:
    from crewgate.cli.top.session import Session
    from crewgate.cli.top.terminal import Terminal

    # An agent that does not run at the start is a mistake of the person; later it is waited for.
    source.read()
    with Terminal() as terminal:
        session = Session(terminal, source, view, interval)
        session.run()
    for receipt in session.receipts:
        click.echo("\n  ".join([receipt.title, *receipt.lines]))
    if session.unfinished:
        click.echo("The last order has no receipt yet; `crewgate revocations` shows what it did.")


def _print_once(source: Source, view: View, interval: float, *, as_json: bool) -> None:
    from crewgate.cli.top.frame import plain_lines
    from crewgate.cli.top.once import document

    readings = Readings()
    readings.take(source.read(), time.monotonic())
    time.sleep(interval)
    reading = readings.take(source.read(), time.monotonic())
    if as_json:
        click.echo(json.dumps(document(reading)))
    else:
        view.take(reading)
        click.echo("\n".join(plain_lines(view, open_console().width)))
    not_asked.exit_if_any(reading.found.not_asked)
