"""Serves the admin socket: revocation, quarantine, tree, status and reload, each in turn.

It passes each request to the agent's state and sends the answer. `cluster_admin` serves requests
about the other machines, and `pin_admin` those about MCP tools.
"""

import logging
from functools import partial

import trio

from crewgate import limits
from crewgate.agent import status
from crewgate.agent.anomaly import remote_quarantines
from crewgate.agent.branch_tree.tree_reader import TreeReader
from crewgate.agent.grant_consistency_check import grant_of
from crewgate.agent.ipc_server import machine_admin, pin_admin
from crewgate.agent.ipc_server.message_stream import MessageStream, pages
from crewgate.agent.ipc_server.revoke_request import revoke
from crewgate.agent.reload import reload_now
from crewgate.agent.revocation import revocation_list
from crewgate.agent.revocation.target_existence import SEEN, never_seen
from crewgate.agent.state import AgentState
from crewgate.core.anomaly.enforcement import EnforcementOrder
from crewgate.core.credits import format_credits
from crewgate.core.ids import EntityKind, branch_key
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import (
    ConfigurationError,
    LedgerUnavailableError,
    ServiceConnectionError,
    ServiceRefusedError,
)
from crewgate.ipc import admin_messages as messages
from crewgate.ipc.attach_messages import RequestFailed
from crewgate.ipc.cluster_messages import ClusterRequest
from crewgate.ipc.machine_messages import AskMachines
from crewgate.ipc.pin_messages import PinRequest
from crewgate.ipc.revocation_messages import GetRevocations, RevocationsPage

_log = logging.getLogger(__name__)


async def converse(agent: AgentState, stream: trio.SocketStream) -> None:
    """Serve one connection until it ends.

    Raises ServiceConnectionError if it breaks the protocol.
    """
    connection = MessageStream(stream, messages.owner_asks)
    try:
        while (request := await connection.receive()) is not None:
            await _answer_or_refuse(agent, connection, request)
    finally:
        agent.reports.leave(connection)


async def _answer_or_refuse(
    agent: AgentState,
    connection: MessageStream[messages.AdminRequest],
    request: messages.AdminRequest,
) -> None:
    try:
        if isinstance(request, messages.ProcessHealthReport):
            agent.reports.update(connection, request, agent.clock.boot_ns())
        elif isinstance(request, ClusterRequest):
            await _answer_about_cluster(agent, connection, request)
        elif isinstance(request, PinRequest):
            await pin_admin.answer(agent, connection, request)
        elif isinstance(request, AskMachines):
            await machine_admin.answer(agent, connection, request)
        elif isinstance(request, messages.GetTree | GetRevocations):
            await _answer_in_pages(agent, connection, request)
        else:
            await _answer(agent, connection, request)
    except (ServiceRefusedError, ConfigurationError) as error:
        await connection.send(
            RequestFailed(id=request.id, message=str(error)[: limits.ipc_reason_chars_max])
        )


async def _answer(
    agent: AgentState,
    connection: MessageStream[messages.AdminRequest],
    request: messages.AdminRequest,
) -> None:
    if isinstance(request, messages.Revoke):
        await connection.send(await revoke(agent, request, read_ns=agent.clock.monotonic_ns()))
    elif isinstance(request, messages.Quarantine):
        await connection.send(await quarantine(agent, request))
    elif isinstance(request, messages.ForgiveBurnedCredit):
        await connection.send(await forgive(agent, request))
    elif isinstance(request, messages.CheckMint):
        await connection.send(may_mint(agent, request))
    elif isinstance(request, messages.GetStatus):
        await connection.send(status.status(agent, request.id))
    elif isinstance(request, messages.ReloadConfig):
        before = agent.active_config.policy.generation
        await reload_now(agent)
        now = agent.active_config.policy.generation
        await connection.send(
            messages.ReloadResult(id=request.id, generation=now, changed=now != before)
        )
    else:
        raise ServiceConnectionError("the admin socket does not serve such a request")


async def _answer_in_pages(
    agent: AgentState,
    connection: MessageStream[messages.AdminRequest],
    request: messages.GetTree | GetRevocations,
) -> None:
    if isinstance(request, GetRevocations):
        copied = revocation_list.snapshot(agent)
        rows, total = await trio.to_thread.run_sync(
            revocation_list.newest, copied, request.crew, request.limit
        )
        for listed, last in pages(rows, limits.revocation_page_rows_max):
            await connection.send(RevocationsPage(request.id, listed, last, total))
        return
    if request.find or request.crew:
        made = partial(TreeReader(agent).find, request.find, request.crew)
    else:
        made = partial(TreeReader(agent).tree, request.spent_percent)
    for branches, last in pages(await trio.to_thread.run_sync(made)):
        await connection.send(messages.TreePage(id=request.id, rows=branches, last=last))


async def _answer_about_cluster(
    agent: AgentState, connection: MessageStream[messages.AdminRequest], request: ClusterRequest
) -> None:
    if agent.fanout.others is None:
        raise ServiceRefusedError(
            "this machine has no [cluster], so it has no other machines; add the section, as "
            "`crewgate init` writes it, and restart"
        )
    # A machine without a cluster does not load this module's imports (see `main._join`).
    from crewgate.agent.ipc_server import cluster_admin  # noqa: PLC0415

    await cluster_admin.answer(agent, connection, request)


async def quarantine(agent: AgentState, request: messages.Quarantine) -> messages.QuarantineResult:
    """Set or lift a quarantine, and answer once it is on disk. Raises ServiceRefusedError."""
    watching, clocks = agent.minting_watch, agent.clock.read()
    is_one = not request.lift and not request.orchestrator.endswith("/*")
    target = RevocationTarget(EntityKind.ORCHESTRATOR, request.orchestrator)
    unseen = await never_seen(agent, target) if is_one else SEEN
    if request.lift:
        status_after = watching.lift(request.crew, request.orchestrator, clocks, by=request.by)
    else:
        status_after = watching.set(
            request.crew, request.orchestrator, clocks, request.seconds, by=request.by
        )
    if agent.fanout.others is not None:
        # A new quarantine may end earlier than the one that it replaces. A release before it is
        # kept for as long as that one could last, so the old one does not come back.
        release = [] if request.lift else [EnforcementOrder(status_after.word.at)]
        entries = [
            remote_quarantines.to_gossip(request.crew, request.orchestrator, order)
            for order in (*release, status_after.word)
        ]
        agent.fanout.others.pass_on(entries)
    await trio.to_thread.run_sync(watching.sync)
    others = agent.fanout.others
    machines = 1 if others is None else others.in_touch().members
    return messages.QuarantineResult(
        id=request.id,
        row=status.watch_row(status_after),
        never_seen=unseen.where,
        never_seen_on=unseen.on,
        machines=machines,
    )


async def forgive(
    agent: AgentState, request: messages.ForgiveBurnedCredit
) -> messages.BurnedCreditForgiven:
    """Return burned credit to a branch, and log that a person did. Raises ServiceRefusedError."""
    crew = agent.registry.whose(request.branch, request.crew, agent.active_config.policy.crews)
    key = branch_key(crew, request.branch)
    try:
        amount = await agent.ledger_queue.use(lambda ledger: ledger.forgive(key))
    except LedgerUnavailableError as error:
        raise ServiceRefusedError(f"the ledger does not answer: {error}") from error
    agent.lease_client.lift(key)
    returned = format_credits(amount)
    who = f", by order of {request.by}" if request.by else ""
    _log.info("returned %s burned credits to branch %s (%s)%s", returned, request.branch, crew, who)
    return messages.BurnedCreditForgiven(
        id=request.id, branch=request.branch, crew=crew, amount=amount
    )


def may_mint(agent: AgentState, request: messages.CheckMint) -> messages.MintDecision:
    """Observe a grant that the token endpoint is about to sign. Raises ServiceRefusedError."""
    agent.minting_watch.check(request.crew, request.claims.client_id)
    try:
        grant = grant_of(request.claims, request.crew, request.kid)
    except ValueError as error:
        raise ServiceRefusedError(f"not a grant: {error}") from error
    admitted = agent.minting_watch.admits(grant, agent.clock.read())
    return messages.MintDecision(id=request.id, admitted=admitted)
