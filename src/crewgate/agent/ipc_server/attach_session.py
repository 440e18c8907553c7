"""The group's door: a process attaches, draws, and hears of revocations and reloads.

One connection is one guest; when it ends, however it ends, what the guest held is burned.
"""

import array
import os
import socket

import trio

from crewgate import limits
from crewgate.agent.budget.overrun_revocation import overran
from crewgate.agent.ipc_server.attachments import AttachedProcess
from crewgate.agent.ipc_server.message_stream import ConnectionClosedError, MessageStream
from crewgate.agent.state import AgentState
from crewgate.errors import LinkError, TableFullError
from crewgate.ipc.attach_messages import (
    VERSION,
    Attach,
    Attached,
    AttachRequest,
    DrawCredit,
    ReportOverrun,
    RequestFailed,
    RevocationAck,
    WorkerAccepting,
    WorkerHealthReport,
    group_asks,
    pack,
)
from crewgate.ipc.sockets import ProcessCredentials, peer_of


async def serve_process(agent: AgentState, stream: trio.SocketStream) -> None:
    """Serve one connection until it ends; LinkError if it breaks the protocol."""
    talk = MessageStream(stream, group_asks)
    ask: AttachRequest | None = None
    with trio.move_on_after(limits.link_seconds_max):
        ask = await talk.receive()
    if ask is None:
        return
    why = _objection(ask, peer_of(stream.socket))
    if why or not isinstance(ask, Attach):
        await talk.send(RequestFailed(id=0, message=why))
        return
    try:
        process, attached = agent.enter(ask)
    except TableFullError as error:
        await talk.send(RequestFailed(id=0, message=f"{error}: end some embedders"))
        return
    try:
        await _hand_over(stream, attached, agent.table.fd)
        await _serve(agent, talk, process)
    finally:
        agent.leave(process)


def _objection(ask: AttachRequest, peer: ProcessCredentials) -> str:
    if not isinstance(ask, Attach):
        return "attach first"
    if ask.version != VERSION:
        return (
            f"this process speaks version {ask.version} of the link and the agent {VERSION}: "
            "restart whichever runs an older Crewgate"
        )
    if ask.worker >= 0 and peer.uid not in {os.geteuid(), 0}:
        return "workers are processes of the service's own user: attach as an embedder"
    return ""


async def _hand_over(stream: trio.SocketStream, attached: Attached, table: int) -> None:
    """The answer, with the table's descriptor beside it (unix(7), SCM_RIGHTS)."""
    body = pack(attached)
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [table]))
    try:
        sent = await stream.socket.sendmsg([body], [rights])
    except OSError as error:
        raise ConnectionClosedError("the other side has ended") from error
    if sent != len(body):
        raise LinkError("the other side takes no answer")


async def _serve(
    agent: AgentState, talk: MessageStream[AttachRequest], process: AttachedProcess
) -> None:
    failed: list[LinkError] = []
    async with trio.open_nursery() as nursery:
        process.reach(talk.stream.socket.fileno())
        nursery.start_soon(_send_loop, talk, process, nursery.cancel_scope)
        try:
            while (ask := await talk.receive()) is not None:
                _dispatch(agent, process, ask)
        except LinkError as error:
            # Carried out of the nursery by hand, so that it arrives as itself, not in a group.
            failed.append(error)
        nursery.cancel_scope.cancel()
    if failed:
        raise failed[0]


def _dispatch(agent: AgentState, process: AttachedProcess, ask: AttachRequest) -> None:
    if isinstance(ask, DrawCredit):
        agent.draw(process, ask)
    elif isinstance(ask, ReportOverrun):
        if process.worker < 0:
            raise LinkError("only a gateway's worker hears what answers state")
        process.send(overran(agent, ask))
    elif isinstance(ask, RevocationAck):
        agent.fanout.disconnect_acks.answer(process, ask)
    elif isinstance(ask, WorkerHealthReport):
        if process.worker < 0:
            raise LinkError("only a gateway's worker reports its health")
        process.facts, process.received_ns = tuple(ask.facts), agent.clock.boot_ns()
    elif isinstance(ask, WorkerAccepting):
        process.accepting = ask.accepting
        process.policy_generation = ask.policy_generation
    else:
        raise LinkError("attached already")


async def _send_loop(
    talk: MessageStream[AttachRequest], process: AttachedProcess, scope: trio.CancelScope
) -> None:
    """Send what is queued, until the guest is gone; a guest that does not read waits here alone."""
    try:
        async for message in process.outbox:
            await talk.send(message)
    except LinkError:
        scope.cancel()
