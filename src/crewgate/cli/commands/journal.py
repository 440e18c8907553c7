"""`crewgate journal`: which branch got more time, credits or tools, why, and who decided.

The command reads the journals in the state folder without their locks, and changes nothing.
"""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from crewgate import limits
from crewgate.cli.options import CREW_NAME, config_option, json_option
from crewgate.config.load import load


@click.command("journal")
@config_option
@click.option("--crew", type=CREW_NAME, metavar="NAME", help="Branches of this crew.")
@click.option(
    "--branch",
    metavar="BRANCH",
    help="This branch and everything below it: its id, the beginning of it, or CREW/ROLE.",
)
@click.option("--orchestrator", metavar="CREW/NAME", help="Branches of this orchestrator.")
@click.option(
    "--grant", metavar="ID", help="The token with this jti, and refused requests after it."
)
@click.option(
    "--since",
    metavar="WHEN",
    help="Start this long ago (30s, 10m, 2h, 1d) or at 2026-11-24T12:00:00Z.",
)
@click.option("--refused", is_flag=True, help="Only requests that were refused.")
@click.option(
    "--no-renewals", "without_renewals", is_flag=True, help="Leave out automatic renewals."
)
@click.option(
    "--limit",
    type=click.IntRange(0, limits.audit_rows_max),
    default=limits.audit_rows_default,
    show_default=True,
    help="List the newest entries, at most so many.",
)
@json_option
def command(*, config_path: Path, since: str | None, as_json: bool, **filters: Any) -> None:  # noqa: ANN401 - members of `JournalFilter`
    """Show which branch got more, why, and who decided.

    Reads the journals of all orchestrators of this machine, and of the commands `mint` and
    `refresh`. They may run meanwhile. No gateway has to run.
    """
    from crewgate.audit.filters import AuditFilter, parse_since
    from crewgate.cli import branch_choice
    from crewgate.cli.output import journal_report
    from crewgate.issuer.journal.journal_queries import JournalFilter, JournalQuery

    try:
        if filters["branch"] is not None:
            find = partial(branch_choice.find_if_running, config_path)
            crew = filters["crew"] or ""
            filters["branch"] = branch_choice.whole_id(filters["branch"], crew, find)
        # The audit has the same rules for these names.
        AuditFilter(**{name: filters[name] for name in ("branch", "orchestrator", "grant")})
        start = None if since is None else parse_since(since, datetime.now(UTC))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    folder = load(config_path).journal_folder
    report = JournalQuery(folder, JournalFilter(since=start, **filters)).report()
    journal_report.show(report, folder, as_json=as_json)
    if report.unreadable:
        click.get_current_context().exit(1)
