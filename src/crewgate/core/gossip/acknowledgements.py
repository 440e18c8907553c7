"""Receipts: who has what was revoked here in force, and on its disk; and telling others so.

What a member says of its disk holds for `limits.receipt_word_seconds` from when it was asked, and
among the members of then: it may lose its disk, and count again (`QuorumFreshness`), before enough
others have what it had. Whom a majority waits for longer is asked again. Decides whom to ask, and
how many are how much. Times are seconds of a clock that is never set.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from crewgate import limits
from crewgate.core.gossip.freshness import QuorumFreshness, majority
from crewgate.core.gossip.messages import OutgoingDatagram, PersistAck, PersistQuery, encode

_PAUSES = limits.check_again_seconds
_HOLDS = limits.receipt_word_seconds


@dataclass(slots=True, eq=False)
class AckState:
    """Of some capsules: which members lack which of them, and when that last changed.

    `has_quorum`: a majority has it, each of whom has all that it ever acknowledged.
    """

    ids: frozenset[bytes]
    lacking: dict[bytes, frozenset[bytes]]
    here: set[bytes]  # not yet on our own disk
    members: bytes  # `QuorumFreshness.digest`, of `lacking` and this one
    acked_at: float
    has_quorum: bool = False
    tries: int = 0
    # Since when a member that counts has all of it, or all but some.
    counted: dict[bytes, float] = field(default_factory=dict)
    partly: dict[bytes, tuple[float, frozenset[bytes]]] = field(default_factory=dict)

    @property
    def missing(self) -> list[bytes]:
        """The others who have not said that they have all of it."""
        return [member for member, ids in self.lacking.items() if ids]

    @property
    def of(self) -> int:
        """All members, this one among them, reachable or not."""
        return len(self.lacking) + 1

    @property
    def applied_on(self) -> int:
        """How many of them have it, in force and on their disks."""
        return self.of - len(self.missing) - bool(self.here)

    @property
    def is_kept_here(self) -> bool:
        """It outlives this process."""
        return not self.here

    @property
    def is_everywhere(self) -> bool:
        """All members have it."""
        return self.applied_on == self.of

    def asked(self, now: float) -> Iterator[tuple[bytes, frozenset[bytes]]]:
        """Who is to be asked, and for what: what one has said may have been long ago."""
        for member, ids in self.lacking.items():
            if not self.has_quorum and self.counted.get(member, -math.inf) <= now - _HOLDS / 2:
                yield member, self._rest(member, now)[1]
            elif ids:
                yield member, ids

    def on_ack(self, member: bytes, ids: Sequence[bytes], asked_at: float, now: float) -> None:
        """A member that counts has these, and had them no earlier than it was asked."""
        since, rest = self._rest(member, now)
        since, rest = min(since, asked_at), rest.difference(ids)
        if rest:
            self.partly[member] = since, rest
        else:
            self.partly.pop(member, None)
            self.counted[member] = max(since, self.counted.get(member, since))

    def add_up(self, now: float, *, counts: bool) -> None:
        """See whether that makes a majority, with this member if it `counts` and has it."""
        holding = sum(since > now - _HOLDS for since in self.counted.values())
        if not self.has_quorum and holding + (counts and not self.here) >= majority(self.of):
            self.has_quorum = True
            self.acked_at = now

    def renew(self, others: Iterable[bytes], members: bytes) -> None:
        """The members are others: what was said among those of before counts no more."""
        self.members = members
        self.lacking = {member: self.lacking.get(member, self.ids) for member in others}
        self.counted.clear()
        self.partly.clear()

    def _rest(self, member: bytes, now: float) -> tuple[float, frozenset[bytes]]:
        since, rest = self.partly.get(member, (now, self.ids))
        return (since, rest) if since > now - _HOLDS / 2 else (now, self.ids)


class AckTracker:
    """Those that somebody waits for, and those whom others wait to be told of."""

    def __init__(self, freshness: QuorumFreshness, holds: Callable[[bytes], bool]) -> None:
        """`holds` says of an id whether its capsule is in force here, and not only for now."""
        self._freshness = freshness
        self._holds = holds
        self._unkept: set[bytes] = set()  # accepted, and not on the disk yet
        self._asked: dict[bytes, dict[bytes, int]] = {}  # who is to be told, and asked when
        self._open: dict[AckState, None] = {}
        self._waiting: dict[bytes, list[AckState]] = {}  # for each id
        self._turns: list[tuple[float, int, AckState]] = []  # a heap; of each that is open, one
        self._order = 0

    def __repr__(self) -> str:
        return f"<AckTracker open={len(self._open)} unkept={len(self._unkept)}>"

    @property
    def next_at(self) -> float:
        """When `due` has something to do."""
        return self._turns[0][0] if self._turns else math.inf

    def begin(self, ids: Iterable[bytes], now: float) -> AckState:
        """Ask all members for these; `end` it some time. ValueError for one too many, or none."""
        ids = frozenset(ids)
        if not ids:
            raise ValueError("nothing was kept that others could have")
        if len(self._open) >= limits.receipts_max:
            raise ValueError(f"{limits.receipts_max} revocations are being waited for already")
        receipt = AckState(ids, {}, set(ids & self._unkept), b"", now)
        self._open[receipt] = None
        for id_ in ids:
            self._waiting.setdefault(id_, []).append(receipt)
        self._turn(receipt, now)
        self._add_up([receipt], now)
        return receipt

    def end(self, receipt: AckState) -> None:
        """Nobody waits for it any more."""
        if receipt not in self._open:
            return
        del self._open[receipt]
        for id_ in receipt.ids:
            self._waiting[id_].remove(receipt)
            if not self._waiting[id_]:
                del self._waiting[id_]

    def due(self, now: float) -> list[OutgoingDatagram]:
        """Checks for those who have not answered."""
        wanted: dict[bytes, set[bytes]] = {}
        due = []
        while self._turns and self._turns[0][0] <= now:
            _, _, receipt = heapq.heappop(self._turns)
            if receipt in self._open:
                due.append(receipt)
        self._add_up(due, now)
        for receipt in due:
            self._turn(receipt, now + _PAUSES[min(receipt.tries, len(_PAUSES) - 1)])
            receipt.tries += 1
            for member, ids in receipt.asked(now):
                wanted.setdefault(member, set()).update(ids)
        asked = int(now * 1000)
        return [
            send
            for member, ids in wanted.items()
            for send in _messages(member, sorted(ids), lambda some: PersistQuery(asked, some))
        ]

    def checked(self, sender: bytes, check: PersistQuery) -> list[OutgoingDatagram]:
        """Somebody wants to know; what is not here, or not on the disk, is told once it is."""
        kept = []
        for id_ in check.ids:
            if id_ not in self._unkept and self._holds(id_):
                kept.append(id_)
            elif id_ in self._asked or len(self._asked) < limits.checks_max:
                self._asked.setdefault(id_, {})[sender] = check.asked
        return self._query(sender, check.asked, kept)

    def accepted(self, id_: bytes) -> None:
        """A capsule is in force, and on its way to the disk."""
        self._unkept.add(id_)

    def kept(
        self, ids: Iterable[bytes], now: float
    ) -> tuple[list[OutgoingDatagram], list[AckState]]:
        """These are on the disk: who is to be told, and what receipts that changes."""
        on_ack: dict[tuple[bytes, int], list[bytes]] = {}
        ids = set(ids)
        self._unkept -= ids
        for id_ in sorted(ids & self._asked.keys()):
            for asker in self._asked.pop(id_).items():
                on_ack.setdefault(asker, []).append(id_)
        waiting = self._of(sorted(ids & self._waiting.keys()))
        changed = [receipt for receipt in waiting if receipt.here & ids]
        for receipt in changed:
            receipt.here -= ids
            receipt.acked_at = now
        self._add_up(changed, now)
        return [
            send for asker, some in on_ack.items() for send in self._query(*asker, some)
        ], changed

    def on_ack(self, sender: bytes, kept: PersistAck, now: float) -> list[AckState]:
        """A member says what it has; what receipts that changes."""
        is_good = kept.counts and kept.members == self._freshness.digest
        changed = [each for each in self._of(kept.ids) if sender in each.lacking]
        self._renew(changed)
        for receipt in changed:
            if sender in receipt.lacking:
                if not receipt.lacking[sender].isdisjoint(kept.ids):
                    receipt.lacking[sender] = receipt.lacking[sender].difference(kept.ids)
                    receipt.acked_at = now
                if is_good:
                    receipt.on_ack(sender, kept.ids, kept.asked / 1000, now)
        self._add_up(changed, now)
        return changed

    def forget_askers(self) -> None:
        """Whoever still waits asks again."""
        self._asked.clear()

    def _of(self, ids: Iterable[bytes]) -> list[AckState]:
        found = (receipt for id_ in ids for receipt in self._waiting.get(id_, ()))
        return list(dict.fromkeys(found))

    def _turn(self, receipt: AckState, at: float) -> None:
        self._order += 1
        heapq.heappush(self._turns, (at, self._order, receipt))

    def _renew(self, receipts: Iterable[AckState]) -> None:
        fresh = self._freshness
        for receipt in receipts:
            if receipt.members != fresh.digest:
                receipt.renew(fresh.others, fresh.digest)

    def _add_up(self, receipts: Sequence[AckState], now: float) -> None:
        self._renew(receipts)
        for receipt in receipts:
            receipt.add_up(now, counts=self._freshness.counts)

    def _query(self, member: bytes, asked: int, ids: Sequence[bytes]) -> list[OutgoingDatagram]:
        fresh = self._freshness
        return _messages(
            member, ids, lambda some: PersistAck(asked, fresh.digest, fresh.counts, some)
        )


def _messages(
    member: bytes,
    ids: Sequence[bytes],
    make: Callable[[tuple[bytes, ...]], PersistQuery | PersistAck],
) -> list[OutgoingDatagram]:
    size = limits.gossip_ids_max
    return [(member, encode(make(tuple(ids[at : at + size])))) for at in range(0, len(ids), size)]
