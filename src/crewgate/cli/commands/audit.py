"""`crewgate audit`: who called what, under which grant, at what cost.

Needs no running gateway: the answer comes from the audit files that the configuration names.
"""

from datetime import UTC, datetime
from pathlib import Path

import click

from crewgate import limits
from crewgate.cli.options import config_option, json_option

_BY = ["branch", "crew", "role", "tool", "day"]


@click.command("audit")
@config_option
@click.option("--branch", metavar="UUID", help="This branch and all that it spawned.")
@click.option("--crew", metavar="NAME", help="Calls of this crew.")
@click.option("--role", metavar="NAME", help="Calls of agents with this role.")
@click.option("--tool", metavar="TOOL", help="Calls of this tool; 'search.*' for all below.")
@click.option(
    "--certificate", metavar="SERIAL", help="Calls over connections that showed this certificate."
)
@click.option("--denied", is_flag=True, help="Refused calls only.")
@click.option("--would-deny", is_flag=True, help="Calls that only observe mode let through.")
@click.option("--since", metavar="WHEN", help="30s, 10m, 2h, 1d ago, or 2026-11-24T12:00:00Z.")
@click.option(
    "--limit",
    type=click.IntRange(0, limits.audit_rows_max),
    default=limits.audit_rows_default,
    show_default=True,
    help="List so many of the newest calls.",
)
@click.option("--watch", is_flag=True, help="List what the minting watch saw and did instead.")
@click.option("--by", type=click.Choice(_BY), help="List sums by this instead of calls.")
@click.option(
    "--connections",
    is_flag=True,
    help="List connections refused or ended for their certificate instead of calls.",
)
@json_option
def command(
    *,
    config_path: Path,
    branch: str | None,
    crew: str | None,
    role: str | None,
    tool: str | None,
    certificate: str | None,
    since: str | None,
    limit: int,
    by: str | None,
    denied: bool,
    would_deny: bool,
    watch: bool,
    connections: bool,
    as_json: bool,
) -> None:
    """Ask who called what, under which grant, at what cost."""
    from crewgate.audit.filters import AuditFilter, GroupBy, parse_serial, parse_since
    from crewgate.audit.reader import AuditReader
    from crewgate.cli.output import audit_connections, audit_report, audit_watch
    from crewgate.config.load import load

    if connections and (branch or role or tool or by or denied or would_deny):
        raise click.UsageError("--connections goes with --crew, --certificate, --since and --limit")
    if watch and (role or tool or certificate or denied or would_deny or by or connections):
        raise click.UsageError("--watch goes with --crew, --branch, --since and --limit only")
    try:
        question = AuditFilter(
            branch=branch,
            crew=crew,
            role=role,
            tool=tool,
            certificate=None if certificate is None else parse_serial(certificate),
            denied=denied,
            would_deny=would_deny,
            since=None if since is None else parse_since(since, datetime.now(UTC)),
            limit=limit,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    folder = load(config_path).audit.folder
    audit = AuditReader(folder)
    try:
        if watch:
            audit_watch.print_watch(audit.watched(question), as_json=as_json)
            return
        if connections:
            turned = audit_connections.ask(audit, question)
        else:
            answer = audit_report.ask(audit, question, GroupBy(by) if by else None)
    finally:
        audit.close()
    if connections:
        audit_connections.print_connections(turned, as_json=as_json)
    elif as_json:
        click.echo(audit_report.to_json(answer))
    else:
        audit_report.show(answer, folder)
