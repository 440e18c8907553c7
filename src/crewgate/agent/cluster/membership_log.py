"""What a person is told of the other machines: who has joined, fallen silent, stopped, or is back.

Looks once a second at what gossip thinks of those who count, and tells what is another than was
told last. Who comes and goes all the time is told of now and then, as it is at that time. Who is
evicted is told by who evicts it.
"""

from collections.abc import Iterator

from crewgate import limits
from crewgate.agent.cluster.cluster_status import named
from crewgate.core.gossip.messages import MemberState
from crewgate.core.rate_limit import TokenBucket
from crewgate.gossip.node import GossipNode
from crewgate.gossip.sockets import format_address, to_where

_WORDS = {  # of one, of many
    MemberState.ALIVE: ("is there again", "are there again"),
    MemberState.LEFT: ("has stopped", "have stopped"),
    MemberState.DEAD: ("does not answer", "do not answer"),
}


class MembershipLog:
    """Of the machines besides this one; `begin` once what was known before is restored."""

    def __init__(self, gossip: GossipNode) -> None:
        self._gossip = gossip
        self._counts = False  # this machine, as was told last
        self._logged: dict[bytes, MemberState] = {}  # the others who count
        self._words = TokenBucket(limits.member_words_per_second, limits.member_words_burst)

    def begin(self) -> None:
        """Nobody needs to be told of what was so before."""
        self._counts, self._logged = self._gossip.node.freshness.counts, self._found()

    def log_changes(self, now: float) -> None:
        """Tell what is new, unless there was too much of that."""
        found, counts = self._found(), self._gossip.node.freshness.counts
        is_news = counts and (found != self._logged or not self._counts)
        if not is_news or not self._words.take(now):
            return
        words = list(self._changes(found)) if self._counts else [self._joined(found)]
        self._counts, self._logged = counts, found
        for each in words:
            self._gossip.host.log(each)

    def _found(self) -> dict[bytes, MemberState]:
        """Those who count, and whether they are there: a suspect may well be."""
        node = self._gossip.node
        fresh, found = node.freshness, dict[bytes, MemberState]()
        for member in {*fresh.others}.intersection(fresh.counted).difference(fresh.leaving):
            known = node.members.get(member)
            state = MemberState.DEAD if known is None else known.state
            found[member] = MemberState.ALIVE if state is MemberState.SUSPECT else state
        return found

    def _joined(self, found: dict[bytes, MemberState]) -> str:
        if not found:
            return "this machine counts as the first of all"
        return f"this machine has joined {self._names(list(found))}, and counts"

    def _changes(self, found: dict[bytes, MemberState]) -> Iterator[str]:
        joined = [member for member in found if member not in self._logged]
        if joined:
            of = len(found) + 1
            has = "has" if len(joined) == 1 else "have"
            yield f"{self._names(joined)} {has} joined: {of} machines count"
        for state, (one, many) in _WORDS.items():
            now_so = {member for member in found if found[member] is state}
            those = [each for each in now_so if self._logged.get(each, state) is not state]
            if those:
                yield f"{self._names(those)} {one if len(those) == 1 else many}"

    def _names(self, members: list[bytes]) -> str:
        words = named(sorted(map(self._name, members)))
        return f"gateway {words[0]}" if len(members) == 1 else f"gateways {', '.join(words)}"

    def _name(self, member: bytes) -> str:
        directory = self._gossip.company.directory
        known = directory.get(member)
        where = f" at {format_address(to_where(known.address))}" if known else ""
        return f"{directory.name(member)}{where}"
