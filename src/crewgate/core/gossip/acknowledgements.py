"""Counts the members that have this member's revocations in force and on their disks.

1. This member asks each other member: "Are these capsules in force and on your disk?"
2. A member acknowledges each capsule as soon as this is true.
3. A receipt (`AckState`) has a quorum when a majority of all members has every capsule.

An acknowledgement counts toward the quorum for `limits.receipt_answer_seconds` from the time of the
question, and only while the view of this member stays the same. Otherwise a member could lose its
disk and count again (`QuorumFreshness`) before enough others have what it had acknowledged. While
there is no quorum, this member asks again in time. The module decides whom to ask, and what is a
quorum. Times are seconds of a monotonic clock.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from crewgate import limits
from crewgate.core.gossip.messages import OutgoingDatagram, PersistAck, PersistQuery, encode
from crewgate.core.gossip.quorum_freshness import QuorumFreshness, majority

_PAUSES = limits.check_again_seconds
_VALID_SECONDS = limits.receipt_answer_seconds


@dataclass(slots=True, eq=False)
class AckState:
    """A receipt: the members that have acknowledged some capsules, and those that have not.

    - `ids`: the capsules.
    - `lacking`: for each other member, the ids that it has not acknowledged.
    - `here`: the ids that are not on this machine's disk yet.
    - `members`: `QuorumFreshness.digest` of the view that the receipt is for.
    - `has_quorum`: a majority has every id, and each member of this majority counts.
    - `tries`: how often this member has asked.
    - `counted`: since when each member that counts has every id.
    - `partly`: since when each other member that counts has all ids but some, and which these are.
    """

    ids: frozenset[bytes]
    lacking: dict[bytes, frozenset[bytes]]
    here: set[bytes]
    members: bytes
    has_quorum: bool = False
    tries: int = 0
    counted: dict[bytes, float] = field(default_factory=dict)
    partly: dict[bytes, tuple[float, frozenset[bytes]]] = field(default_factory=dict)

    @property
    def missing(self) -> list[bytes]:
        """The other members that have not acknowledged every id."""
        return [member for member, ids in self.lacking.items() if ids]

    @property
    def of(self) -> int:
        """How many members there are, with this one, reachable or not."""
        return len(self.lacking) + 1

    @property
    def applied_on(self) -> int:
        """How many members have every id in force and on their disks."""
        return self.of - len(self.missing) - bool(self.here)

    @property
    def is_kept_here(self) -> bool:
        """Whether every id is on this machine's disk, and so outlives this process."""
        return not self.here

    @property
    def is_everywhere(self) -> bool:
        """Whether all members have every id in force and on their disks."""
        return self.applied_on == self.of

    def asked(self, now: float) -> Iterator[tuple[bytes, frozenset[bytes]]]:
        """Yield each member to ask, and the ids to ask for.

        While there is no quorum, a member is asked again when its acknowledgement is half as old as
        it may be.
        """
        renew_before = now - _VALID_SECONDS / 2
        for member, ids in self.lacking.items():
            if not self.has_quorum and self.counted.get(member, -math.inf) <= renew_before:
                yield member, self._remaining(member, now)[1]
            elif ids:
                yield member, ids

    def on_ack(self, member: bytes, ids: Sequence[bytes], asked_at: float, now: float) -> None:
        """Enter that a member that counts has `ids`; it was asked at `asked_at`.

        The acknowledgement counts from the question on, since the member had them no earlier. If it
        comes in parts, it counts from the earliest of their questions on.
        """
        since, remaining = self._remaining(member, now)
        since, remaining = min(since, asked_at), remaining.difference(ids)
        if remaining:
            self.partly[member] = since, remaining
        else:
            self.partly.pop(member, None)
            self.counted[member] = max(since, self.counted.get(member, since))

    def add_up(self, now: float, *, counts: bool) -> None:
        """Set `has_quorum` if a majority has every id; `counts`: whether this member counts."""
        holding = sum(since > now - _VALID_SECONDS for since in self.counted.values())
        if not self.has_quorum and holding + (counts and not self.here) >= majority(self.of):
            self.has_quorum = True

    def renew(self, others: Iterable[bytes], members: bytes) -> None:
        """Take over a new view: its other members, and its digest `members`.

        Acknowledgements of before no longer count toward the quorum.
        """
        self.members = members
        self.lacking = {member: self.lacking.get(member, self.ids) for member in others}
        self.counted.clear()
        self.partly.clear()

    def _remaining(self, member: bytes, now: float) -> tuple[float, frozenset[bytes]]:
        """Return since when a member has acknowledged a part of the ids, and the other ids."""
        since, remaining = self.partly.get(member, (now, self.ids))
        return (since, remaining) if since > now - _VALID_SECONDS / 2 else (now, self.ids)


class AckTracker:
    """The open receipts of this member, and the members that wait for its acknowledgements."""

    def __init__(self, freshness: QuorumFreshness, holds: Callable[[bytes], bool]) -> None:
        """`holds` says whether the capsule of an id is in force here and stored.

        A capsule for which there is no room is in force, and not stored.
        """
        self._freshness = freshness
        self._holds = holds
        # Ids of accepted capsules that are not on the disk yet.
        self._not_on_disk: set[bytes] = set()
        # By id, the members that wait for an acknowledgement, each with `PersistQuery.asked`.
        self._askers: dict[bytes, dict[bytes, int]] = {}
        self._open: dict[AckState, None] = {}
        self._waiting: dict[bytes, list[AckState]] = {}  # by id
        # A heap of (time, order, receipt), with one item for each open receipt.
        self._schedule: list[tuple[float, int, AckState]] = []
        self._order = 0

    @property
    def next_at(self) -> float:
        """When `due` next has something to do."""
        return self._schedule[0][0] if self._schedule else math.inf

    def begin(self, ids: Iterable[bytes], now: float) -> AckState:
        """Return a receipt for which `due` asks all other members, until the caller ends it.

        ValueError if there are no ids, or `limits.receipts_max` open receipts.
        """
        ids = frozenset(ids)
        if not ids:
            raise ValueError("no capsule of it was stored, so no member can acknowledge one")
        if len(self._open) >= limits.receipts_max:
            raise ValueError(
                f"{limits.receipts_max} revocations already wait for acknowledgements, the maximum"
            )
        receipt = AckState(ids, {}, set(ids & self._not_on_disk), b"")
        self._open[receipt] = None
        for id_ in ids:
            self._waiting.setdefault(id_, []).append(receipt)
        self._ask_at(receipt, now)
        self._add_up([receipt], now)
        return receipt

    def end(self, receipt: AckState) -> None:
        """Stop asking for a receipt."""
        if receipt not in self._open:
            return
        del self._open[receipt]
        for id_ in receipt.ids:
            self._waiting[id_].remove(receipt)
            if not self._waiting[id_]:
                del self._waiting[id_]

    def due(self, now: float) -> list[OutgoingDatagram]:
        """Return the questions to send by now."""
        wanted: dict[bytes, set[bytes]] = {}
        due = []
        while self._schedule and self._schedule[0][0] <= now:
            _, _, receipt = heapq.heappop(self._schedule)
            if receipt in self._open:
                due.append(receipt)
        self._add_up(due, now)
        for receipt in due:
            self._ask_at(receipt, now + _PAUSES[min(receipt.tries, len(_PAUSES) - 1)])
            receipt.tries += 1
            for member, ids in receipt.asked(now):
                wanted.setdefault(member, set()).update(ids)
        asked_ms = int(now * 1000)
        return [
            send
            for member, ids in wanted.items()
            for send in _messages(member, sorted(ids), lambda some: PersistQuery(asked_ms, some))
        ]

    def checked(self, sender: bytes, check: PersistQuery) -> list[OutgoingDatagram]:
        """Acknowledge the ids that are on the disk now; the others follow when they are."""
        kept = []
        for id_ in check.ids:
            if id_ not in self._not_on_disk and self._holds(id_):
                kept.append(id_)
            elif id_ in self._askers or len(self._askers) < limits.checks_max:
                self._askers.setdefault(id_, {})[sender] = check.asked
        return self._acknowledge(sender, check.asked, kept)

    def accepted(self, id_: bytes) -> None:
        """Enter that a capsule is in force, and on its way to the disk."""
        self._not_on_disk.add(id_)

    def kept(
        self, ids: Iterable[bytes], now: float
    ) -> tuple[list[OutgoingDatagram], list[AckState]]:
        """Enter that `ids` are on the disk; return answers to send, and the changed receipts."""
        acknowledged: dict[tuple[bytes, int], list[bytes]] = {}
        ids = set(ids)
        self._not_on_disk -= ids
        for id_ in sorted(ids & self._askers.keys()):
            for asker in self._askers.pop(id_).items():
                acknowledged.setdefault(asker, []).append(id_)
        waiting = self._receipts_of(sorted(ids & self._waiting.keys()))
        changed = [receipt for receipt in waiting if receipt.here & ids]
        for receipt in changed:
            receipt.here -= ids
        self._add_up(changed, now)
        sends = [
            send for asker, some in acknowledged.items() for send in self._acknowledge(*asker, some)
        ]
        return sends, changed

    def on_ack(self, sender: bytes, kept: PersistAck, now: float) -> list[AckState]:
        """Enter an acknowledgement of a member; return the receipts that it is about.

        It counts toward a quorum if the member counts and has the same view as this one.
        """
        is_good = kept.counts and kept.members == self._freshness.digest
        changed = [each for each in self._receipts_of(kept.ids) if sender in each.lacking]
        self._renew(changed)
        for receipt in changed:
            if sender in receipt.lacking:
                receipt.lacking[sender] = receipt.lacking[sender].difference(kept.ids)
                if is_good:
                    receipt.on_ack(sender, kept.ids, kept.asked / 1000, now)
        self._add_up(changed, now)
        return changed

    def forget_askers(self) -> None:
        """Forget the members that wait for an acknowledgement; those that still wait ask again."""
        self._askers.clear()

    def _receipts_of(self, ids: Iterable[bytes]) -> list[AckState]:
        found = (receipt for id_ in ids for receipt in self._waiting.get(id_, ()))
        return list(dict.fromkeys(found))

    def _ask_at(self, receipt: AckState, at: float) -> None:
        self._order += 1
        heapq.heappush(self._schedule, (at, self._order, receipt))

    def _renew(self, receipts: Iterable[AckState]) -> None:
        fresh = self._freshness
        for receipt in receipts:
            if receipt.members != fresh.digest:
                receipt.renew(fresh.others, fresh.digest)

    def _add_up(self, receipts: Sequence[AckState], now: float) -> None:
        self._renew(receipts)
        for receipt in receipts:
            receipt.add_up(now, counts=self._freshness.counts)

    def _acknowledge(
        self, member: bytes, asked_ms: int, ids: Sequence[bytes]
    ) -> list[OutgoingDatagram]:
        fresh = self._freshness
        return _messages(
            member, ids, lambda some: PersistAck(asked_ms, fresh.digest, fresh.counts, some)
        )


def _messages(
    member: bytes,
    ids: Sequence[bytes],
    make: Callable[[tuple[bytes, ...]], PersistQuery | PersistAck],
) -> list[OutgoingDatagram]:
    size = limits.gossip_ids_max
    return [(member, encode(make(tuple(ids[at : at + size])))) for at in range(0, len(ids), size)]
