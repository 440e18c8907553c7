"""The output of `crewgate audit verify-export`."""

import re
from collections.abc import Iterator

import click
import msgspec

from crewgate.audit.replay.cover_text import changed_text, unsigned_text
from crewgate.audit.replay.export_document import ExportDocument
from crewgate.audit.replay.run_replay import merged
from crewgate.audit.replay.step_text import plural
from crewgate.audit.replay.timeline import timeline
from crewgate.audit.replay.verification import ExportReport, VerifiedMachine
from crewgate.cli.output.audit_replay import step_lines
from crewgate.cli.output.tables import print_labeled, utc
from crewgate.core.terminal_text import printable
from crewgate.version import __version__

_LABEL = 11  # columns
_VERSION = re.compile(r"[0-9]{1,5}(\.[0-9]{1,5}){1,3}((a|b|rc|\.dev|\.post)[0-9]{1,5})?", re.ASCII)


def show(report: ExportReport, steps_of: ExportDocument | None, *, as_json: bool) -> None:
    """Print what was found in an export, and the steps of its lines if `steps_of` has them.

    The steps are made anew, so they do not depend on what the page of the file shows.
    """
    steps = None
    if steps_of is not None and report.are_lines_proven:
        steps = timeline(merged(steps_of.machines), steps_of.run)
    if as_json:
        document = msgspec.to_builtins(report)
        click.echo(msgspec.json.encode(document | msgspec.to_builtins(steps or {})).decode())
        return
    for label, text in _report(report):
        print_labeled(label, printable(text), _LABEL)
    if steps_of is not None and steps is not None:
        click.echo()
        names = [each.machine for each in steps_of.machines]
        for line in step_lines(report.crew, report.run, names, steps):
            click.echo(line)
    elif steps_of is not None:
        click.echo("the steps are not shown, because the lines are not as the machines signed them")


def _report(report: ExportReport) -> Iterator[tuple[str, str]]:
    if not report.compares_page:
        yield "page", _unverified_page(report)
    yield "run", f"{report.run} of crew {report.crew}" if report.crew else report.run
    if report.since is not None:
        yield "from", f"{utc(report.since)[:23]} UTC: the file has no earlier lines"
    if report.until is not None:
        yield "until", f"{utc(report.until)[:23]} UTC: the file has no later lines"
    for each in report.machines:
        yield "machine", each.machine or "(without a name)"
        yield from (("", text) for text in _machine(each))
    for name in report.not_asked:
        yield "not asked", f"{name}: the maker of the file wrote this; no machine has signed it"
    for finding in report.findings:
        yield "WRONG", finding
    if report.is_proven:
        yield "result", "the lines are as the machines have signed them"
    elif report.are_lines_proven:
        yield "result", "the lines are as the machines have signed them; the page was NOT verified"
    else:
        yield "result", "NOT as the machines have signed it"


def _unverified_page(report: ExportReport) -> str:
    """Say that a person must not rely on the page, and what to do. A forger can set `made_by`."""
    made_by = report.made_by
    is_version = _VERSION.fullmatch(made_by) is not None
    writer = f"Crewgate {made_by}" if is_version else "an unknown version of Crewgate"
    why = (
        "NOT verified. Only the lines of the audit in this file were verified, and not the page "
        f"that shows them in a browser: the file says that {writer} wrote the page, and this is "
        f"Crewgate {__version__}. So do not rely on what the page shows."
    )
    if not report.are_lines_proven:  # perhaps a machine has signed that another version wrote it
        return why
    how = f"verify the file with Crewgate {made_by}, or " if is_version else ""
    return f"{why} To see the run, {how}add --steps to this command."


def _machine(each: VerifiedMachine) -> Iterator[str]:
    yield f"key {each.key}" + ("" if each.is_known else ", which you did not name")
    yield f"{plural(each.lines, 'line')} of the run, as stated at {utc(each.made)[:19]} UTC"
    if each.until is not None:
        until = f"its checkpoints until {utc(each.until)[:19]} UTC"
        yield f"{until} cover {each.covered} of these lines"
    if each.unsigned:
        yield unsigned_text(each.unsigned)
    if each.changed:
        yield changed_text(each.changed)
    if each.left_out:
        yield f"{plural(each.left_out, 'more line')} did not fit"
    if each.unreadable:
        yield f"{plural(each.unreadable, 'line')} with the id of the run cannot be read as records"
