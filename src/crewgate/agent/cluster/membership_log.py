"""Logs which members have joined, become unresponsive, stopped, or are back.

Once a second it compares the members that count with what it logged last. If members come and go
all the time, it logs their present state now and then. The eviction itself logs an evicted member.
"""

from collections.abc import Iterator

from crewgate import limits
from crewgate.agent.cluster.cluster_status import named
from crewgate.core.gossip.messages import MemberState
from crewgate.core.rate_limit import TokenBucket
from crewgate.gossip.node import GossipNode
from crewgate.gossip.sockets import format_address, to_where

# The texts for one member and for several.
_TEXTS = {
    MemberState.ALIVE: ("is back", "are back"),
    MemberState.LEFT: ("has stopped", "have stopped"),
    MemberState.DEAD: ("does not answer", "do not answer"),
}


class MembershipLog:
    """The log of the members besides this one; call `begin` after the gossip is restored."""

    def __init__(self, gossip: GossipNode) -> None:
        self._gossip = gossip
        # The logged state: whether this machine counts, and the other members that count.
        self._counts = False
        self._logged: dict[bytes, MemberState] = {}
        self._rate = TokenBucket(limits.member_log_lines_per_second, limits.member_log_lines_burst)

    def begin(self) -> None:
        """Take the present state as logged."""
        self._counts, self._logged = self._gossip.node.freshness.counts, self._found()

    def log_changes(self, now: float) -> None:
        """Log the changes, within the rate limit."""
        found, counts = self._found(), self._gossip.node.freshness.counts
        is_news = counts and (found != self._logged or not self._counts)
        if not is_news or not self._rate.take(now):
            return
        texts = list(self._changes(found)) if self._counts else [self._joined(found)]
        self._counts, self._logged = counts, found
        for text in texts:
            self._gossip.host.log(text)

    def _found(self) -> dict[bytes, MemberState]:
        """Return the other members that count, with their states; a suspect counts as alive."""
        node = self._gossip.node
        fresh, found = node.freshness, dict[bytes, MemberState]()
        for member in {*fresh.others}.intersection(fresh.counted).difference(fresh.leaving):
            known = node.members.get(member)
            state = MemberState.DEAD if known is None else known.state
            found[member] = MemberState.ALIVE if state is MemberState.SUSPECT else state
        return found

    def _joined(self, found: dict[bytes, MemberState]) -> str:
        if not found:
            return "this machine counts as the first member of the cluster"
        return f"this machine has joined {self._names(list(found))}, and now counts for a majority"

    def _changes(self, found: dict[bytes, MemberState]) -> Iterator[str]:
        joined = [member for member in found if member not in self._logged]
        if joined:
            of = len(found) + 1
            has = "has" if len(joined) == 1 else "have"
            yield f"{self._names(joined)} {has} joined: {of} machines now count for a majority"
        for state, (one, many) in _TEXTS.items():
            present = {member for member in found if found[member] is state}
            changed = [each for each in present if self._logged.get(each, state) is not state]
            if changed:
                yield f"{self._names(changed)} {one if len(changed) == 1 else many}"

    def _names(self, members: list[bytes]) -> str:
        names = named(sorted(map(self._name, members)))
        return f"gateway {names[0]}" if len(members) == 1 else f"gateways {', '.join(names)}"

    def _name(self, member: bytes) -> str:
        certificates = self._gossip.membership.certificates
        known = certificates.get(member)
        where = f" at {format_address(to_where(known.address))}" if known else ""
        return f"{certificates.name(member)}{where}"
