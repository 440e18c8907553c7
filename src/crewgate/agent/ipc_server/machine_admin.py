"""Serves the admin socket's questions to all machines: this one answers, and asks the others."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import trio

from crewgate import limits
from crewgate.agent import machine_answers
from crewgate.agent.ipc_server.message_stream import MessageStream
from crewgate.agent.state import AgentState
from crewgate.errors import ServiceRefusedError
from crewgate.ipc.admin_messages import AdminRequest
from crewgate.ipc.machine_messages import THIS_MACHINE, AskMachines, MachineAnswer
from crewgate.runtime.nursery import open_nursery

if TYPE_CHECKING:
    from crewgate.agent.cluster.cluster import Cluster


async def answer(
    agent: AgentState, connection: MessageStream[AdminRequest], request: AskMachines
) -> None:
    """Answer one request. Raises ServiceRefusedError."""
    own, others = agent.machine_name, agent.fanout.others
    if request.machine == THIS_MACHINE:
        request = msgspec.structs.replace(request, machine=own)
    if others is None and request.machine not in {"", own}:
        raise ServiceRefusedError(
            f"no machine {request.machine!r}: this machine is {own}, and has no [cluster]"
        )
    async with open_nursery() as nursery:
        send, receive = trio.open_memory_channel[MachineAnswer](0)
        if others is not None:
            # A machine without a cluster does not load this module's imports (see `main._join`).
            from crewgate.agent.cluster import machine_questions  # noqa: PLC0415
            from crewgate.agent.cluster.cluster import Cluster  # noqa: PLC0415

            if isinstance(others, Cluster):
                members = machine_questions.members_named(others.service, request.machine)
                nursery.start_soon(_ask_others, others, request, members, send.clone())
        async with send:
            if request.machine in {"", own} and not request.others_only:
                nursery.start_soon(_answer_here, agent, request, send.clone())
        async with receive:
            async for each in receive:
                await connection.send(each)
    await connection.send(MachineAnswer(request.id, "end", own))


async def _ask_others(
    cluster: "Cluster",
    request: AskMachines,
    members: Sequence[bytes],
    send: "trio.MemorySendChannel[MachineAnswer]",
) -> None:
    from crewgate.agent.cluster.machine_questions import ask_members  # noqa: PLC0415

    async with send:
        await ask_members(cluster.service, request, members, send)


async def _answer_here(
    agent: AgentState, request: AskMachines, send: "trio.MemorySendChannel[MachineAnswer]"
) -> None:
    own = agent.machine_name
    async with send:
        try:
            pages = await machine_answers.answer(agent, request.question_to(own))
        except ServiceRefusedError as error:
            why = str(error)[: limits.health_text_chars_max]
            await send.send(MachineAnswer(request.id, "failed", own, why=why))
            return
        for page in pages:
            await send.send(MachineAnswer(request.id, "page", own, page))
        await send.send(MachineAnswer(request.id, "whole", own))
