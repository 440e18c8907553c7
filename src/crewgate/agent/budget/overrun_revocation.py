"""Ends a branch whose tool stated a higher cost than the call may have.

The excess is recorded, but charged to no budget: it is spent already. A worker reports an overrun
until the agent acknowledges it. The agent stores it last, so if a process is killed before, the
worker reports it again and the branch still ends.
"""

import logging

from crewgate.agent.grant_consistency_check import check
from crewgate.agent.revocation.automatic_end import end_branch
from crewgate.agent.revocation.types import RevocationCause
from crewgate.agent.state import AgentState
from crewgate.core.audit import record_builder
from crewgate.core.credits import format_credits
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
    grant = report.grant
    amount = format_credits(report.amount)
    reason = f"an answer stated {amount} credits more than its call had reserved"
    cause = RevocationCause("overrun", reason)
    ended = end_branch(agent, grant.crew, record_builder.who(grant), cause)
    _log.warning(
        "a tool stated %s credits more than a call of branch %s may cost: the branch is %s; the "
        "audit names the tool",
        amount,
        grant.branch,
        ended,
    )
