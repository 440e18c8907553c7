"""Comparisons: what have you accepted since? Asked of every member, again and again.

A member that answers numbers what it accepts (`AcceptLog`). Who has everything up to a number of
one life of it asks for what came after, fetches what it lacks, and has compared as of the moment at
which the first question left that was answered with no more than it has by now. Decides when to ask
whom, and what an answer is worth; fetches nothing itself. Times are seconds of a clock that is
never set.
"""

import heapq
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from crewgate import limits
from crewgate.core.gossip.accept_log import AcceptLog
from crewgate.core.gossip.capsules import ID_BYTES
from crewgate.core.gossip.freshness import QuorumFreshness
from crewgate.core.gossip.messages import OutgoingDatagram, PullRequest, PullResponse, encode

NO_LIFE = bytes(8)
_Eight = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]  # what a question has room for
OVER = bytes(ID_BYTES)  # in the place of an id whose capsule has expired: nobody can hand it over


class PeerSummary(msgspec.Struct, frozen=True):
    """What a member says of itself: that it has accepted `head` capsules in this `life` of it.

    `members` is `QuorumFreshness.digest`; who does not `count` has not yet all that it once had.
    `wall` is whole seconds of its clock.
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
    asked: dict[bytes, float] = field(default_factory=dict)  # when, by nonces without an answer
    clock_offset: int = 0  # seconds that its wall clock is ahead of ours
    # Of questions that were answered: when each left, and what must be here for it to count.
    heads: list[tuple[float, int]] = field(default_factory=list)


@dataclass(slots=True)
class SyncResult:
    """What an answer leads to: ids to fetch, a sync over a stream, or that we count from now on."""

    lacking: list[bytes] = field(default_factory=list)
    needs_sync: bool = False
    counts: bool = False


class AntiEntropy:
    """The comparisons of one member in one `life` (8 bytes)."""

    def __init__(
        self,
        life: bytes,
        freshness: QuorumFreshness,
        *,
        has: Callable[[bytes], bool],
        holds: Callable[[bytes], bool],
        nonce: Callable[[], bytes],
    ) -> None:
        """`has` says of an id whether its capsule was judged here, `holds` whether it still is.

        `nonce` gives 8 random bytes.
        """
        self.accepted = AcceptLog()
        self.freshness = freshness
        self.seconds = limits.compare_seconds  # between two questions to one member
        self._life = life
        self._has = has
        self._holds = holds
        self._nonce = nonce
        self._others: dict[bytes, _Other] = {}
        self._turns: list[tuple[float, bytes]] = []  # a heap; the last one of a member is its turn
        self._next: dict[bytes, float] = {}
        self._members = freshness.digest  # as of when `ask_all` last looked

    def __repr__(self) -> str:
        return f"<AntiEntropy {self.accepted!r} {self.freshness!r}>"

    @property
    def next_at(self) -> float:
        """When `due` has something to do."""
        return self._turns[0][0] if self._turns else float("inf")

    @property
    def clock_offset(self) -> float:
        """Seconds that the median of all wall clocks, ours among them, is ahead of ours."""
        known = (each.clock_offset for each in self._others.values() if each.life != NO_LIFE)
        return statistics.median((0, *known))

    def ask_all(self, now: float) -> None:
        """Members may have come or gone: ask who is new at once, and many one after the other."""
        self._members = self.freshness.digest
        members = set(self.freshness.others)
        for index, member in enumerate(sorted(members - self._next.keys())):
            self._others[member] = _Other()
            self._turn(member, now + index / limits.compare_members_each)
        for member in self._next.keys() - members:
            del self._next[member], self._others[member]

    def due(self, now: float) -> list[OutgoingDatagram]:
        """The questions whose time has come."""
        sends: list[OutgoingDatagram] = []
        if self.freshness.digest != self._members:
            self.ask_all(now)
        while self._turns and self._turns[0][0] <= now:
            at, member = heapq.heappop(self._turns)
            if self._next.get(member) == at:
                sends.append(self._ask(member, now))
        return sends

    def summary(self, wall: int) -> PeerSummary:
        """What we say of ourselves."""
        fresh = self.freshness
        return PeerSummary(self._life, self.accepted.head, fresh.digest, fresh.counts, wall)

    def answer(self, question: PullRequest, wall: int) -> PullResponse:
        """What is to be said to a question."""
        summary = self.summary(wall)
        number = question.number if question.life == self._life else 0
        ids = self.accepted.after(number, limits.answer_ids_max)
        if ids is None or summary.head - number > limits.compare_pages_max * limits.answer_ids_max:
            number, ids = summary.head, ()
        ids = tuple(id_ if self._holds(id_) else OVER for id_ in ids)
        head = (summary.head, summary.members, summary.wall, summary.counts)
        return PullResponse(question.nonce, summary.life, number, *head, ids)

    def answered(self, sender: bytes, answer: PullResponse, now: float, wall: int) -> SyncResult:
        """What a member has said. An answer to no question, or to an old one, changes nothing."""
        other = self._others.get(sender)
        asked_at = None if other is None else other.asked.get(answer.nonce)
        if other is None or asked_at is None:
            return SyncResult()
        other.asked.clear()
        other.clock_offset = answer.wall - wall
        if answer.life != other.life:
            other.life, other.number, other.heads = answer.life, 0, []
        known = other.number - answer.number  # more than was known when the question left, or less
        if known < 0:
            self._turn(sender, now + self.seconds)
            return SyncResult(needs_sync=True)
        self._note(other, asked_at, answer)
        lacking = self._advance(other, answer.ids[known:])
        if lacking:
            self._turn(sender, now + limits.want_again_seconds)
        elif other.number < answer.head:
            self._turn(sender, now)
        else:
            self._turn(sender, max(now, asked_at + self._rest(answer)))
        are_others = answer.members != self.freshness.digest  # of whom streams tell alone
        return SyncResult(lacking, needs_sync=are_others, counts=self._resolve(sender, other))

    def synced(self, member: bytes, word: PeerSummary, asked_at: float) -> bool:
        """A member has handed over all that it had by its word; whether we count from now on."""
        other = self._others.get(member)
        if other is None:
            return False
        if other.life != word.life:
            other.life, other.number, other.heads = word.life, word.head, []
        other.number = max(other.number, word.head)
        counts = self._resolve(member, other)  # which makes room for one more
        self._note(other, asked_at, word)
        return self._resolve(member, other) or counts

    def _ask(self, member: bytes, now: float) -> OutgoingDatagram:
        other = self._others[member]
        if len(other.asked) >= limits.compare_questions_max:
            del other.asked[next(iter(other.asked))]
        nonce = self._nonce()
        other.asked[nonce] = now
        self._turn(member, now + self._pause(limits.compare_again_seconds))
        return member, encode(PullRequest(nonce, other.life, other.number))

    def _turn(self, member: bytes, at: float) -> None:
        self._next[member] = at
        heapq.heappush(self._turns, (at, member))

    def _rest(self, answer: PullResponse) -> float:
        """Until it is asked again: soon while there is more and more, or one does not count yet.

        Of five hundred a second, those of one second are ten answers, of which some are lost.
        """
        if answer.counts and self.freshness.counts and not answer.ids:
            return self._pause(self.seconds)
        return self._pause(limits.compare_again_seconds)

    def _pause(self, least: float) -> float:
        return max(least, len(self._others) / limits.compare_members_each)

    def _note(self, other: _Other, asked_at: float, said: PullResponse | PeerSummary) -> None:
        """Remember what must be here for a question to count; the oldest are kept."""
        is_same = said.members == self.freshness.digest
        if said.counts and is_same and len(other.heads) < limits.compare_heads_max:
            other.heads.append((asked_at, said.head))

    def _advance(self, other: _Other, ids: Iterable[bytes]) -> list[bytes]:
        """Go on to the first that is lacking; all that are."""
        lacking = []
        for id_ in ids:
            if id_ != OVER and not self._has(id_):
                lacking.append(id_)
            elif not lacking:
                other.number += 1
        return lacking

    def _resolve(self, member: bytes, other: _Other) -> bool:
        done = [asked_at for asked_at, head in other.heads if head <= other.number]
        other.heads = [each for each in other.heads if each[1] > other.number]
        return bool(done) and self.freshness.compared(member, max(done))
