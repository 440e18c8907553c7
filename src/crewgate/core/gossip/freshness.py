"""Until when a machine may admit: as long as it has compared with a majority of late.

Whoever has asked others for all that they know, and has been told, knows everything that any of
them knew when he asked. Two majorities of the same members have a member in common. So what a
majority has acknowledged is obeyed by every machine that still admits, `max_staleness` later, in
any partition (design/replication.md). Knows no clock: times are seconds of one that is never set.

The members change as in Raft (Ongaro 2014, section 4.2), without its log. One that joins, or begins
with an empty disk, does not count until it has compared with a majority of those who do and know
it. One that is forgotten goes once a majority of those with it was compared with since. An answer
counts only among those whose members are the same.
"""

import math
from collections.abc import Iterable
from hashlib import blake2b

from crewgate import limits

DIGEST_BYTES = 8


def majority(count: int) -> int:
    """How many of `count` members are more than half of them."""
    return count // 2 + 1


class Freshness:
    """When one member has compared with which others, there or not.

    `counts` says that it has all that it ever acknowledged: from before a restart, or by an
    operator's word. With `any_other` one other is enough, and of two members none: a pair goes on
    alone, and knows nothing of what is revoked beyond a cut.
    """

    def __init__(self, me: bytes, *, any_other: bool = False, counts: bool = False) -> None:
        self.any_other = any_other
        self.counts = counts
        self._me = me
        self._others: dict[bytes, float] = {}
        self._leaving: dict[bytes, float] = {}  # since when
        self._began = math.inf  # to compare
        self._digest = self._digested()

    def __repr__(self) -> str:
        return f"<Freshness of {len(self._others) + 1}, {self.needed} needed>"

    @property
    def others(self) -> tuple[bytes, ...]:
        """All members but this one."""
        return tuple(self._others)

    @property
    def digest(self) -> bytes:
        """8 bytes that are the same for all who have the same members."""
        return self._digest

    @property
    def needed(self) -> int:
        """How many others must have been compared with."""
        count = len(self._others)
        if not self.counts:  # a joiner is let in by those who are there before it
            return majority(count) if not self.any_other else 1
        if self.any_other:
            return 1 if count > 1 else 0
        return majority(count + 1) - 1

    def join(self, members: Iterable[bytes]) -> None:
        """These are members, oneself among them or not; nothing was compared with new ones yet."""
        count = len(self._others)
        for member in members:
            if member != self._me and len(self._others) < limits.gossip_members_max:
                self._others.setdefault(member, -math.inf)
        if len(self._others) > count:  # every sync tells of all of them
            self._digest = self._digested()

    def leave(self, member: bytes, now: float) -> None:
        """One that a person has forgotten: it goes once a majority was compared with since."""
        if member in self._others:
            self._leaving.setdefault(member, now)
            self._settle()

    def drop(self, member: bytes) -> None:
        """One that is gone for good, by the word of a person who takes the risk: at once."""
        self._others.pop(member, None)
        self._leaving.pop(member, None)
        self._digest = self._digested()

    def compared(self, member: bytes, asked_at: float) -> bool:
        """All that a member had is applied here: it was asked for at that time, or later.

        Whether this machine counts from now on, and did not before.
        """
        if member not in self._others:
            return False
        self._others[member] = max(self._others[member], asked_at)
        self._began = min(self._began, asked_at)
        self._settle()
        if self.counts or self._at() < self._began + limits.receipt_word_seconds:
            return False
        self.counts = True
        return True

    def until(self, max_staleness: float) -> float:
        """When this machine must admit nothing more; -inf if it has not compared at all."""
        return self._at() + max_staleness

    def _at(self) -> float:
        needed = self.needed
        if not needed:
            return math.inf
        if needed > len(self._others):
            return -math.inf
        return sorted(self._others.values(), reverse=True)[needed - 1]

    def _settle(self) -> None:
        """Let those go whom a majority that knew them has been asked about."""
        while self._leaving:
            member, since = next(iter(self._leaving.items()))
            if self._at() < since:
                return
            self.drop(member)

    def _digested(self) -> bytes:
        joined = b"".join(sorted({self._me, *self._others}))
        return blake2b(joined, digest_size=DIGEST_BYTES).digest()
