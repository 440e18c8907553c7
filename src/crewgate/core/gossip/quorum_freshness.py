"""Computes until when a machine may admit calls: while it has recently compared with a majority.

If a machine asks another one for everything that it knows, and gets the answer, it knows everything
that the other one knew at the time of the question. Two majorities of the same members share a
member. So if a majority has acknowledged a revocation, every machine that still admits calls
`max_staleness` seconds later obeys it, in any partition. Times are seconds of a monotonic clock.

The members change as in Raft (Ongaro 2014, section 4), but without a log:

- A machine that counts admits all new machines that it knows in one step. It admits no others until
  it knows that these count.
- A machine that does not count yet is new, or has an empty disk. It counts as soon as it has
  compared with a majority of the members that ever counted.
- A machine drops an evicted member as soon as it has, since the eviction, compared with a majority
  of the members, the evicted one included.
- An answer counts only if both machines have the same view: the same members, the same members that
  ever counted, and the same evictions that wait.
- If a machine waits to drop a member, and another machine that counts has dropped it, the first
  machine drops it too, as soon as it has everything that the other machine had.

The page docs/explanation/gossip.md has the reasons: why a machine carries out one eviction after
the other, what it must know before it follows another machine, and why a machine that counts alone
goes on admitting calls while its only other member does not count yet.
"""

import math
from collections.abc import Iterable
from hashlib import blake2b

from crewgate import limits

DIGEST_BYTES = 8


def majority(count: int) -> int:
    """Return the smallest number that is more than half of `count`."""
    return count // 2 + 1


class QuorumFreshness:
    """When one member has last compared with each other member, reachable or not.

    `counts` says that this member has everything that it ever acknowledged: by its disk, by an
    operator's word, or because it has compared with a majority since. With `any_other`, one other
    member is enough, and of two members none is needed: then each machine of a pair goes on alone,
    and misses what the other one revokes in a partition.
    """

    def __init__(self, me: bytes, *, any_other: bool = False, counts: bool = False) -> None:
        self.any_other = any_other
        self.counts = counts
        self._me = me
        self._others: dict[bytes, float] = {}
        # The members that ever counted. This one is among them if another member says so.
        self._counted: set[bytes] = set()
        self._leaving: dict[bytes, float] = {}  # since when this machine knows of each eviction
        # When this machine asked each member that has answered under `_answers_digest`.
        self._answers: dict[bytes, float] = {}
        self._answers_digest = b""
        self._first_compared = math.inf
        # The digest, and whether this member counted when it was computed.
        self._digest: tuple[bool, bytes] | None = None

    @property
    def others(self) -> tuple[bytes, ...]:
        """All members except this one."""
        return tuple(self._others)

    @property
    def counted(self) -> tuple[bytes, ...]:
        """All members that ever counted, in order."""
        return tuple(sorted({*self._counted, *([self._me] if self.counts else ())}))

    @property
    def waiting(self) -> tuple[bytes, ...]:
        """The other members that were admitted and have not counted yet."""
        return tuple(member for member in self._others if member not in self._counted)

    @property
    def leaving(self) -> tuple[bytes, ...]:
        """The members that are evicted, and stay members until a majority agrees."""
        return tuple(self._leaving)

    @property
    def digest(self) -> bytes:
        """8 bytes that are the same on all machines with the same view."""
        if self._digest is None or self._digest[0] is not self.counts:
            self._digest = self.counts, self._compute_digest()
        return self._digest[1]

    @property
    def needed(self) -> int:
        """How many other members this machine must have compared with."""
        if not self.counts:
            return 1 if self.any_other else majority(len(self._counted - {self._me}))
        if self.any_other:
            return 1 if len(self._others) > 1 else 0
        return majority(len(self._others) + 1) - 1

    def admit(self, members: Iterable[bytes]) -> bool:
        """Admit machines that have shown a certificate; return whether this admits any new one.

        A machine admits none while it does not count, or while a member does not count yet.
        """
        new = {each for each in members if each != self._me and each not in self._others}
        if not new or not self.counts or self.waiting:
            return False
        self._join(sorted(new))
        return True

    def merge(
        self, members: Iterable[bytes], counted: Iterable[bytes], now: float = -math.inf
    ) -> bool:
        """Take over the view of another machine; return whether that changed the view of this one.

        `now` is the time at which it says so; a view from this machine's own disk has none.
        """
        before, newcomer = self.digest, self._newcomer
        self._join(members)
        self._count(each for each in counted if each == self._me or each in self._others)
        if newcomer in self._counted:
            self._others[newcomer] = max(self._others[newcomer], now)
        return self.digest != before

    def leave(self, member: bytes, now: float) -> None:
        """Begin to evict a member.

        This machine drops it when a majority has answered questions from `now` on.
        """
        if member in self._others and member not in self._leaving:
            self._leaving[member] = now
            self._digest = None
            self._carry_out_evictions()

    def let_go(self, members: Iterable[bytes]) -> bool:
        """Drop the leaving members that are not in `members`, the view of another that counts.

        Return whether this machine dropped any. The other machine has asked a majority. Everything
        that it had when it sent this view must be here. If this machine waited for its own answers,
        it would wait for ever, because no other machine has the same view any more.
        """
        gone = self._leaving.keys() - set(members)
        for member in gone:
            self.drop(member)
        return bool(gone)

    def drop(self, member: bytes) -> None:
        """Drop a member at once, without a majority: a person orders it and takes the risk."""
        self._others.pop(member, None)
        self._leaving.pop(member, None)
        self._counted.discard(member)
        self._digest = None

    def compared(self, member: bytes, asked_at: float) -> bool:
        """Enter that this machine has applied all that a member knew at `asked_at`.

        The member counts, and has the same view. Return whether this machine begins to count now.
        """
        if member not in self._others:
            return False
        self._others[member] = max(self._others[member], asked_at)
        self._count([member])
        answers = self._current_answers()
        answers[member] = max(answers.get(member, asked_at), asked_at)
        self._first_compared = min(self._first_compared, asked_at)
        self._carry_out_evictions()
        # By then, nothing that this machine acknowledged before it lost its disk counts any more.
        if self.counts or self._quorum_at() < self._first_compared + limits.receipt_answer_seconds:
            return False
        self.counts = True
        return True

    def until(self, max_staleness: float) -> float:
        """Return until when this machine may admit calls; -inf if it has not compared yet."""
        return math.inf if self._newcomer else self._quorum_at() + max_staleness

    def compared_at(self, member: bytes) -> float:
        """Return as of when this machine has all that a member knew; -inf if it never had."""
        return self._others.get(member, -math.inf)

    @property
    def _newcomer(self) -> bytes:
        """The only other member, if it never counted and this one does; otherwise empty."""
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

    def _quorum_at(self) -> float:
        """Return as of when this machine has compared with as many members as it needs."""
        needed = self.needed
        if not needed:
            return math.inf
        if needed > len(self._others):
            return -math.inf
        return sorted(self._others.values(), reverse=True)[needed - 1]

    def _current_answers(self) -> dict[bytes, float]:
        """Return the members that answered under the present digest, with the time of asking."""
        if self._answers_digest != self.digest:
            self._answers, self._answers_digest = {}, self.digest
        return self._answers

    def _carry_out_evictions(self) -> None:
        """Drop each leaving member about which a majority has answered, under the same digest.

        One by one, in the order of the ids: each step changes the digest, and needs new answers.
        """
        while self._leaving:
            member = min(self._leaving)
            since = self._leaving[member]
            if sum(at >= since for at in self._current_answers().values()) < self.needed:
                return
            self.drop(member)

    def _compute_digest(self) -> bytes:
        members = b"".join(sorted({self._me, *self._others}))
        hashed = blake2b(members, digest_size=DIGEST_BYTES, person=b"members")
        hashed.update(b"".join(self.counted))
        if self._leaving:
            hashed.update(b"leaving" + b"".join(sorted(self._leaving)))
        return hashed.digest()
