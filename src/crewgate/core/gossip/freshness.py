"""Until when a machine may admit: as long as it has compared with a majority of late.

Whoever has asked others for all that they know, and has been told, knows everything that any of
them knew when he asked. Two majorities of the same members have a member in common. So what a
majority has acknowledged is obeyed by every machine that still admits, `max_staleness` later, in
any partition (design/replication.md). Knows no clock: times are seconds of one that is never set.
"""

import math
from collections.abc import Iterable

from crewgate import limits


def majority(count: int) -> int:
    """How many of `count` members are more than half of them."""
    return count // 2 + 1


class Freshness:
    """When one member has compared with which others; `any_other` is enough where that is chosen.

    Members are counted by their certificates, there or not. A machine that no other was ever a
    member with is exempt: it is fresh for ever.
    """

    def __init__(self, me: bytes, *, any_other: bool = False) -> None:
        self._me = me
        self._any_other = any_other
        self._others: dict[bytes, float] = {}

    def __repr__(self) -> str:
        return f"<Freshness of {len(self._others) + 1}, {self.needed} needed>"

    @property
    def needed(self) -> int:
        """How many others must have been compared with."""
        if self._any_other:
            return min(1, len(self._others))
        return majority(len(self._others) + 1) - 1

    def join(self, members: Iterable[bytes]) -> None:
        """These are members, oneself among them or not; nothing was compared with new ones yet."""
        for member in members:
            if member != self._me and len(self._others) < limits.gossip_members_max:
                self._others.setdefault(member, -math.inf)

    def leave(self, member: bytes) -> None:
        """One who has said farewell, or was forgotten by a person."""
        self._others.pop(member, None)

    def compared(self, member: bytes, asked_at: float) -> None:
        """All that a member had is applied here: it was asked for at that time, or later."""
        if member in self._others:
            self._others[member] = max(self._others[member], asked_at)

    def until(self, max_staleness: float) -> float:
        """When this machine must admit nothing more; -inf if it has not compared at all."""
        needed = self.needed
        if not needed:
            return math.inf
        return sorted(self._others.values(), reverse=True)[needed - 1] + max_staleness
