"""The group's door: a process attaches, draws, and hears of revocations and reloads.

One connection is one guest; when it ends, however it ends, what the guest held is burned.
"""

import array
import os
import socket

import trio

from crewgate import limits
from crewgate.agent.budget.overruns import overran
from crewgate.agent.ipc_server.attachments import Guest
from crewgate.agent.ipc_server.message_stream import Conversation, EndedError
from crewgate.agent.state import Machine
from crewgate.errors import LinkError, TableFullError
from crewgate.ipc.attach_messages import (
    VERSION,
    Accepting,
    Attach,
    Attached,
    Cut,
    Draw,
    Failed,
    GroupAsks,
    Healthy,
    Overran,
    group_asks,
    pack,
)
from crewgate.ipc.sockets import Peer, peer_of


async def converse(machine: Machine, stream: trio.SocketStream) -> None:
    """Serve one connection until it ends; LinkError if it breaks the protocol."""
    talk = Conversation(stream, group_asks)
    ask: GroupAsks | None = None
    with trio.move_on_after(limits.link_seconds_max):
        ask = await talk.next()
    if ask is None:
        return
    why = _objection(ask, peer_of(stream.socket))
    if why or not isinstance(ask, Attach):
        await talk.say(Failed(id=0, message=why))
        return
    try:
        guest, attached = machine.enter(ask)
    except TableFullError as error:
        await talk.say(Failed(id=0, message=f"{error}: end some embedders"))
        return
    try:
        await _hand_over(stream, attached, machine.table.fd)
        await _serve(machine, talk, guest)
    finally:
        machine.leave(guest)


def _objection(ask: GroupAsks, peer: Peer) -> str:
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
        raise EndedError("the other side has ended") from error
    if sent != len(body):
        raise LinkError("the other side takes no answer")


async def _serve(machine: Machine, talk: Conversation[GroupAsks], guest: Guest) -> None:
    failed: list[LinkError] = []
    async with trio.open_nursery() as nursery:
        guest.reach(talk.stream.socket.fileno())
        nursery.start_soon(_tell, talk, guest, nursery.cancel_scope)
        try:
            while (ask := await talk.next()) is not None:
                _hear(machine, guest, ask)
        except LinkError as error:
            # Carried out of the nursery by hand, so that it arrives as itself, not in a group.
            failed.append(error)
        nursery.cancel_scope.cancel()
    if failed:
        raise failed[0]


def _hear(machine: Machine, guest: Guest, ask: GroupAsks) -> None:
    if isinstance(ask, Draw):
        machine.draw(guest, ask)
    elif isinstance(ask, Overran):
        if guest.worker < 0:
            raise LinkError("only a gateway's worker hears what answers state")
        guest.tell(overran(machine, ask))
    elif isinstance(ask, Cut):
        machine.telling.cuts.answer(guest, ask)
    elif isinstance(ask, Healthy):
        if guest.worker < 0:
            raise LinkError("only a gateway's worker reports its health")
        guest.facts, guest.heard_ns = tuple(ask.facts), machine.clock.boot_ns()
    elif isinstance(ask, Accepting):
        guest.accepting = ask.accepting
        guest.policy_generation = ask.policy_generation
    else:
        raise LinkError("attached already")


async def _tell(talk: Conversation[GroupAsks], guest: Guest, scope: trio.CancelScope) -> None:
    """Send what is queued, until the guest is gone; a guest that does not read waits here alone."""
    try:
        async for message in guest.outbox:
            await talk.say(message)
    except LinkError:
        scope.cancel()
