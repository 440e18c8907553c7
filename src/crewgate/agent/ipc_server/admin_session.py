"""The owner's door: revoke, quarantine, tree, status, reload, each answered in turn.

Decides nothing: asks the machine and puts its answers into messages. Of the other machines see
`cluster_admin`.
"""

import logging
from typing import Any

import trio

from crewgate import limits
from crewgate.agent import status
from crewgate.agent.anomaly import remote_quarantines
from crewgate.agent.anomaly.minting_watch import grant_of
from crewgate.agent.ipc_server.message_stream import MessageStream
from crewgate.agent.reload import reload_now
from crewgate.agent.revocation.fanout import PendingRevocation
from crewgate.agent.revocation.quorum_wait import QuorumWait
from crewgate.agent.revocation.seen_names import SEEN, UnknownName, never_seen
from crewgate.agent.revocation.types import RevocationResult
from crewgate.agent.state import AgentState
from crewgate.core import cross_crew_account
from crewgate.core.anomaly.enforcement import QuarantineOrder
from crewgate.core.audit import records
from crewgate.core.credits import format_credits
from crewgate.core.ids import KeyKind, branch_key
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import ConfigurationError, LedgerUnavailableError, LinkError, RefusedError
from crewgate.ipc.admin_messages import (
    AdminRequest,
    BurnedForgiven,
    CheckMint,
    ForgiveBurned,
    GetStatus,
    GetTree,
    MintDecision,
    Quarantine,
    QuarantineState,
    QuorumResult,
    ReloadConfig,
    ReloadResult,
    ReportHealth,
    RevocationReceipt,
    Revoke,
    owner_asks,
)
from crewgate.ipc.attach_messages import RequestFailed
from crewgate.ipc.cluster_messages import ClusterRequest

_log = logging.getLogger(__name__)


async def converse(agent: AgentState, stream: trio.SocketStream) -> None:
    """Serve one connection until it ends; LinkError if it breaks the protocol."""
    talk = MessageStream(stream, owner_asks)
    try:
        while (ask := await talk.receive()) is not None:
            await _answer_in_words(agent, talk, ask)
    finally:
        agent.reports.leave(talk)


async def _answer_in_words(
    agent: AgentState, talk: MessageStream[AdminRequest], ask: AdminRequest
) -> None:
    """Also where the answer is that it will not be done."""
    try:
        if isinstance(ask, ReportHealth):
            agent.reports.update(talk, ask, agent.clock.boot_ns())
        elif isinstance(ask, ClusterRequest):
            await _answer_of_others(agent, talk, ask)
        else:
            await _answer(agent, talk, ask)
    except (RefusedError, ConfigurationError) as error:
        await talk.send(RequestFailed(id=ask.id, message=str(error)[: limits.link_note_chars_max]))


async def _answer(agent: AgentState, talk: MessageStream[AdminRequest], ask: AdminRequest) -> None:
    if isinstance(ask, Revoke):
        await talk.send(await revoke(agent, ask, read_ns=agent.clock.monotonic_ns()))
    elif isinstance(ask, Quarantine):
        await talk.send(await quarantine(agent, ask))
    elif isinstance(ask, ForgiveBurned):
        await talk.send(await forgive(agent, ask))
    elif isinstance(ask, CheckMint):
        await talk.send(may_mint(agent, ask))
    elif isinstance(ask, GetStatus):
        await talk.send(status.status(agent, ask.id))
    elif isinstance(ask, ReloadConfig):
        before = agent.active_config.policy.generation
        await reload_now(agent)
        after = agent.active_config.policy.generation
        await talk.send(ReloadResult(id=ask.id, generation=after, changed=after != before))
    elif isinstance(ask, GetTree):
        found = await status.tree(agent)
        for page in status.pages(found, ask.id):
            await talk.send(page)
    else:
        raise LinkError("not a question of this door")


async def _answer_of_others(
    agent: AgentState, talk: MessageStream[AdminRequest], ask: ClusterRequest
) -> None:
    if agent.fanout.others is None:
        raise RefusedError(
            "this machine has no [cluster], so there are no others; add the section, as `crewgate "
            "init` writes it, and start again"
        )
    # As in `main._join`: a machine without peers need not load what this needs.
    from crewgate.agent.ipc_server import cluster_admin  # noqa: PLC0415

    await cluster_admin.answer(agent, talk, ask)


async def revoke(
    agent: AgentState, ask: Revoke, read_ns: int, *, is_known: bool = False
) -> RevocationReceipt:
    """Enter the revocations, hear for a bounded time who has cut what, and write it all down.

    `is_known`: the names are no mistake, so nobody is asked whether they were ever seen.
    """
    told = agent.revoke(ask.targets)
    reach = QuorumWait(agent, told.remote, ask.until, read_ns)
    await _termination(agent, told, reach)
    unseen = SEEN if is_known else await _unseen(agent, told)
    receipt = _receipt(ask, told, read_ns, reach.result(), unseen)
    agent.record([_record(agent, each, receipt) for each in told.results])
    return receipt


async def _unseen(agent: AgentState, told: PendingRevocation) -> UnknownName:
    """Where the name was never seen that a token may have; a step has one such name at most."""
    if not told.pending.count:  # or else a call of it was cut
        for each in told.results:
            if each.target.rules.claim:
                return await never_seen(agent, each.target)
    return SEEN


async def quarantine(agent: AgentState, ask: Quarantine) -> QuarantineState:
    """Set or lift it; the answer is given once the disk has it."""
    watching, clocks = agent.minting_watch, agent.clock.read()
    is_one = not ask.lift and not ask.orchestrator.endswith("/*")
    target = RevocationTarget(KeyKind.ORCHESTRATOR, ask.orchestrator)
    unseen = await never_seen(agent, target) if is_one else SEEN
    if ask.lift:
        standing = watching.lift(ask.crew, ask.orchestrator, clocks)
    else:
        standing = watching.set(ask.crew, ask.orchestrator, clocks, ask.seconds)
    if agent.fanout.others is not None:
        # An end that is moved forward must not be forgotten before the one it has taken the place
        # of: what was said earlier is over, and that is remembered for as long as it might last.
        words = (
            (QuarantineOrder(standing.word.at), standing.word) if not ask.lift else (standing.word,)
        )
        entries = [remote_quarantines.to_gossip(ask.crew, ask.orchestrator, word) for word in words]
        agent.fanout.others.pass_on(entries)
    await trio.to_thread.run_sync(watching.sync)
    others = agent.fanout.others
    machines = 1 if others is None else others.in_touch().members
    return QuarantineState(
        id=ask.id,
        row=status.watch_row(standing),
        never_seen=unseen.where,
        never_seen_on=unseen.on,
        machines=machines,
    )


async def forgive(agent: AgentState, ask: ForgiveBurned) -> BurnedForgiven:
    """Give burned credit back, and write down that somebody did; RefusedError."""
    crew = agent.registry.whose(ask.branch, ask.crew, agent.active_config.policy.crews)
    key = branch_key(crew, ask.branch)
    try:
        amount = await agent.ledger_queue.use(lambda ledger: ledger.forgive(key))
    except LedgerUnavailableError as error:
        raise RefusedError(f"the ledger does not answer: {error}") from error
    agent.lease_client.lift(key)
    burned = f"{format_credits(amount)} credits that were burned are" if amount else "nothing was"
    _log.info("of branch %s (%s) %s forgiven", ask.branch, crew, burned)
    return BurnedForgiven(id=ask.id, branch=ask.branch, crew=crew, amount=amount)


def may_mint(agent: AgentState, ask: CheckMint) -> MintDecision:
    """Count what the token endpoint is about to hand out; RefusedError for what is no grant."""
    agent.minting_watch.check(ask.crew, ask.claims.client_id)
    try:
        grant = grant_of(ask.claims, ask.crew, ask.kid)
    except ValueError as error:
        raise RefusedError(f"not a grant: {error}") from error
    return MintDecision(id=ask.id, admitted=agent.minting_watch.admits(grant, agent.clock.read()))


async def _termination(agent: AgentState, told: PendingRevocation, reach: QuorumWait) -> None:
    """Hear for a bounded time who has cut what; close accounts once everybody is being told."""
    try:
        # What was queued for the guests leaves now, before credit is taken back.
        await trio.lowlevel.cancel_shielded_checkpoint()
        agent.close(told.results)
        async with trio.open_nursery() as nursery:
            # Disk and other machines may take longer than the last cut: all are waited for at once.
            nursery.start_soon(reach.wait)
            with trio.move_on_after(limits.revocation_answer_seconds_max):
                await told.pending.wait()
    finally:
        agent.fanout.end(told)


def _receipt(
    ask: Revoke, told: PendingRevocation, read_ns: int, reach: QuorumResult, unseen: UnknownName
) -> RevocationReceipt:
    pending, last = told.pending, told.pending.last_cut_ns
    return RevocationReceipt(
        id=ask.id,
        targets=[each.target for each in told.results],
        read_ns=read_ns,
        last_cut_ns=last,
        cut_ms=max(0, last - read_ns) / 1e6 if last else 0.0,
        calls_cut=pending.count,
        connections_closed=pending.connections,
        attachments=told.attachments,
        unresponsive=len(pending.waiting),
        unlisted=sum(not each.is_listed for each in told.results),
        coarsened=any(each.coarse is not None for each in told.results),
        never_seen=unseen.where,
        never_seen_on=unseen.on,
        reach=reach,
    )


def _record(
    agent: AgentState, result: RevocationResult, receipt: RevocationReceipt
) -> records.RevocationRecord:
    target, (kind, name) = result.target, result.ended
    is_branch = target.kind is KeyKind.BRANCH
    who: dict[str, Any] = {**agent.registry.who(target.key if is_branch else b"")}
    who["crew"] = cross_crew_account.caller(target.crew)
    if target.rules.claim:
        who[target.rules.label] = target.name
    return records.RevocationRecord(
        **who,
        time=records.when(agent.clock.wall_ns()),
        target=kind,
        id=name,
        by="owner",
        cut_us=None if receipt.unresponsive else round(receipt.cut_ms * 1000),
        cuts=receipt.calls_cut + receipt.connections_closed,
        workers=receipt.attachments - receipt.unresponsive,
    )
