"""How this machine stands among the others, in words and rows. Asks the gossip; changes nothing."""

from collections.abc import Collection, Iterator, Sequence

from crewgate import limits
from crewgate.core.gossip.messages import MemberState
from crewgate.gossip.member_certificates import KnownMember
from crewgate.gossip.node import GossipNode
from crewgate.gossip.sockets import format_address, to_where
from crewgate.ipc.cluster_messages import ClusterStatus, MemberRow, MembersPage, QuorumSyncState

BOOTSTRAP = "the first machine of all is started once with `crewgate serve --bootstrap`"
ROOM = "room for what others revoke: raise [table] revocations and start again"
_THERE = {"alive", "suspect"}
FAULT = "a start that can do what others revoke: the log of the agent says what went wrong"


def in_touch(
    gossip: GossipNode, max_staleness: float, synced_until_ns: int, unreached: Sequence[str]
) -> QuorumSyncState:
    """With how many it has compared within `max_staleness` seconds, of how many.

    Which configured peers are `unreached` is told of a machine that knows no other.
    """
    fresh, now = gossip.node.freshness, gossip.host.now()
    ages = sorted(now - fresh.compared_at(member) for member in fresh.others)
    compared = [age for age in ages if age < max_staleness]
    needed = fresh.needed
    is_endless = synced_until_ns == limits.always_ns
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


def waiting_for(
    gossip: GossipNode, touch: QuorumSyncState, max_staleness: float, lacks: str
) -> str:
    """What keeps this machine from admitting; empty if nothing does.

    It `lacks` what would have it obey what it has heard.
    """
    if lacks:
        return lacks
    node, membership = gossip.node, gossip.company
    if membership.is_evicted:
        way_back = membership.rejoin_instructions
        return f"others that count it: it was evicted, and to come back takes {way_back}"
    ahead = node.anti_entropy.clock_offset
    if abs(ahead) > limits.skew_max:
        return (
            f"a clock within {limits.skew_max} s of the others': it is {abs(ahead):.0f} s "
            f"{'behind' if ahead > 0 else 'ahead of'} their median"
        )
    if touch.synced_seconds is None or touch.synced_seconds > 0:
        return ""
    if not node.freshness.counted:  # nobody that it has ever heard of has all there is to know
        there = sum(_state(gossip, each) in _THERE for each in node.freshness.others)
        who = "no peer answers"
        if touch.unreached:
            who = f"no peer could be joined: {', '.join(touch.unreached)}"
        if there:
            who = f"{there} {'peer answers' if there == 1 else 'peers answer'}, none of which knows"
        return f"what a majority of the members knows: {who}; {BOOTSTRAP}"
    others = "1 other" if touch.members == 2 else f"{touch.members - 1} others"  # noqa: PLR2004
    are = "is" if touch.needed == 1 else "are"
    return (
        f"what a majority of the members knows: compared with {touch.compared} of {others} in "
        f"time, and {touch.needed} {are} needed{_late(gossip, max_staleness)}"
    )


def _late(gossip: GossipNode, max_staleness: float) -> str:
    """Who was not compared with in time: those who do not answer at all, and the rest."""
    since, fresh = gossip.host.now() - max_staleness, gossip.node.freshness
    late = [each for each in fresh.others if fresh.compared_at(each) <= since]
    silent = [each for each in late if _state(gossip, each) not in _THERE]
    rest = [each for each in late if each not in silent]
    parts = (("silent", silent), ("not in time", rest))
    name = gossip.company.directory.name
    return "".join(
        f"; {what}: {', '.join(named(sorted(map(name, some))))}" for what, some in parts if some
    )


def named(names: Collection[str]) -> list[str]:
    """As many as go into a line, and how many more there are."""
    most = limits.members_named_max
    more = len(names) - most
    return [*list(names)[:most], *([f"and {more} more"] if more > 0 else [])]


def rows(gossip: GossipNode) -> list[MemberRow]:
    """All members, those who wait to be, and those who were evicted and are still counted."""
    membership, fresh = gossip.company, gossip.node.freshness
    others = {*fresh.others, *(each.id for each in membership.directory)} - {membership.me.id}
    mine = _row(gossip, membership.me.id, membership.me)
    found = (_row(gossip, each, membership.directory.get(each)) for each in others)
    return [mine, *sorted(found, key=lambda row: row.name)]


def pages(found: Sequence[MemberRow], number: int) -> Iterator[MembersPage]:
    """The answer to question `number`."""
    size = limits.link_tree_rows_max
    for first in range(0, len(found), size):
        is_last = first + size >= len(found)
        yield MembersPage(id=number, rows=list(found[first : first + size]), last=is_last)


def cluster_status(
    gossip: GossipNode, number: int, touch: QuorumSyncState, lacks: str, max_staleness: float
) -> ClusterStatus:
    """The answer to question `number`."""
    wall, keys, traffic = gossip.host.wall(), list(gossip.company.keyring), gossip.traffic
    return ClusterStatus(
        id=number,
        name=gossip.company.me.name,
        in_touch=touch,
        waiting_for=lacks,
        max_staleness_seconds=max_staleness,
        capsules=len(gossip.node.archive),
        keys=len(keys),
        newest_key_seconds=wall - keys[-1].created if keys else None,
        next_key_seconds=gossip.company.next_key_at(gossip.node) - wall if keys else None,
        clock_ahead_seconds=gossip.node.anti_entropy.clock_offset,
        log_complete=not gossip.log.incomplete,
        sent=traffic.sent,
        received=traffic.received,
        refused=dict(traffic.refused),
    )


def _round(seconds: float) -> float:
    """To the millisecond, as nobody wants it exacter; and no time is below zero."""
    return round(max(0.0, seconds), 3)


def _row(gossip: GossipNode, member: bytes, known: KnownMember | None) -> MemberRow:
    at = gossip.node.freshness.compared_at(member)
    return MemberRow(
        name=gossip.company.directory.name(member),
        address=format_address(to_where(known.address)) if known else "",
        state=_state(gossip, member),
        standing=_voter_state(gossip, member),
        compared_seconds=_round(gossip.host.now() - at) if at > 0 else None,
        ends=known.not_after if known else 0,
        may_revoke=known is not None and known.may_revoke,
    )


def _state(gossip: GossipNode, member: bytes) -> str:
    if member == gossip.company.me.id:
        return "here"
    found = gossip.node.members.get(member)
    return (found.state if found is not None else MemberState.DEAD).name.lower()


def _voter_state(gossip: GossipNode, member: bytes) -> str:
    fresh, me = gossip.node.freshness, gossip.company.me.id
    if member == me and gossip.company.is_evicted:
        return "evicted"
    if member == me:
        return "counts" if fresh.counts else "joining"
    if member not in fresh.others:
        return "waiting"
    if member in fresh.leaving:
        return "leaving"
    return "counts" if member in fresh.counted else "joining"
