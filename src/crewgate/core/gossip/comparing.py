"""Comparisons: what have you accepted since? Asked of every member, again and again.

A member that answers numbers what it accepts (`Accepted`). Who has everything up to a number of one
life of it asks for what came after, fetches what it lacks, and has compared as of the moment at
which the first question left that was answered with no more than it has by now. Decides when to
ask whom, and what an answer is worth; fetches nothing itself. Times are seconds of a clock that is
never set.
"""

import heapq
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from crewgate import limits
from crewgate.core.gossip.accepted import Accepted
from crewgate.core.gossip.freshness import Freshness
from crewgate.core.gossip.messages import Answer, Question, Send, encode

NO_LIFE = bytes(8)
_Eight = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]  # what a question has room for


class Word(msgspec.Struct, frozen=True):
    """What a member says of itself: that it has accepted `head` capsules in this `life` of it.

    `members` is `Freshness.digest`; who does not `count` has not yet all that it once had. `wall`
    is whole seconds of its clock.
    """

    life: _Eight
    head: _Count
    members: _Eight
    counts: bool
    wall: int


@dataclass(slots=True)
class _Other:
    """What was heard from one member: all up to `number` of its `life` is applied here."""

    life: bytes = NO_LIFE
    number: int = 0
    nonce: bytes = b""
    asked_at: float = 0.0
    ahead: int = 0  # seconds that its wall clock is ahead of ours
    # Of questions that were answered: when each left, and what must be here for it to count.
    heads: list[tuple[float, int]] = field(default_factory=list)


@dataclass(slots=True)
class Found:
    """What an answer leads to: ids to fetch, a sync over a stream, or that we count from now on."""

    lacking: list[bytes] = field(default_factory=list)
    needs_sync: bool = False
    counts: bool = False


class Comparing:
    """The comparisons of one member in one `life` (8 bytes)."""

    def __init__(
        self,
        life: bytes,
        freshness: Freshness,
        *,
        has: Callable[[bytes], bool],
        nonce: Callable[[], bytes],
    ) -> None:
        """`has` says of an id whether its capsule was judged here; `nonce` gives 8 random bytes."""
        self.accepted = Accepted()
        self.freshness = freshness
        self._life = life
        self._has = has
        self._nonce = nonce
        self._others: dict[bytes, _Other] = {}
        self._turns: list[tuple[float, bytes]] = []  # a heap; the last one of a member is its turn
        self._next: dict[bytes, float] = {}

    def __repr__(self) -> str:
        return f"<Comparing {self.accepted!r} {self.freshness!r}>"

    @property
    def next_at(self) -> float:
        """When `due` has something to do."""
        return self._turns[0][0] if self._turns else float("inf")

    @property
    def ahead(self) -> float:
        """Seconds that the median of all wall clocks, ours among them, is ahead of ours."""
        known = (each.ahead for each in self._others.values() if each.life != NO_LIFE)
        return statistics.median((0, *known))

    def ask_all(self, now: float) -> None:
        """Members may have come or gone: ask who is new at once."""
        members = set(self.freshness.others)
        for member in members - self._next.keys():
            self._others[member] = _Other()
            self._turn(member, now)
        for member in self._next.keys() - members:
            del self._next[member], self._others[member]

    def due(self, now: float) -> list[Send]:
        """The questions whose time has come."""
        sends: list[Send] = []
        while self._turns and self._turns[0][0] <= now:
            at, member = heapq.heappop(self._turns)
            if self._next.get(member) == at:
                sends.append(self._ask(member, now))
        return sends

    def word(self, wall: int) -> Word:
        """What we say of ourselves."""
        fresh = self.freshness
        return Word(self._life, self.accepted.head, fresh.digest, fresh.counts, wall)

    def answer(self, question: Question, wall: int) -> Answer:
        """What is to be said to a question."""
        word = self.word(wall)
        number = question.number if question.life == self._life else 0
        ids = self.accepted.after(number, limits.answer_ids_max)
        if ids is None or word.head - number > limits.compare_pages_max * limits.answer_ids_max:
            number, ids = word.head, ()
        head = (word.head, word.members, word.wall, word.counts)
        return Answer(question.nonce, word.life, number, *head, ids)

    def answered(self, sender: bytes, answer: Answer, now: float, wall: int) -> Found:
        """What a member has said. An answer to no question, or to an old one, changes nothing."""
        other = self._others.get(sender)
        if other is None or not other.nonce or answer.nonce != other.nonce:
            return Found()
        other.nonce = b""
        other.ahead = answer.wall - wall
        if answer.life != other.life:
            other.life, other.number, other.heads = answer.life, 0, []
        if answer.number != other.number:
            self._turn(sender, now + limits.compare_seconds)
            return Found(needs_sync=True)
        self._note(other, other.asked_at, answer)
        lacking = self._advance(other, answer.ids)
        if lacking:
            self._turn(sender, now + limits.want_again_seconds)
        elif other.number < answer.head:
            self._turn(sender, now)
        else:
            self._turn(sender, max(now, other.asked_at + self._pause()))
        return Found(lacking, counts=self._resolve(sender, other))

    def synced(self, member: bytes, word: Word, asked_at: float) -> bool:
        """A member has handed over all that it had by its word; whether we count from now on."""
        other = self._others.get(member)
        if other is None:
            return False
        if other.life != word.life:
            other.life, other.number, other.heads = word.life, word.head, []
        other.number = max(other.number, word.head)
        self._note(other, asked_at, word)
        return self._resolve(member, other)

    # Inside.

    def _ask(self, member: bytes, now: float) -> Send:
        other = self._others[member]
        other.nonce, other.asked_at = self._nonce(), now
        self._turn(member, now + limits.compare_again_seconds)
        return member, encode(Question(other.nonce, other.life, other.number))

    def _turn(self, member: bytes, at: float) -> None:
        self._next[member] = at
        heapq.heappush(self._turns, (at, member))

    def _pause(self) -> float:
        return max(limits.compare_seconds, len(self._others) / limits.compare_members_each)

    def _note(self, other: _Other, asked_at: float, said: Answer | Word) -> None:
        """Remember what must be here for a question to count; the oldest are kept."""
        is_same = said.members == self.freshness.digest
        if said.counts and is_same and len(other.heads) < limits.compare_heads_max:
            other.heads.append((asked_at, said.head))

    def _advance(self, other: _Other, ids: Iterable[bytes]) -> list[bytes]:
        """Go on to the first that is lacking; all that are."""
        lacking = []
        for id_ in ids:
            if not self._has(id_):
                lacking.append(id_)
            elif not lacking:
                other.number += 1
        return lacking

    def _resolve(self, member: bytes, other: _Other) -> bool:
        done = [asked_at for asked_at, head in other.heads if head <= other.number]
        other.heads = [each for each in other.heads if each[1] > other.number]
        return bool(done) and self.freshness.compared(member, max(done))
