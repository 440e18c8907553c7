"""Describes this machine and the other members for the status, health, and admin requests."""

import math
from collections.abc import Collection, Sequence

from crewgate import limits
from crewgate.core.gossip.messages import MemberState
from crewgate.gossip.member_verification import KnownMember
from crewgate.gossip.node import GossipNode
from crewgate.gossip.sockets import format_address, to_where
from crewgate.ipc.cluster_messages import MachineClusterStatus, MemberRow, QuorumSyncState

BOOTSTRAP = "start the first machine of a cluster once with `crewgate serve --bootstrap`"
ROOM = "room for the revocations of other machines: raise [table] revocations and restart"
FAULT = "a restart, because applying a remote revocation failed: see the log of the agent"
_LACKING = "any missing revocations"
_REACHABLE = {"alive", "suspect"}


def in_touch(
    gossip: GossipNode, max_staleness: float, synced_until_ns: int, unreached: Sequence[str]
) -> QuorumSyncState:
    """Return with how many members this machine has compared within `max_staleness` seconds.

    The answer has the configured peers that are `unreached` only if it knows no other member.
    """
    fresh, now = gossip.node.freshness, gossip.host.now()
    ages = sorted(now - fresh.compared_at(member) for member in fresh.others)
    compared = [age for age in ages if age < max_staleness]
    needed = fresh.needed
    is_endless = synced_until_ns == limits.never_ns
    return QuorumSyncState(
        members=len(fresh.others) + 1,
        compared=len(compared),
        needed=needed,
        quorum="any" if fresh.any_other else "majority",
        counts=fresh.counts,
        ago_seconds=_round(compared[needed - 1]) if 0 < needed <= len(compared) else None,
        synced_seconds=None if is_endless else _round(synced_until_ns / 1e9 - now),
        unreached=[] if fresh.others else named(unreached),
    )


def staleness(gossip: GossipNode) -> float:
    """Return the age of the oldest needed comparison in seconds; inf if one was never made."""
    fresh, now = gossip.node.freshness, gossip.host.now()
    ages = sorted(now - fresh.compared_at(member) for member in fresh.others)
    if not fresh.needed:
        return 0.0
    return ages[fresh.needed - 1] if fresh.needed <= len(ages) else math.inf


def waiting_for(
    gossip: GossipNode, touch: QuorumSyncState, max_staleness: float, lacks: str
) -> str:
    """Return what this machine waits for before it admits calls; empty if nothing.

    `lacks` says why it cannot apply the revocations that it has received; empty if it can.
    """
    if lacks:
        return lacks
    node, membership = gossip.node, gossip.membership
    if membership.is_evicted:
        needed = membership.rejoin_instructions
        return f"readmission: this machine was evicted; to rejoin, it needs {needed}"
    ahead = node.anti_entropy.clock_offset
    if abs(ahead) > limits.skew_max:
        return (
            f"a clock within {limits.skew_max} s of the other members: it is {abs(ahead):.0f} s "
            f"{'behind' if ahead > 0 else 'ahead of'} their median; set the clock"
        )
    if touch.synced_seconds is None or touch.synced_seconds > 0:
        return ""
    # No member that this machine knows counts, so none knows all revocations.
    if not node.freshness.counted:
        reachable = sum(_state(gossip, each) in _REACHABLE for each in node.freshness.others)
        why = "no peer answers"
        if touch.unreached:
            why = f"no peer could be joined: {', '.join(touch.unreached)}"
        if reachable:
            answer = "peer answers" if reachable == 1 else "peers answer"
            why = f"{reachable} {answer}, but none counts yet"
        return f"{_LACKING}: {why}; {BOOTSTRAP}"
    others = f"{touch.members - 1} other machine{'s' if touch.members > 2 else ''}"  # noqa: PLR2004
    return (
        f"{_LACKING}: this machine has compared with {touch.compared} of {others} in the last "
        f"{max_staleness:g} s, and needs {touch.needed}{_late(gossip, max_staleness)}"
    )


def _late(gossip: GossipNode, max_staleness: float) -> str:
    """Return the members without a recent comparison: the unresponsive ones, and the rest."""
    since, fresh = gossip.host.now() - max_staleness, gossip.node.freshness
    late = [each for each in fresh.others if fresh.compared_at(each) <= since]
    unresponsive = [each for each in late if _state(gossip, each) not in _REACHABLE]
    rest = [each for each in late if each not in unresponsive]
    parts = (("unresponsive", unresponsive), ("not compared", rest))
    name = gossip.membership.certificates.name
    return "".join(
        f"; {what}: {', '.join(named(sorted(map(name, some))))}" for what, some in parts if some
    )


def named(names: Collection[str]) -> list[str]:
    """Return as many names as fit into a line, and the number of the rest."""
    more = len(names) - limits.members_named_max
    rest = [f"and {more} more"] if more > 0 else []
    return [*list(names)[: limits.members_named_max], *rest]


def rows(gossip: GossipNode) -> list[MemberRow]:
    """Return all members, also those that do not count yet and evicted ones that still count."""
    membership, fresh = gossip.membership, gossip.node.freshness
    others = {*fresh.others, *(each.id for each in membership.certificates)} - {membership.me.id}
    own = _row(gossip, membership.me.id, membership.me)
    found = (_row(gossip, each, membership.certificates.get(each)) for each in others)
    return [own, *sorted(found, key=lambda row: row.name)]


def cluster_status(
    gossip: GossipNode, number: int, touch: QuorumSyncState, lacks: str, max_staleness: float
) -> MachineClusterStatus:
    """Return the answer to request `number`."""
    wall, keys, traffic = gossip.host.wall(), list(gossip.membership.keyring), gossip.traffic
    return MachineClusterStatus(
        id=number,
        name=gossip.membership.me.name,
        in_touch=touch,
        waiting_for=lacks,
        max_staleness_seconds=max_staleness,
        capsules=len(gossip.node.archive),
        keys=len(keys),
        newest_key_seconds=wall - keys[-1].created if keys else None,
        next_key_seconds=gossip.membership.next_key_at(gossip.node) - wall if keys else None,
        clock_ahead_seconds=gossip.node.anti_entropy.clock_offset,
        log_complete=not gossip.log.incomplete,
        sent=traffic.sent,
        received=traffic.received,
        refused=dict(traffic.refused),
    )


def _round(seconds: float) -> float:
    return round(max(0.0, seconds), 3)


def _row(gossip: GossipNode, member: bytes, known: KnownMember | None) -> MemberRow:
    at = gossip.node.freshness.compared_at(member)
    return MemberRow(
        name=gossip.membership.certificates.name(member),
        address=format_address(to_where(known.address)) if known else "",
        state=_state(gossip, member),
        standing=_voter_state(gossip, member),
        compared_seconds=_round(gossip.host.now() - at) if at > 0 else None,
        ends=known.not_after if known else 0,
        may_revoke=known is not None and known.may_revoke,
    )


def _state(gossip: GossipNode, member: bytes) -> str:
    if member == gossip.membership.me.id:
        return "here"
    found = gossip.node.members.get(member)
    return (found.state if found is not None else MemberState.DEAD).name.lower()


def _voter_state(gossip: GossipNode, member: bytes) -> str:
    fresh, me = gossip.node.freshness, gossip.membership.me.id
    if member == me and gossip.membership.is_evicted:
        return "evicted"
    if member == me:
        return "counts" if fresh.counts else "joining"
    if member not in fresh.others:
        return "waiting"
    if member in fresh.leaving:
        return "leaving"
    return "counts" if member in fresh.counted else "joining"
