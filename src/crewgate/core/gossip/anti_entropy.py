"""Compares what this member has accepted with what each other member has accepted.

Each member numbers what it accepts in one run (`AcceptLog`). Member A, which has everything of
member B up to number 7, compares with B again and again:

1. At time t, A asks B what it has accepted after number 7 of this run.
2. B answers that its last number is 9, with the ids of 8 and 9.
3. A fetches those that it lacks, and asks again. With each answer, A's number for B moves forward
   over the ids that A has.
4. As soon as this number is 9, A has compared with B as of time t.

So a comparison counts from the time when the question left, not when the answer came. The module
decides when to ask whom, and what an answer is worth; it fetches nothing. Times are seconds of a
monotonic clock.
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
from crewgate.core.gossip.messages import (
    AcceptLogRequest,
    AcceptLogResponse,
    OutgoingDatagram,
    encode,
)
from crewgate.core.gossip.quorum_freshness import QuorumFreshness

NO_LIFE = bytes(8)  # of a member that has not answered yet
_Eight = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]  # it must fit into an `AcceptLogRequest`
# Stands for the id of a capsule that has expired, which no member can hand over any more.
OVER = bytes(ID_BYTES)


class AcceptLogSummary(msgspec.Struct, frozen=True):
    """What a member has accepted, with the digest of its view and its clock.

    - `life`: 8 bytes that are different in each run of the member.
    - `head`: how many capsules it has accepted in this run.
    - `members`: the digest of its view (`QuorumFreshness.digest`).
    - `counts`: whether it has everything that it ever acknowledged.
    - `wall`: its wall clock, in whole seconds.
    """

    life: _Eight
    head: _Count
    members: _Eight
    counts: bool
    wall: int


@dataclass(slots=True)
class _PeerState:
    """What is known of one other member: this member has all up to `number` of its run `life`."""

    life: bytes = NO_LIFE
    number: int = 0
    # When each question without an answer left, by its nonce.
    asked: dict[bytes, float] = field(default_factory=dict)
    # Seconds that the member's wall clock is ahead of this one.
    clock_offset: int = 0
    # For each answered question: when it left, and the number that must be reached for it to count.
    heads: list[tuple[float, int]] = field(default_factory=list)


@dataclass(slots=True)
class SyncPlan:
    """What an answer leads to.

    - `lacking`: ids of capsules to fetch.
    - `needs_sync`: whether the two members must sync over a stream.
    - `counts`: whether this member counts from now on.
    """

    lacking: list[bytes] = field(default_factory=list)
    needs_sync: bool = False
    counts: bool = False


class AntiEntropy:
    """The comparisons of one member in one run, which its 8 bytes `life` identify."""

    def __init__(
        self,
        life: bytes,
        freshness: QuorumFreshness,
        *,
        has: Callable[[bytes], bool],
        holds: Callable[[bytes], bool],
        nonce: Callable[[], bytes],
    ) -> None:
        """Take functions that answer for the capsule of an id, and one for nonces.

        `has` says whether the capsule was judged here, `holds` whether it is stored here. `nonce`
        returns 8 random bytes.
        """
        self.accepted = AcceptLog()
        self.freshness = freshness
        self.seconds = limits.compare_seconds  # between two questions to one member
        self._life = life
        self._has = has
        self._holds = holds
        self._nonce = nonce
        self._others: dict[bytes, _PeerState] = {}
        # A heap of (time, member). An item is valid only if `_next` has the same time.
        self._schedule: list[tuple[float, bytes]] = []
        self._next: dict[bytes, float] = {}
        self._scheduled_view = freshness.digest  # the view when `ask_all` last ran

    @property
    def next_at(self) -> float:
        """When `due` next has something to do."""
        return self._schedule[0][0] if self._schedule else float("inf")

    @property
    def clock_offset(self) -> float:
        """Seconds that the median of all wall clocks, with this one, is ahead of this one."""
        known = (each.clock_offset for each in self._others.values() if each.life != NO_LIFE)
        return statistics.median((0, *known))

    def ask_all(self, now: float) -> None:
        """Schedule questions to new members, spread over time, and forget members that are gone."""
        self._scheduled_view = self.freshness.digest
        members = set(self.freshness.others)
        for index, member in enumerate(sorted(members - self._next.keys())):
            self._others[member] = _PeerState()
            self._ask_at(member, now + index / limits.compare_members_each)
        for member in self._next.keys() - members:
            del self._next[member], self._others[member]

    def due(self, now: float) -> list[OutgoingDatagram]:
        """Return the questions to send by now."""
        sends: list[OutgoingDatagram] = []
        if self.freshness.digest != self._scheduled_view:
            self.ask_all(now)
        while self._schedule and self._schedule[0][0] <= now:
            at, member = heapq.heappop(self._schedule)
            if self._next.get(member) == at:
                sends.append(self._ask(member, now))
        return sends

    def summary(self, wall: int) -> AcceptLogSummary:
        """Return what this member says about itself; `wall` is its wall clock in whole seconds."""
        fresh = self.freshness
        return AcceptLogSummary(self._life, self.accepted.head, fresh.digest, fresh.counts, wall)

    def answer(self, question: AcceptLogRequest, wall: int) -> AcceptLogResponse:
        """Return the answer to a question of another member."""
        summary = self.summary(wall)
        number = question.number if question.life == self._life else 0
        ids = self.accepted.after(number, limits.answer_ids_max)
        if ids is None or summary.head - number > limits.compare_pages_max * limits.answer_ids_max:
            # Too many ids for answers: one that starts at the head makes the other member sync.
            number, ids = summary.head, ()
        ids = tuple(id_ if self._holds(id_) else OVER for id_ in ids)
        head = (summary.head, summary.members, summary.wall, summary.counts)
        return AcceptLogResponse(question.nonce, summary.life, number, *head, ids)

    def answered(self, sender: bytes, answer: AcceptLogResponse, now: float, wall: int) -> SyncPlan:
        """Evaluate an answer of another member.

        An answer changes nothing if its question was never asked, or if a later answer came first.
        """
        other = self._others.get(sender)
        asked_at = None if other is None else other.asked.get(answer.nonce)
        if other is None or asked_at is None:
            return SyncPlan()
        other.asked.clear()
        other.clock_offset = answer.wall - wall
        if answer.life != other.life:
            other.life, other.number, other.heads = answer.life, 0, []
        # How many of the answer's ids are known by now; below 0 if ids before the answer are not.
        known = other.number - answer.number
        if known < 0:
            self._ask_at(sender, now + self.seconds)
            return SyncPlan(needs_sync=True)
        self._remember_head(other, asked_at, answer)
        lacking = self._advance(other, answer.ids[known:])
        if lacking:
            self._ask_at(sender, now + limits.want_again_seconds)
        elif other.number < answer.head:
            self._ask_at(sender, now)
        else:
            self._ask_at(sender, max(now, asked_at + self._pause_after(answer)))
        # Members learn of each other's views only over streams.
        views_differ = answer.members != self.freshness.digest
        return SyncPlan(lacking, needs_sync=views_differ, counts=self._resolve(sender, other))

    def synced(self, member: bytes, summary: AcceptLogSummary, asked_at: float) -> bool:
        """Enter that a member has handed over all that it had by its summary, as of `asked_at`.

        Return whether this member counts from now on.
        """
        other = self._others.get(member)
        if other is None:
            return False
        if other.life != summary.life:
            other.life, other.number, other.heads = summary.life, summary.head, []
        other.number = max(other.number, summary.head)
        # This comes first, since it makes room in `heads` for one more.
        counts = self._resolve(member, other)
        self._remember_head(other, asked_at, summary)
        return self._resolve(member, other) or counts

    def _ask(self, member: bytes, now: float) -> OutgoingDatagram:
        other = self._others[member]
        if len(other.asked) >= limits.compare_questions_max:
            del other.asked[next(iter(other.asked))]
        nonce = self._nonce()
        other.asked[nonce] = now
        self._ask_at(member, now + self._pause(limits.compare_again_seconds))
        return member, encode(AcceptLogRequest(nonce, other.life, other.number))

    def _ask_at(self, member: bytes, at: float) -> None:
        self._next[member] = at
        heapq.heappush(self._schedule, (at, member))

    def _pause_after(self, answer: AcceptLogResponse) -> float:
        """Return the seconds until the next question to a member that has answered.

        They are few while answers have ids, or while one of the two members does not count yet. At
        500 capsules a second, the ids of one second fill ten answers, and some of these get lost.
        """
        if answer.counts and self.freshness.counts and not answer.ids:
            return self._pause(self.seconds)
        return self._pause(limits.compare_again_seconds)

    def _pause(self, min_seconds: float) -> float:
        """Return at least `min_seconds`; more for many members, which bounds the questions sent."""
        return max(min_seconds, len(self._others) / limits.compare_members_each)

    def _remember_head(
        self, other: _PeerState, asked_at: float, message: AcceptLogResponse | AcceptLogSummary
    ) -> None:
        """Remember the number that must be reached for a question to count.

        A member that does not count, or that has another view, does not make a question count. If
        there are too many questions, the oldest stay.
        """
        is_same_view = message.members == self.freshness.digest
        if message.counts and is_same_view and len(other.heads) < limits.compare_heads_max:
            other.heads.append((asked_at, message.head))

    def _advance(self, other: _PeerState, ids: Iterable[bytes]) -> list[bytes]:
        """Advance `number` up to the first id that is lacking; return all ids that are lacking."""
        lacking = []
        for id_ in ids:
            if id_ != OVER and not self._has(id_):
                lacking.append(id_)
            elif not lacking:
                other.number += 1
        return lacking

    def _resolve(self, member: bytes, other: _PeerState) -> bool:
        """Enter the latest question that counts by now; return whether this member now counts."""
        done = [asked_at for asked_at, head in other.heads if head <= other.number]
        other.heads = [each for each in other.heads if each[1] > other.number]
        return bool(done) and self.freshness.compared(member, max(done))
