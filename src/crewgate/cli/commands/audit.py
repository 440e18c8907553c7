"""`crewgate audit`: who called which tool, under which grant, at what cost.

The command reads the audit files that the configuration names, and needs no running gateway for
that. The agent of this machine asks the other machines.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from crewgate import limits
from crewgate.cli import branch_choice
from crewgate.cli.commands.audit_replay import replay, verify_export
from crewgate.cli.commands.audit_verify import verify
from crewgate.cli.commands.audit_what_if import what_if
from crewgate.cli.options import (
    CREW_NAME,
    TOOL_NAME,
    UntruncatedHelpGroup,
    config_above,
    config_option,
    json_option,
    machine_options,
)
from crewgate.cli.remote.option import client_of, control_options
from crewgate.config.load import load
from crewgate.ipc.cluster_tree import ClusterTreeRow
from crewgate.ipc.machine_messages import THIS_MACHINE, AuditMode

if TYPE_CHECKING:
    from crewgate.audit.cluster_report import ClusterAuditReport
    from crewgate.audit.filters import AuditFilter

FindBranches = Callable[[str, str], list[ClusterTreeRow]]

_BY = ["branch", "crew", "role", "tool", "day", "minute"]
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
@machine_options
@partial(config_option, required=False)
@control_options
@click.option(
    "--branch",
    metavar="BRANCH",
    help="Calls of this branch and of everything below it: its id, the beginning of it, or "
    "CREW/ROLE.",
)
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
@click.option(
    "--request", metavar="ID", help="The call with this request id, or the beginning of it."
)
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
@click.option("--rules", is_flag=True, help="List steps of rules on branches instead of calls.")
@click.option(
    "--revocations", is_flag=True, help="List revocations, also ended ones, instead of calls."
)
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
    control: str | None,
    prefix: Path | None,
    root: Path | None,
    watch: bool,
    rules: bool,
    revocations: bool,
    connections: bool,
    machine: str,
    as_json: bool,
    **filters: Any,  # noqa: ANN401 - see `_question`
) -> None:
    """Show who called which tool, under which grant, at what cost, on all machines.

    Reads the audit files of this machine; no gateway has to run for that. The running gateway asks
    the other machines. Exit status 1: some machine did not answer; it is named.
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
    from crewgate.audit.filters import GroupBy
    from crewgate.cli import audit_machines
    from crewgate.cli.output import audit_report

    chosen = {
        "connections": connections, "watch": watch, "rules": rules, "revocations": revocations,
    }  # fmt: skip
    mode = _mode([name for name, is_chosen in chosen.items() if is_chosen], filters)
    by = filters.pop("by")
    key, folder = GroupBy(by) if by else None, None
    api = client_of(config_path, control, prefix, root)
    if api is not None:
        from crewgate.cli.remote import commands

        with api as client:
            find = partial(commands.find_branches, client)
            question = _question(find, filters)
            found = commands.audit(client, machine, mode, question, key)
    else:
        path = config_above(context, config_path)
        question = _question(partial(branch_choice.find_if_running, path), filters)
        config = load(path)
        folder = config.audit.folder
        found = audit_machines.ask(config, machine, mode, question, key)
    if mode == "calls":
        audit_report.show(found, folder, key, branch=question.branch, as_json=as_json)
    else:
        _print_list(mode, found, as_json=as_json)


def _print_list(mode: AuditMode, found: "ClusterAuditReport", *, as_json: bool) -> None:
    from crewgate.cli.output import (
        audit_connections,
        audit_minting_watch,
        audit_revocations,
        audit_rule_steps,
    )

    if mode == "watch":
        audit_minting_watch.print_watch(found, as_json=as_json)
    elif mode == "rules":
        audit_rule_steps.print_steps(found, as_json=as_json)
    elif mode == "revocations":
        audit_revocations.print_revocations(found, as_json=as_json)
    else:
        audit_connections.print_connections(found, as_json=as_json)


def _mode(chosen: list[str], filters: dict[str, Any]) -> AuditMode:
    """Return what is listed. Raises click.UsageError for filters that a listing does not have."""
    given = {name for name, value in filters.items() if value}
    of_calls = {*_OF_CALLS, "by"}
    if "connections" in chosen and given & {"branch", *of_calls}:
        raise click.UsageError(
            "--connections goes only with --crew, --certificate, --since and --limit"
        )
    for name in chosen:
        if name != "connections" and (len(chosen) > 1 or given & {"certificate", *of_calls}):
            raise click.UsageError(f"--{name} goes only with --crew, --branch, --since and --limit")
    return cast("AuditMode", chosen[0]) if chosen else "calls"


def _question(find: FindBranches, filters: dict[str, Any]) -> "AuditFilter":
    """Return the filters of the options; `find` returns the branches that a reference may mean.

    Raises click.UsageError.
    """
    from crewgate.audit.filters import AuditFilter, parse_serial, parse_since

    reference, crew = filters["branch"], filters["crew"] or ""
    serial, since = filters["certificate"], filters["since"]
    try:
        if reference is not None:
            reference = branch_choice.whole_id(reference, crew, find)
        parsed = {
            "branch": reference,
            "certificate": None if serial is None else parse_serial(serial),
            "since": None if since is None else parse_since(since, datetime.now(UTC)),
        }
        return AuditFilter(**filters | parsed)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


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
@machine_options
@partial(config_option, required=False)
@click.argument("request")
@json_option
@click.pass_context
def explain(
    context: click.Context,
    /,
    *,
    config_path: Path | None,
    request: str,
    machine: str,
    as_json: bool,
) -> None:
    """Show under what authority the call REQUEST was made: person, orchestrator, branches, call.

    REQUEST is the request_id of an answer or of the audit, or the beginning of it. For each step
    you see what it was allowed. Reads the audit files of this machine; no gateway has to run for
    that. The running gateway asks the other machines.
    """
    path = config_above(context, config_path)
    from crewgate.audit.filters import AuditFilter
    from crewgate.cli import audit_machines
    from crewgate.cli.output import audit_explanation, not_asked

    try:
        question = AuditFilter(request=request)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    config = load(path)
    if question.request_beginning:
        question = audit_machines.whole_request(config, machine, question)
    found = audit_machines.ask(config, machine or THIS_MACHINE, "explain", question)
    if found.report.explanation is None and not machine:
        found = audit_machines.ask(config, "", "explain", question)
    if found.report.explanation is None:
        where = f"in {config.audit.folder}" if found.is_of_one else "in the audit of any machine"
        click.echo(f"no call {request} {where}", err=True)
        for line in not_asked.lines(found.not_asked):
            click.echo(line, err=True)
        context.exit(1)
    audit_explanation.show(found.report.explanation, config, as_json=as_json)


command.add_command(what_if)
command.add_command(verify)
command.add_command(replay)
command.add_command(verify_export)
