"""Serves the attach socket: a process attaches, draws, and receives revocations and reloads.

One connection is one attached process. However it ends, the table burns its reservations.
"""

import array
import os
import socket

import trio

from crewgate import limits
from crewgate.agent.budget.overrun_revocation import overran
from crewgate.agent.ipc_server.attachments import AttachedProcess
from crewgate.agent.ipc_server.message_stream import ConnectionClosedError, MessageStream
from crewgate.agent.revocation.rule_end import end_by_rule
from crewgate.agent.state import AgentState
from crewgate.errors import ServiceConnectionError, TableFullError
from crewgate.ipc import attach_messages as messages
from crewgate.ipc.sockets import ProcessCredentials, peer_of
from crewgate.runtime.nursery import open_nursery


async def serve_process(agent: AgentState, stream: trio.SocketStream) -> None:
    """Serve one connection until it ends.

    Raises ServiceConnectionError if it breaks the protocol.
    """
    connection = MessageStream(stream, messages.group_asks)
    request: messages.AttachRequest | None = None
    with trio.move_on_after(limits.ipc_seconds_max):
        request = await connection.receive()
    if request is None:
        return
    why = _objection(request, peer_of(stream.socket))
    if why or not isinstance(request, messages.Attach):
        await connection.send(messages.RequestFailed(id=0, message=why))
        return
    try:
        process, attached = agent.enter(request)
    except TableFullError as error:
        await connection.send(
            messages.RequestFailed(
                id=0, message=f"{error}: end attached processes that you do not need"
            )
        )
        return
    try:
        await _hand_over(stream, attached, agent.table.fd)
        await _serve(agent, connection, process)
    finally:
        agent.leave(process)


def _objection(request: messages.AttachRequest, peer: ProcessCredentials) -> str:
    if not isinstance(request, messages.Attach):
        return "attach first"
    if request.version != messages.VERSION:
        return (
            f"this process speaks version {request.version} of the agent's protocol, the agent "
            f"version {messages.VERSION}: restart the one that runs an older Crewgate"
        )
    if request.worker >= 0 and peer.uid not in {os.geteuid(), 0}:
        return "only the gateway's own user may attach a worker: attach as an embedder"
    return ""


async def _hand_over(stream: trio.SocketStream, attached: messages.Attached, table: int) -> None:
    """Send the answer together with the table's descriptor (unix(7), SCM_RIGHTS)."""
    body = messages.pack(attached)
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [table]))
    try:
        sent = await stream.socket.sendmsg([body], [rights])
    except OSError as error:
        raise ConnectionClosedError("the other side has closed the connection") from error
    if sent != len(body):
        raise ServiceConnectionError("the other side does not read its answer")


async def _serve(
    agent: AgentState, connection: MessageStream[messages.AttachRequest], process: AttachedProcess
) -> None:
    async with open_nursery() as nursery:
        process.descriptor = connection.stream.socket.fileno()
        nursery.start_soon(_send_loop, connection, process, nursery.cancel_scope)
        agent.tool_pins.push.send(process)
        while (request := await connection.receive()) is not None:
            _dispatch(agent, process, request)
        nursery.cancel_scope.cancel()


# What only a gateway's worker may ask for, in words for an embedder.
_OF_WORKERS: dict[type, str] = {
    messages.ReportOverrun: "report an overrun",
    messages.EndBranch: "end a branch by a rule",
    messages.ReportDefinitions: "report definitions of tools",
    messages.WorkerHealthReport: "report its health",
}


def _dispatch(agent: AgentState, process: AttachedProcess, request: messages.AttachRequest) -> None:
    if process.worker < 0 and (what := _OF_WORKERS.get(type(request))) is not None:
        raise ServiceConnectionError(f"only a gateway's worker may {what}")
    if isinstance(request, messages.DrawCredit):
        agent.draws.ask(process, request, agent.clock.read())
    elif isinstance(request, messages.ReportOverrun):
        process.send(overran(agent, request))
    elif isinstance(request, messages.EndBranch):
        end_by_rule(agent, request)
    elif isinstance(request, messages.ReportDefinitions):
        agent.tool_pins.report(process, request)
    elif isinstance(request, messages.RevocationAck):
        agent.fanout.disconnect_acks.answer(process, request)
    elif isinstance(request, messages.WorkerHealthReport):
        process.facts, process.received_ns = tuple(request.facts), agent.clock.boot_ns()
    elif isinstance(request, messages.WorkerReadinessReport):
        process.accepting = request.accepting
        process.policy_generation = request.policy_generation
    else:
        raise ServiceConnectionError("this process is attached already")


async def _send_loop(
    connection: MessageStream[messages.AttachRequest],
    process: AttachedProcess,
    scope: trio.CancelScope,
) -> None:
    """Send the queued messages; a process that does not read delays no other process."""
    try:
        async for message in process.outbox:
            await connection.send(message)
    except ServiceConnectionError:
        scope.cancel()
