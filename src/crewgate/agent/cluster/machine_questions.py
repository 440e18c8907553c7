"""Asks all machines of the cluster for a command, and relays what they answer.

Each machine has a deadline. The pages of the members go through unread, one at a time for each
member, so a member that answers hugely or slowly costs this agent no memory and delays no other.
"""

from collections.abc import Sequence

import trio

from crewgate import limits
from crewgate.agent.cluster.cluster import Cluster
from crewgate.core.gossip.messages import MemberState
from crewgate.errors import ServiceRefusedError
from crewgate.ipc.machine_messages import AskMachines, AuditQuestion, MachineAnswer, encode

_NO_TIME = "there are too many machines to ask all of them in time"


async def ask_members(
    cluster: Cluster,
    request: AskMachines,
    members: Sequence[bytes],
    send: "trio.MemorySendChannel[MachineAnswer]",
) -> None:
    """Send the answers of these members."""
    places = trio.CapacityLimiter(limits.members_asked_at_once)
    waiting = set(members)
    with trio.move_on_after(_all_seconds(request)):
        async with trio.open_nursery() as nursery:
            for member in members:
                nursery.start_soon(_ask, cluster, request, member, places, waiting, send)
    for member in members:
        if member in waiting:
            await send.send(_failed(cluster, request, member, _NO_TIME))


def _seconds(request: AskMachines) -> float:
    """Return how long one member may take."""
    is_audit = isinstance(request.question, AuditQuestion)
    return limits.member_audit_seconds_max if is_audit else limits.member_answer_seconds_max


def _all_seconds(request: AskMachines) -> float:
    is_audit = isinstance(request.question, AuditQuestion)
    return limits.members_audit_seconds_max if is_audit else limits.members_answer_seconds_max


def members_named(cluster: Cluster, name: str) -> Sequence[bytes]:
    """Return the members besides this machine, in the order of their names.

    With `name`, return only this one. Raises ServiceRefusedError if there is none.
    """
    membership, fresh = cluster.gossip.membership, cluster.gossip.node.freshness
    found = {*fresh.others, *(each.id for each in membership.certificates)}
    found -= {membership.me.id, *fresh.leaving}
    if name == cluster.own_name():
        return []
    named = {cluster.name(each): each for each in found}
    if name and name not in named:
        raise ServiceRefusedError(f"no machine {name!r}; `crewgate cluster members` lists them")
    return [named[each] for each in sorted(named) if name in {"", each}]


async def _ask(
    cluster: Cluster,
    request: AskMachines,
    member: bytes,
    places: trio.CapacityLimiter,
    waiting: set[bytes],
    send: "trio.MemorySendChannel[MachineAnswer]",
) -> None:
    name = cluster.name(member)

    async def take(page: bytes) -> None:
        await send.send(MachineAnswer(request.id, "page", name, page))

    known = cluster.gossip.node.members.get(member)
    is_there = known is not None and known.state in {MemberState.ALIVE, MemberState.SUSPECT}
    seconds = _seconds(request) if is_there else limits.member_absent_seconds_max
    async with places:
        question = cluster.service.question
        why = await question(member, encode(request.question), take, seconds)
        whole = MachineAnswer(request.id, "whole", name)
        await send.send(_failed(cluster, request, member, why) if why else whole)
        waiting.discard(member)


def _failed(cluster: Cluster, request: AskMachines, member: bytes, why: str) -> MachineAnswer:
    text = why[: limits.health_text_chars_max]
    return MachineAnswer(request.id, "failed", cluster.name(member), why=text)
