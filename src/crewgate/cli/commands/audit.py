"""`crewgate audit`: who called which tool, under which grant, at what cost.

The command reads the audit files that the configuration names, and needs no running gateway.
"""

from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from crewgate import limits
from crewgate.cli.options import (
    CREW_NAME,
    TOOL_NAME,
    UntruncatedHelpGroup,
    config_option,
    json_option,
)
from crewgate.config.load import load

_NO_CONFIG = "Missing option '-c' / '--config'"
_BY = ["branch", "crew", "role", "tool", "day"]
# Filters that only calls have.
_OF_CALLS = {
    "role",
    "tool",
    "grant",
    "subject",
    "process",
    "orchestrator",
    "request",
    "denied",
    "would_deny",
}


@click.group("audit", cls=UntruncatedHelpGroup, invoke_without_command=True)
@partial(config_option, required=False)
@click.option("--branch", metavar="UUID", help="Calls of this branch and of everything below it.")
@click.option("--crew", type=CREW_NAME, metavar="NAME", help="Calls of this crew.")
@click.option("--role", metavar="NAME", help="Calls of sub-agents with this role.")
@click.option(
    "--tool",
    type=TOOL_NAME,
    metavar="TOOL",
    help="Calls of this tool, or of tools such as 'search.*'.",
)
@click.option(
    "--certificate", metavar="SERIAL", help="Calls over connections with this client certificate."
)
@click.option("--grant", metavar="ID", help="Calls with this grant, the jti of a token.")
@click.option("--subject", metavar="NAME", help="Calls on behalf of this user or system.")
@click.option("--process", metavar="NAME", help="Calls of this process, such as pid_4242.")
@click.option(
    "--orchestrator", metavar="CREW/NAME", help="Calls of branches that this orchestrator minted."
)
@click.option("--request", metavar="ID", help="The call with this request id.")
@click.option("--denied", is_flag=True, help="Only calls that the gateway refused.")
@click.option(
    "--would-deny", is_flag=True, help="Only calls that were let through because of observe mode."
)
@click.option(
    "--since",
    metavar="WHEN",
    help="Start this long ago (30s, 10m, 2h, 1d) or at 2026-11-24T12:00:00Z.",
)
@click.option(
    "--limit",
    type=click.IntRange(0, limits.audit_rows_max),
    default=limits.audit_rows_default,
    show_default=True,
    help="List the newest calls, at most so many.",
)
@click.option("--watch", is_flag=True, help="List steps of the minting watch instead of calls.")
@click.option("--by", type=click.Choice(_BY), help="List sums by this key instead of calls.")
@click.option(
    "--connections",
    is_flag=True,
    help="List connections refused or ended because of their certificate, instead of calls.",
)
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    config_path: Path | None,
    certificate: str | None,
    since: str | None,
    by: str | None,
    watch: bool,
    connections: bool,
    as_json: bool,
    **filters: Any,  # noqa: ANN401 - members of `AuditFilter`
) -> None:
    """Show who called which tool, under which grant, at what cost.

    Reads the audit files of this machine. No gateway has to run.
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
    if config_path is None:
        raise click.UsageError(_NO_CONFIG)
    from crewgate.audit.filters import AuditFilter, GroupBy, parse_serial, parse_since
    from crewgate.audit.queries import AuditQueries
    from crewgate.cli.output import audit_connections, audit_minting_watch, audit_report

    given = {name for name, value in filters.items() if value} | ({"by"} if by else set())
    of_calls = {*_OF_CALLS, "by"}
    if connections and given & {"branch", *of_calls}:
        raise click.UsageError(
            "--connections goes only with --crew, --certificate, --since and --limit"
        )
    is_more = certificate or connections or given & of_calls
    if watch and is_more:
        raise click.UsageError("--watch goes only with --crew, --branch, --since and --limit")
    try:
        question = AuditFilter(
            certificate=None if certificate is None else parse_serial(certificate),
            since=None if since is None else parse_since(since, datetime.now(UTC)),
            **filters,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    folder = load(config_path).audit.folder
    with closing(AuditQueries(folder)) as audit:
        if watch:
            audit_minting_watch.print_watch(audit.watched(question), as_json=as_json)
        elif connections:
            rejected = audit_connections.ask(audit, question)
            audit_connections.print_connections(rejected, as_json=as_json)
        else:
            answer = audit_report.ask(audit, question, GroupBy(by) if by else None)
            audit_report.show(answer, folder, branch=question.branch, as_json=as_json)


def _refuse_options(context: click.Context) -> None:
    """Refuse filters before the name of a subcommand, where they would have no effect."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        is_given = source is click.core.ParameterSource.COMMANDLINE
        if is_given and parameter.name != "config_path":
            raise click.UsageError(
                f"write {parameter.opts[-1]} after the word {context.invoked_subcommand}"
            )


@command.command("explain")
@partial(config_option, required=False)
@click.argument("request")
@json_option
@click.pass_context
def explain(
    context: click.Context, /, *, config_path: Path | None, request: str, as_json: bool
) -> None:
    """Show under what authority the call REQUEST was made: person, orchestrator, branches, call.

    REQUEST is the request_id of an answer or of the audit. For each step you see what it was
    allowed. Reads the audit files of this machine. No gateway has to run.
    """
    path = config_path
    if path is None and context.parent is not None:
        path = context.parent.params["config_path"]
    if path is None:
        raise click.UsageError(_NO_CONFIG)
    from crewgate.audit.explanation import explanation
    from crewgate.audit.filters import AuditFilter
    from crewgate.audit.queries import AuditQueries
    from crewgate.cli.output import audit_explanation

    try:
        question = AuditFilter(request=request)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    config = load(path)
    folder = config.audit.folder
    with closing(AuditQueries(folder)) as audit:
        found = explanation(audit, question)
    if found is None:
        click.echo(
            f"no call {request} in {folder}: each machine has only the audit of its own calls",
            err=True,
        )
        context.exit(1)
    audit_explanation.show(found, config, as_json=as_json)
