"""Asks the audit: this machine's files, and the other machines through the agent of this one."""

from contextlib import closing

import click
import msgspec

from crewgate import limits
from crewgate.audit.cluster_report import ClusterAuditReport, merged
from crewgate.audit.filters import AuditFilter, GroupBy
from crewgate.audit.queries import AuditQueries
from crewgate.audit.reports import AuditReport, report
from crewgate.config import Config
from crewgate.core.terminal_text import printable
from crewgate.errors import ServiceConnectionError, ServiceRefusedError
from crewgate.gossip.member_certificate_store import are_others_known
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.cluster_view import MachineAnswers, SilentMachine, collect
from crewgate.ipc.machine_messages import THIS_MACHINE, AuditMode, AuditQuestion

_NONE: MachineAnswers[AuditReport] = MachineAnswers({}, "", [])


def ask(
    config: Config,
    machine: str,
    mode: AuditMode,
    question: AuditFilter,
    by: GroupBy | None = None,
) -> ClusterAuditReport:
    """Return what all machines, or the one that `machine` names, answer.

    This machine's audit needs no running gateway; a machine that cannot be asked is named.
    """
    own_name = config.name or "this machine"
    own = {}
    if machine in {"", THIS_MACHINE, config.name}:
        with closing(AuditQueries(config.audit.folder)) as audit:
            own[own_name] = report(audit, mode, question, by)
    others = _NONE if own and machine else _ask_others(config, machine, mode, question, by)
    return merged(own, others, question.limit, by)


def whole_request(config: Config, machine: str, question: AuditFilter) -> AuditFilter:
    """Return the question with the only request id that begins as its `request` does.

    If no call was found, it stays as it is. Raises ServiceRefusedError if there are several.
    """
    many = msgspec.structs.replace(question, limit=limits.audit_rows_default)
    calls = ask(config, machine, "calls", many).report.calls
    found = {row.request: row for row in calls}
    if len(found) > 1:
        listed = [
            f"  {row.request}  {row.time:%Y-%m-%d %H:%M:%S} UTC  {printable(row.tool)}"
            for row in [*found.values()][: limits.branch_candidates_max]
        ]
        more = len(found) - len(listed)
        last = [f"  and {more} more"] if more else []
        ask_for = f"{question.request} may be one of {len(found)} calls; write more of the id:"
        raise ServiceRefusedError("\n".join([ask_for, *listed, *last]))
    return msgspec.structs.replace(question, request=next(iter(found), question.request))


def _ask_others(
    config: Config, machine: str, mode: AuditMode, question: AuditFilter, by: GroupBy | None
) -> MachineAnswers[AuditReport]:
    if config.cluster is None:
        if machine:
            raise click.UsageError(f"no machine {machine!r}: this machine has no [cluster]")
        return _NONE
    filters = msgspec.json.encode(question)
    asked = AuditQuestion(mode, filters, by.value if by else "")
    seconds = limits.members_audit_seconds_max + limits.ipc_seconds_max
    try:
        with AdminClient(config.state, seconds) as admin:
            answers = admin.ask_machines(asked, machine, others_only=True)
            return collect(answers, AuditReport)
    except ServiceConnectionError as error:
        if not (machine or config.cluster.peers or are_others_known(config.state / "gossip")):
            return _NONE
        name = machine or "(each other one)"
        why = f"the agent of this machine cannot be asked: {error}"
        return MachineAnswers({}, "", [SilentMachine(name, why)])
