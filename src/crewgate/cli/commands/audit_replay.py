"""`crewgate audit replay` and `verify-export`: the steps of a recorded run, and a file of them."""

import re
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click

from crewgate import limits
from crewgate.cli import branch_choice
from crewgate.cli.options import (
    CREW_NAME,
    config_above,
    config_option,
    json_option,
    machine_options,
)
from crewgate.config.load import load

_KEY = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


@click.command("replay")
@machine_options
@partial(config_option, required=False)
@click.argument("run", required=False)
@click.option("--crew", type=CREW_NAME, metavar="NAME", help="The crew of the run.")
@click.option(
    "--since",
    metavar="WHEN",
    help="Start this long ago (30s, 10m, 2h, 1d) or at 2026-11-24T12:00:00Z.",
)
@click.option("--until", metavar="WHEN", help="End before this time, written as for --since.")
@click.option(
    "--html",
    "html_path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the run into one HTML file, with what the machines have signed.",
)
@json_option
@click.pass_context
def replay(
    context: click.Context,
    /,
    *,
    config_path: Path | None,
    run: str | None,
    crew: str | None,
    since: str | None,
    until: str | None,
    html_path: Path | None,
    machine: str,
    as_json: bool,
) -> None:
    """Show step by step what the run RUN did, from the audit of all machines.

    RUN is the id of a run or branch, the beginning of it, or CREW/ROLE. Without RUN, list the runs
    of the audit. Reads the audit files of this machine; no gateway has to run for that, if RUN is a
    whole id. The running gateway asks the other machines. Exit status 1: some machine did not
    answer; it is named.
    """
    from crewgate.audit.replay.question import ReplayFilter
    from crewgate.audit.replay.recorded_runs import RunsFilter
    from crewgate.cli import replay_machines
    from crewgate.cli.output import audit_replay, not_asked
    from crewgate.runtime.durable_files import write_file

    if html_path is not None and (run is None or as_json):
        raise click.UsageError("--html needs RUN, and does not go with --json")
    path = config_above(context, config_path)
    begin, end = _moment(since), _moment(until)
    config = load(path)
    if run is None:
        wanted = RunsFilter((crew,) if crew else (), begin, end)
        runs = replay_machines.runs(config, machine, wanted)
        audit_replay.show_runs(runs, datetime.now(UTC), as_json=as_json)
        not_asked.exit_if_any(runs.not_asked)
        return
    try:
        run = branch_choice.whole_id(run, crew or "", partial(branch_choice.find_if_running, path))
        question = ReplayFilter(run, crew or "", begin, end, is_signed=html_path is not None)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    found = replay_machines.replay(config, machine, question)
    if html_path is not None:
        from crewgate.audit.replay.export_document import document
        from crewgate.audit.replay.export_html import html

        write_file(html_path, html(document(found)), 0o600)
    audit_replay.show(found, html_path, as_json=as_json)
    not_asked.exit_if_any(found.not_asked)


def _moment(text: str | None) -> datetime | None:
    from crewgate.audit.filters import parse_since

    try:
        return None if text is None else parse_since(text, datetime.now(UTC))
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@click.command("verify-export")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--key",
    "keys",
    multiple=True,
    required=True,
    metavar="KEY",
    help="The public key of a machine, as `crewgate audit verify` prints it on the machine; one "
    "for each machine.",
)
@click.option(
    "--steps",
    "has_steps",
    is_flag=True,
    help="If the lines in FILE are as the machines have signed them, print the steps of the run. "
    "The command makes the steps from the lines, and not from what the page in FILE shows.",
)
@json_option
@click.pass_context
def verify_export(
    context: click.Context, /, *, file: Path, keys: tuple[str, ...], has_steps: bool, as_json: bool
) -> None:
    """Verify FILE, which `crewgate audit replay --html` has written, without the audit.

    It needs no configuration, no gateway and no network. Exit status 1: something in FILE is not as
    the machines with these keys have signed it; or another version of Crewgate wrote FILE, so this
    one can verify the lines in it, but not the page that shows them.
    """
    from crewgate.audit.replay import verification
    from crewgate.cli.output import export_report

    if not all(map(_KEY.fullmatch, keys)):
        raise click.UsageError("--key has 43 characters of A-Z a-z 0-9 _ -")
    if file.stat().st_size > limits.replay_export_bytes_max:
        raise click.UsageError(f"{file} is too large for an exported replay")
    try:
        data = file.read_bytes()
        report = verification.verify_export(data, keys)
        steps_of = verification.read(data) if has_steps else None
    except ValueError as error:
        raise click.UsageError(f"{file}: {error}") from error
    export_report.show(report, steps_of, as_json=as_json)
    if not report.is_proven:
        context.exit(1)
