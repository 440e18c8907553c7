"""The owner's door: revoke, quarantine, tree, status, reload, each answered in turn.

Decides nothing: asks the machine and puts its answers into messages. Of the other machines see
`cluster_admin`.
"""

import logging

import trio

from crewgate import limits
from crewgate.agent import status
from crewgate.agent.anomaly import remote_quarantines
from crewgate.agent.anomaly.minting_watch import grant_of
from crewgate.agent.ipc_server.message_stream import MessageStream
from crewgate.agent.ipc_server.revoke_request import revoke
from crewgate.agent.reload import reload_now
from crewgate.agent.revocation.seen_names import SEEN, never_seen
from crewgate.agent.state import AgentState
from crewgate.core.anomaly.enforcement import EnforcementOrder
from crewgate.core.credits import format_credits
from crewgate.core.ids import EntityKind, branch_key
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import ConfigurationError, LedgerUnavailableError, LinkError, RefusedError
from crewgate.ipc.admin_messages import (
    AdminRequest,
    BurnedCreditForgiven,
    CheckMint,
    ForgiveBurnedCredit,
    GetStatus,
    GetTree,
    MintDecision,
    Quarantine,
    QuarantineResult,
    ReloadConfig,
    ReloadResult,
    ReportHealth,
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
    elif isinstance(ask, ForgiveBurnedCredit):
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
    # A machine without a cluster does not load what this needs (see `main._join`).
    from crewgate.agent.ipc_server import cluster_admin  # noqa: PLC0415

    await cluster_admin.answer(agent, talk, ask)


async def quarantine(agent: AgentState, ask: Quarantine) -> QuarantineResult:
    """Set or lift it; the answer is given once the disk has it."""
    watching, clocks = agent.minting_watch, agent.clock.read()
    is_one = not ask.lift and not ask.orchestrator.endswith("/*")
    target = RevocationTarget(EntityKind.ORCHESTRATOR, ask.orchestrator)
    unseen = await never_seen(agent, target) if is_one else SEEN
    if ask.lift:
        standing = watching.lift(ask.crew, ask.orchestrator, clocks)
    else:
        standing = watching.set(ask.crew, ask.orchestrator, clocks, ask.seconds)
    if agent.fanout.others is not None:
        # An end that is moved forward must not be forgotten before the one it has taken the place
        # of: what was said earlier is over, and that is remembered for as long as it might last.
        words = (
            (EnforcementOrder(standing.word.at), standing.word)
            if not ask.lift
            else (standing.word,)
        )
        entries = [remote_quarantines.to_gossip(ask.crew, ask.orchestrator, word) for word in words]
        agent.fanout.others.pass_on(entries)
    await trio.to_thread.run_sync(watching.sync)
    others = agent.fanout.others
    machines = 1 if others is None else others.in_touch().members
    return QuarantineResult(
        id=ask.id,
        row=status.watch_row(standing),
        never_seen=unseen.where,
        never_seen_on=unseen.on,
        machines=machines,
    )


async def forgive(agent: AgentState, ask: ForgiveBurnedCredit) -> BurnedCreditForgiven:
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
    return BurnedCreditForgiven(id=ask.id, branch=ask.branch, crew=crew, amount=amount)


def may_mint(agent: AgentState, ask: CheckMint) -> MintDecision:
    """Count what the token endpoint is about to hand out; RefusedError for what is no grant."""
    agent.minting_watch.check(ask.crew, ask.claims.client_id)
    try:
        grant = grant_of(ask.claims, ask.crew, ask.kid)
    except ValueError as error:
        raise RefusedError(f"not a grant: {error}") from error
    return MintDecision(id=ask.id, admitted=agent.minting_watch.admits(grant, agent.clock.read()))
