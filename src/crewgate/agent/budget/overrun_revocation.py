"""Ends a branch whose tool stated a higher cost than the call may have.

The excess is recorded, but charged to no budget: it is spent already. No person has asked for this
end, so it never revokes the whole crew: if the table has no room for the branch, the agent closes
the branch's account. A worker reports an overrun until the agent acknowledges it. The agent stores
it last, so if a process is killed before, the worker reports it again and the branch still ends.
"""

import logging

from crewgate.agent.grant_consistency_check import check
from crewgate.agent.revocation.types import RevocationCause
from crewgate.agent.state import AgentState
from crewgate.core.audit import record_builder, records
from crewgate.core.credits import format_credits
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import ServiceRefusedError
from crewgate.ipc.attach_messages import OverrunNoted, ReportOverrun

_log = logging.getLogger(__name__)


def overran(agent: AgentState, report: ReportOverrun) -> OverrunNoted:
    """End the branch of an overrun, store it once, and return the acknowledgement.

    Raises ServiceConnectionError if the report is inconsistent.
    """
    check(report.grant)
    if report.id not in agent.notes:
        _end(agent, report)
        key, clocks = report.grant.branch_key, agent.clock.read()
        agent.notes.add(report.id, key, report.amount, clocks.wall)
        agent.lease_client.overran(key, report.amount, clocks.boot_ns)
    return OverrunNoted(id=report.id)


def _end(agent: AgentState, report: ReportOverrun) -> None:
    grant, ended = report.grant, "revoked"
    amount = format_credits(report.amount)
    reason = f"an answer stated {amount} credits more than its call had reserved"
    cause = RevocationCause("overrun", reason)
    try:
        target = RevocationTarget(EntityKind.BRANCH, grant.branch, grant.crew)
        revoked = agent.revoke([target], coarsens=False, cause=cause)
    except ServiceRefusedError as error:
        ended = f"closed only in the ledger ({error})"
        agent.lease_client.close(grant.branch_key)
        target_label, name, processes = "account", grant.branch, 0
    else:
        # No caller waits for a receipt.
        agent.fanout.end(revoked)
        agent.close(revoked.results)
        (target_label, name), processes = revoked.results[0].ended, revoked.attachments
    record = records.RevocationRecord(
        **record_builder.who(grant),
        time=records.when(agent.clock.wall_ns()),
        target=target_label,
        id=name,
        by=cause.by,
        reason=cause.reason,
        workers=processes,
    )
    agent.record([record])
    _log.warning(
        "a tool stated %s credits more than a call of branch %s may cost: the branch is %s; the "
        "audit names the tool",
        amount,
        grant.branch,
        ended,
    )
