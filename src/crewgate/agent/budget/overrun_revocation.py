"""What becomes of a branch whose tool stated more than its call may cost: the branch is ended.

The rest is recorded and charged to nobody: it was spent, and no budget had it. Nobody has asked for
this end, so it is that branch's alone, however many of them there are: where the table has no room
to revoke it, its account is closed. A worker tells of each until it hears that it was noted, so it
is noted last: whoever is killed meanwhile, it is told again and ends no less.
"""

import logging

from crewgate.agent.grant_validation import check
from crewgate.agent.state import AgentState
from crewgate.core.audit import record_builder, records
from crewgate.core.credits import format_credits
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import RefusedError
from crewgate.ipc.attach_messages import OverrunNoted, ReportOverrun

_log = logging.getLogger(__name__)


def overran(agent: AgentState, told: ReportOverrun) -> OverrunNoted:
    """End the branch of an overrun, and note it once; LinkError if the message contradicts itself.

    What is returned is for who told it.
    """
    check(told.grant)
    if told.id not in agent.notes:
        _end(agent, told)
        key, clocks = told.grant.branch_key, agent.clock.read()
        agent.notes.add(told.id, key, told.amount, clocks.wall)
        agent.lease_client.overran(key, told.amount, clocks.boot_ns)
    return OverrunNoted(id=told.id)


def _end(agent: AgentState, told: ReportOverrun) -> None:
    grant, ended = told.grant, "ended"
    try:
        target = RevocationTarget(EntityKind.BRANCH, grant.branch, grant.crew)
        revoked = agent.revoke([target], coarsens=False)
    except RefusedError as error:
        ended = f"closed in the ledger alone ({error})"
        agent.lease_client.close(grant.branch_key)
        target_label, name, processes = "account", grant.branch, 0
    else:
        agent.fanout.end(revoked)  # nobody waits for a receipt
        agent.close(revoked.results)
        (target_label, name), processes = revoked.results[0].ended, revoked.attachments
    record = records.RevocationRecord(
        **record_builder.who(grant),
        time=records.when(agent.clock.wall_ns()),
        target=target_label,
        id=name,
        by="overrun",
        workers=processes,
    )
    agent.record([record])
    _log.warning(
        "an answer for branch %s stated %s credits more than its call may cost: the branch is %s; "
        "see the audit for the tool",
        grant.branch,
        format_credits(told.amount),
        ended,
    )
