"""Until when a machine may admit: as long as it has compared with a majority of late.

Whoever has asked others for all that they know, and has been told, knows everything that any of
them knew when he asked. Two majorities of the same members have a member in common. So what a
majority has acknowledged is obeyed by every machine that still admits, `max_staleness` later, in
any partition. Knows no clock: times are seconds of one that is never set.

The members change by the thought of Raft (Ongaro 2014, section 4), without its log. Whoever counts
admits all new ones that it knows in one step, and nobody else until it knows that these count. One
that does not count yet, new or with an empty disk, does so once it has compared with a majority of
those who ever did. One that is evicted goes once a majority with it was compared with since. An
answer counts only if both machines have the same members, the same ones that ever counted, and the
same evictions that wait. If a machine waits to drop a member, and another machine that counts has
dropped it, it drops it too, once it has everything that the other had.

If several evictions wait, a machine carries them out one by one, in the order of the ids. For each
one it needs new answers from a majority of the members that it has then. Otherwise it could go from
five members to three at once. Two of the three, and the other three of the five, would then both
take themselves for a majority.

The machine that drops a member has asked a majority, so it knows all that was acknowledged among
the members of before. Whoever follows it must know as much: after the next eviction, the machines
that remain may have no member in common with those that acknowledged.

Two machines may each evict a different member at the same time. If both succeeded among four, each
would have three members left. Two machines with one view, and two with the other, would then both
take themselves for a majority. This cannot happen: each eviction would need a majority that knows
of it and not of the other one. These two majorities share a machine, and no machine forgets an
eviction.

Who alone counts goes on admitting while the one other that it let in does not count yet. No
majority is without it: of two both are needed; and whoever else is to count, or to evict it,
needs an answer of it that is worth nothing before it knows, as they do, that the other counts. Once
it hears that, it knows all that was acknowledged until then, as if it had compared at that moment.
Of two newcomers that does not hold: they may count by its answers, and be a majority of three
without it.
"""

import math
from collections.abc import Iterable
from hashlib import blake2b

from crewgate import limits

DIGEST_BYTES = 8


def majority(count: int) -> int:
    """How many of `count` members are more than half of them."""
    return count // 2 + 1


class QuorumFreshness:
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
        self._counted: set[bytes] = set()  # who ever did, this one too if others say so
        self._leaving: dict[bytes, float] = {}  # since when
        self._answers: dict[bytes, float] = {}  # under `_answers_digest`: who, and asked when
        self._answers_digest = b""
        self._began = math.inf  # to compare
        self._digest: tuple[bool, bytes] | None = None  # and whether this one counted then

    def __repr__(self) -> str:
        return f"<Freshness of {len(self._others) + 1}, {self.needed} needed>"

    @property
    def others(self) -> tuple[bytes, ...]:
        """All members but this one."""
        return tuple(self._others)

    @property
    def counted(self) -> tuple[bytes, ...]:
        """All members who ever counted, in order."""
        return tuple(sorted({*self._counted, *([self._me] if self.counts else ())}))

    @property
    def waiting(self) -> tuple[bytes, ...]:
        """Those who were admitted and have not compared with a majority yet."""
        return tuple(member for member in self._others if member not in self._counted)

    @property
    def leaving(self) -> tuple[bytes, ...]:
        """Those who were evicted, and are members until a majority was asked."""
        return tuple(self._leaving)

    @property
    def digest(self) -> bytes:
        """8 bytes; machines have the same if they agree on members and on evictions that wait."""
        if self._digest is None or self._digest[0] is not self.counts:
            self._digest = self.counts, self._digested()
        return self._digest[1]

    @property
    def needed(self) -> int:
        """How many others must have been compared with."""
        if not self.counts:
            return 1 if self.any_other else majority(len(self._counted - {self._me}))
        if self.any_other:
            return 1 if len(self._others) > 1 else 0
        return majority(len(self._others) + 1) - 1

    def admit(self, members: Iterable[bytes]) -> bool:
        """These have shown certificates; whether any is a member that was none."""
        new = {each for each in members if each != self._me and each not in self._others}
        if not new or not self.counts or self.waiting:
            return False
        self._join(sorted(new))
        return True

    def merge(
        self, members: Iterable[bytes], counted: Iterable[bytes], now: float = -math.inf
    ) -> bool:
        """What another thinks of who is a member, and who ever counted; whether that is news.

        `now` is when it said so; what is read from a disk is of no time.
        """
        before, newcomer = self.digest, self._newcomer
        self._join(members)
        self._count(each for each in counted if each == self._me or each in self._others)
        if newcomer in self._counted:
            self._others[newcomer] = max(self._others[newcomer], now)
        return self.digest != before

    def leave(self, member: bytes, now: float) -> None:
        """One that a person has evicted: it goes once a majority was compared with since."""
        if member in self._others and member not in self._leaving:
            self._leaving[member] = now
            self._digest = None
            self._settle()

    def let_go(self, members: Iterable[bytes]) -> bool:
        """Drop who leaves here, and is none of the members of another; whether anybody went.

        The other counts, and all that it had when it said so is here. It asked a majority. A
        machine that waited for answers of its own would wait for ever, as nobody else has the same
        view any more.
        """
        gone = self._leaving.keys() - set(members)
        for member in gone:
            self.drop(member)
        return bool(gone)

    def drop(self, member: bytes) -> None:
        """One that is gone for good, by the word of a person who takes the risk: at once."""
        self._others.pop(member, None)
        self._leaving.pop(member, None)
        self._counted.discard(member)
        self._digest = None

    def compared(self, member: bytes, asked_at: float) -> bool:
        """All that a member had is applied here: it was asked for at that time, or later.

        Whether this machine counts from now on, and did not before.
        """
        if member not in self._others:
            return False
        self._others[member] = max(self._others[member], asked_at)
        self._count([member])
        answers = self._current_answers()
        answers[member] = max(answers.get(member, asked_at), asked_at)
        self._began = min(self._began, asked_at)
        self._settle()
        if self.counts or self._at() < self._began + limits.receipt_word_seconds:
            return False
        self.counts = True
        return True

    def until(self, max_staleness: float) -> float:
        """When this machine must admit nothing more; -inf if it has not compared at all."""
        return math.inf if self._newcomer else self._at() + max_staleness

    def compared_at(self, member: bytes) -> float:
        """As of when all that it had is here; -inf if that never was so."""
        return self._others.get(member, -math.inf)

    @property
    def _newcomer(self) -> bytes:
        """The one other that there is, if it never counted and this one does; else empty."""
        is_one = self.counts and len(self._others) == 1 and self._counted <= {self._me}
        return next(iter(self._others)) if is_one else b""

    def _join(self, members: Iterable[bytes]) -> None:
        for member in members:
            is_new = member != self._me and member not in self._others
            if is_new and len(self._others) < limits.gossip_members_max:
                self._others[member] = -math.inf
                self._digest = None

    def _count(self, members: Iterable[bytes]) -> None:
        new = {member for member in members if member not in self._counted}
        if new:
            self._counted |= new
            self._digest = None

    def _at(self) -> float:
        needed = self.needed
        if not needed:
            return math.inf
        if needed > len(self._others):
            return -math.inf
        return sorted(self._others.values(), reverse=True)[needed - 1]

    def _current_answers(self) -> dict[bytes, float]:
        """The members that answered under the present digest, and when this machine asked each."""
        if self._answers_digest != self.digest:
            self._answers, self._answers_digest = {}, self.digest
        return self._answers

    def _settle(self) -> None:
        """Carry out the evictions that a majority with the same digest has answered since."""
        while self._leaving:
            member = min(self._leaving)
            since = self._leaving[member]
            if sum(at >= since for at in self._current_answers().values()) < self.needed:
                return
            self.drop(member)

    def _digested(self) -> bytes:
        members = b"".join(sorted({self._me, *self._others}))
        hashed = blake2b(members, digest_size=DIGEST_BYTES, person=b"members")
        hashed.update(b"".join(self.counted))
        if self._leaving:
            hashed.update(b"leaving" + b"".join(sorted(self._leaving)))
        return hashed.digest()
