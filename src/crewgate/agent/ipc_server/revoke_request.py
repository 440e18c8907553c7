"""Carries out a revocation that the operator, the control API or an eviction requests.

1. Enter the keys into the table and the journal (`AgentState.revoke`).
2. Send them to the attached processes, which end calls and connections, and to the other machines.
3. Close the ledger accounts of the branches.
4. Wait for the processes and for the acknowledgement quorum, both for a bounded time. Meanwhile ask
   the other machines which runs of a subject end.
5. Write one audit record for each target, and return the receipt.
"""

from typing import Any

import trio

from crewgate import limits
from crewgate.agent.revocation.quorum_wait import QuorumWait
from crewgate.agent.revocation.revocation_notifier import RevocationAwaitingAcks
from crewgate.agent.revocation.subject_runs import SubjectRuns
from crewgate.agent.revocation.target_existence import SEEN, NeverSeenResult, never_seen
from crewgate.agent.revocation.types import LocalRevocationResult, RevocationCause
from crewgate.agent.state import AgentState
from crewgate.core import cross_crew_accounts
from crewgate.core.audit import records
from crewgate.core.ids import EntityKind
from crewgate.ipc.admin_messages import QuorumResult, RevocationReceipt, Revoke
from crewgate.runtime.nursery import open_nursery


async def revoke(
    agent: AgentState, request: Revoke, read_ns: int, *, is_known: bool = False
) -> RevocationReceipt:
    """Enter the revocations, wait for those who apply them, record them, and return the receipt.

    `is_known`: the names cannot be mistyped, so no member is asked whether they were ever seen.
    """
    runs = SubjectRuns(agent, request.targets)
    cause = RevocationCause(request.by or "owner", request.reason)
    revocation = agent.revoke(request.targets, cause=cause)
    reach = QuorumWait(agent, revocation.remote, request.until, read_ns)
    async with open_nursery() as nursery:
        nursery.start_soon(runs.ask_others)
        await _wait_until_applied(agent, revocation, reach)
    unseen = SEEN if is_known else await _unseen(agent, revocation)
    receipt = _receipt(request, revocation, read_ns, reach.result(), unseen, runs)
    requested = [each for each in revocation.results if each.is_requested]
    agent.record([_record(agent, each, receipt, cause) for each in requested])
    return receipt


async def _unseen(agent: AgentState, revocation: RevocationAwaitingAcks) -> NeverSeenResult:
    """Return where the name was never seen; a request has at most one name that tokens have."""
    # A name whose call has ended must have been seen.
    if not revocation.pending.count:
        for each in revocation.results:
            if each.target.rules.claim:
                return await never_seen(agent, each.target)
    return SEEN


async def _wait_until_applied(
    agent: AgentState, revocation: RevocationAwaitingAcks, reach: QuorumWait
) -> None:
    try:
        # The messages to the attached processes leave now, before credit is taken back.
        await trio.lowlevel.cancel_shielded_checkpoint()
        agent.close(revocation.results)
        async with trio.open_nursery() as nursery:
            # The disk and other machines may take longer than the processes: wait for all at once.
            nursery.start_soon(reach.wait)
            with trio.move_on_after(limits.revocation_answer_seconds_max):
                await revocation.pending.wait()
    finally:
        agent.fanout.end(revocation)


def _receipt(
    request: Revoke,
    revocation: RevocationAwaitingAcks,
    read_ns: int,
    reach: QuorumResult,
    unseen: NeverSeenResult,
    runs: SubjectRuns,
) -> RevocationReceipt:
    pending, last = revocation.pending, revocation.pending.last_cut_ns
    return RevocationReceipt(
        id=request.id,
        targets=[each.target for each in revocation.results if each.is_requested],
        read_ns=read_ns,
        last_cut_ns=last,
        cut_ms=max(0, last - read_ns) / 1e6 if last else 0.0,
        calls_cut=pending.count,
        connections_closed=pending.connections,
        attachments=revocation.attachments,
        unresponsive=len(pending.waiting),
        unlisted=sum(not each.is_listed for each in revocation.results),
        coarsened=any(each.coarse is not None for each in revocation.results),
        never_seen=unseen.where,
        never_seen_on=unseen.on,
        runs_ended=len(runs),
        runs_unasked=runs.unasked,
        reach=reach,
    )


def _record(
    agent: AgentState,
    result: LocalRevocationResult,
    receipt: RevocationReceipt,
    cause: RevocationCause,
) -> records.RevocationRecord:
    target, (kind, name) = result.target, result.ended
    is_branch = target.kind is EntityKind.BRANCH
    who: dict[str, Any] = {**agent.registry.who(target.key if is_branch else b"")}
    who["crew"] = cross_crew_accounts.caller(target.crew)
    if target.rules.claim:
        who[target.rules.label] = target.name
    return records.RevocationRecord(
        **who,
        time=records.when(agent.clock.wall_ns()),
        target=kind,
        id=name,
        by=cause.by,
        reason=cause.reason,
        cut_us=None if receipt.unresponsive else round(receipt.cut_ms * 1000),
        cuts=receipt.calls_cut + receipt.connections_closed,
        workers=receipt.attachments - receipt.unresponsive,
    )
