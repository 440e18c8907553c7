"""Asks all machines of the cluster for a command, and relays what they answer.

Each machine has a deadline. The pages of the members go through unread, one at a time for each
member, so a member that answers hugely or slowly costs this agent no memory and delays no other.
"""

from collections.abc import Sequence

import trio

from crewgate import limits
from crewgate.core.gossip.messages import MemberState
from crewgate.core.rate_limit import TokenBucket
from crewgate.errors import ServiceRefusedError
from crewgate.gossip.transport import GossipTransport
from crewgate.ipc.answer_parts import RunsPart
from crewgate.ipc.cluster_view import collect
from crewgate.ipc.machine_messages import (
    AskMachines,
    LongQuestion,
    MachineAnswer,
    MachineQuestion,
    RunsQuestion,
    encode,
)
from crewgate.runtime.nursery import open_nursery

_NO_TIME = "there are too many machines to ask all of them in time"


async def ask_members(
    service: GossipTransport,
    request: AskMachines,
    members: Sequence[bytes],
    send: "trio.MemorySendChannel[MachineAnswer]",
) -> None:
    """Send the answers of these members."""
    is_long = isinstance(request.question, LongQuestion)
    places = service.long_question_places if is_long else service.question_places
    waiting = set(members)
    with trio.move_on_after(_seconds(request.question)[1]):
        async with trio.open_nursery() as nursery:
            for member in members:
                nursery.start_soon(_ask, service, request, member, places, waiting, send)
    for member in members:
        if member in waiting:
            await send.send(_failed(service, request, member, _NO_TIME))


async def runs_of(
    service: GossipTransport, subject: str, crew: str, rate: TokenBucket
) -> tuple[set[bytes], int]:
    """Return the live runs of a subject that members have seen, and how many did not say it.

    Beyond `rate`, ask none: a crew that revokes many subjects must not use up what members answer.
    """
    asked = members_named(service, "")
    if not rate.take(trio.current_time()):
        return set(), len(asked)
    request = AskMachines(0, RunsQuestion(subject, crew))
    send, receive = trio.open_memory_channel[MachineAnswer](0)
    answers: list[MachineAnswer] = []

    async def ask() -> None:
        async with send:
            await ask_members(service, request, asked, send)

    async with open_nursery() as nursery:
        nursery.start_soon(ask)
        async with receive:
            answers += [each async for each in receive]
    found = collect(answers, RunsPart)
    runs = {run for parts in found.parts.values() for part in parts for run in part.runs}
    return runs, len(found.not_asked)


def _seconds(question: MachineQuestion) -> tuple[float, float]:
    """Return how long one member may take for its answer, and all members together."""
    if isinstance(question, LongQuestion):
        return limits.member_audit_seconds_max, limits.members_audit_seconds_max
    if isinstance(question, RunsQuestion):
        return limits.member_runs_seconds_max, limits.members_runs_seconds_max
    return limits.member_answer_seconds_max, limits.members_answer_seconds_max


def members_named(service: GossipTransport, name: str) -> Sequence[bytes]:
    """Return the members besides this machine, in the order of their names.

    With `name`, return only this one. Raises ServiceRefusedError if there is none.
    """
    membership, fresh = service.gossip.membership, service.gossip.node.freshness
    found = {*fresh.others, *(each.id for each in membership.certificates)}
    found -= {membership.me.id, *fresh.leaving}
    if name == membership.me.name:
        return []
    named = {_name(service, each): each for each in found}
    if name and name not in named:
        raise ServiceRefusedError(f"no machine {name!r}; `crewgate cluster members` lists them")
    return [named[each] for each in sorted(named) if name in {"", each}]


async def _ask(
    service: GossipTransport,
    request: AskMachines,
    member: bytes,
    places: trio.CapacityLimiter,
    waiting: set[bytes],
    send: "trio.MemorySendChannel[MachineAnswer]",
) -> None:
    name = _name(service, member)

    async def take(page: bytes) -> None:
        await send.send(MachineAnswer(request.id, "page", name, page))

    known = service.gossip.node.members.get(member)
    is_there = known is not None and known.state in {MemberState.ALIVE, MemberState.SUSPECT}
    each, _ = _seconds(request.question)
    seconds = each if is_there else limits.member_absent_seconds_max
    async with places:
        question = service.question
        why = await question(member, encode(request.question_to(name)), take, seconds)
        whole = MachineAnswer(request.id, "whole", name)
        await send.send(_failed(service, request, member, why) if why else whole)
        waiting.discard(member)


def _name(service: GossipTransport, member: bytes) -> str:
    return service.gossip.membership.certificates.name(member)


def _failed(
    service: GossipTransport, request: AskMachines, member: bytes, why: str
) -> MachineAnswer:
    text = why[: limits.health_text_chars_max]
    return MachineAnswer(request.id, "failed", _name(service, member), why=text)
