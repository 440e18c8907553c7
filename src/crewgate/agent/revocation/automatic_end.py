"""Ends a branch because of what it did, without a person who asks for it.

No person has asked for this end, so it never revokes the whole crew: if the table has no room for
the branch, the agent closes the branch's account.
"""

from crewgate.agent.revocation.types import RevocationCause
from crewgate.agent.state import AgentState
from crewgate.core.audit import records
from crewgate.core.audit.record_builder import IdentityFields
from crewgate.core.ids import EntityKind, branch_key
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import ServiceRefusedError


def end_branch(
    agent: AgentState, crew: str, identity: IdentityFields, cause: RevocationCause
) -> str:
    """End a branch of the account `crew` everywhere, record it, and say in words how it ended."""
    branch, ended = identity["branch"], "revoked"
    try:
        target = RevocationTarget(EntityKind.BRANCH, branch, crew)
        revoked = agent.revoke([target], coarsens=False, cause=cause)
    except ServiceRefusedError as error:
        ended = f"closed only in the ledger ({error})"
        agent.lease_client.close(branch_key(crew, branch))
        target_label, name, processes = "account", branch, 0
    else:
        # No caller waits for a receipt.
        agent.fanout.end(revoked)
        agent.close(revoked.results)
        (target_label, name), processes = revoked.results[0].ended, revoked.attachments
    record = records.RevocationRecord(
        **identity,
        time=records.when(agent.clock.wall_ns()),
        target=target_label,
        id=name,
        by=cause.by,
        reason=cause.reason,
        workers=processes,
    )
    agent.record([record])
    return ended
