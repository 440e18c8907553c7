"""Receipts: who has what was revoked here in force, and on its disk; and telling others so.

Decides whom to ask again, and how many are how much. Times are seconds of a clock that is never
set.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from crewgate import limits
from crewgate.core.gossip.freshness import Freshness, majority
from crewgate.core.gossip.messages import Check, Kept, Send, encode

_PAUSES = limits.check_again_seconds


@dataclass(slots=True, eq=False)
class Receipt:
    """Of some capsules: which members lack which of them, and when the last one told of any."""

    ids: frozenset[bytes]
    lacking: dict[bytes, set[bytes]]
    here: set[bytes]  # not yet on our own disk
    next_at: float
    told_at: float
    counted: set[bytes] = field(default_factory=set)
    tries: int = 0

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
    def has_quorum(self) -> bool:
        """A majority has it, each of whom has all that it ever acknowledged."""
        return len(self.counted) >= majority(self.of)

    @property
    def is_everywhere(self) -> bool:
        """All members have it."""
        return self.applied_on == self.of

    def asked(self) -> Iterator[tuple[bytes, list[bytes]]]:
        """Who is still to be asked, and for what: one that has it may not have counted yet."""
        for member, ids in self.lacking.items():
            if ids or (member not in self.counted and not self.has_quorum):
                yield member, sorted(ids or self.ids)


class Receipts:
    """Those that somebody waits for, and those whom others wait to be told of."""

    def __init__(
        self, me: bytes, freshness: Freshness, is_accepted: Callable[[bytes], bool]
    ) -> None:
        self._me = me
        self._freshness = freshness
        self._is_accepted = is_accepted
        self._unkept: set[bytes] = set()  # accepted, and not on the disk yet
        self._asked: dict[bytes, set[bytes]] = {}  # who is to be told of what is not on the disk
        self._open: list[Receipt] = []

    def __repr__(self) -> str:
        return f"<Receipts open={len(self._open)} unkept={len(self._unkept)}>"

    @property
    def next_at(self) -> float:
        """When `due` has something to do."""
        return min((each.next_at for each in self._open), default=float("inf"))

    def begin(self, ids: Iterable[bytes], now: float) -> Receipt:
        """Ask all members for these; `end` it some time. ValueError for one too many."""
        if len(self._open) >= limits.receipts_max:
            raise ValueError(f"{limits.receipts_max} revocations are being waited for already")
        ids = frozenset(ids)
        lacking = {member: set(ids) for member in self._freshness.others}
        receipt = Receipt(ids, lacking, set(ids & self._unkept), now, now)
        self._open.append(receipt)
        self._count_here(receipt)
        return receipt

    def end(self, receipt: Receipt) -> None:
        """Nobody waits for it any more."""
        if receipt in self._open:
            self._open.remove(receipt)

    def due(self, now: float) -> list[Send]:
        """Checks for those who have not answered."""
        sends: list[Send] = []
        for receipt in self._open:
            if receipt.next_at <= now:
                receipt.next_at = now + _PAUSES[min(receipt.tries, len(_PAUSES) - 1)]
                receipt.tries += 1
                for member, ids in receipt.asked():
                    sends += _messages(member, ids, Check)
        return sends

    def checked(self, sender: bytes, check: Check) -> list[Send]:
        """Somebody wants to know; what is not here, or not on the disk, is told once it is."""
        kept = []
        for id_ in check.ids:
            if id_ not in self._unkept and self._is_accepted(id_):
                kept.append(id_)
            elif id_ in self._asked or len(self._asked) < limits.checks_max:
                self._asked.setdefault(id_, set()).add(sender)
        return self._tell(sender, kept)

    def accepted(self, id_: bytes) -> None:
        """A capsule is in force, and on its way to the disk."""
        self._unkept.add(id_)

    def kept(self, ids: Iterable[bytes], now: float) -> tuple[list[Send], list[Receipt]]:
        """These are on the disk: who is to be told, and what receipts that changes."""
        told: dict[bytes, list[bytes]] = {}
        ids = set(ids)
        self._unkept -= ids
        for id_ in sorted(ids & self._asked.keys()):
            for member in self._asked.pop(id_):
                told.setdefault(member, []).append(id_)
        changed = [receipt for receipt in self._open if receipt.here & ids]
        for receipt in changed:
            receipt.here -= ids
            receipt.told_at = now
            self._count_here(receipt)
        return [send for member, some in told.items() for send in self._tell(member, some)], changed

    def told(self, sender: bytes, kept: Kept, now: float) -> list[Receipt]:
        """A member says what it has; what receipts that changes."""
        changed = []
        is_good = kept.counts and kept.members == self._freshness.digest
        for receipt in self._open:
            lacking = receipt.lacking.get(sender)
            if lacking is None or receipt.ids.isdisjoint(kept.ids):
                continue
            lacking.difference_update(kept.ids)
            if is_good and not lacking:
                receipt.counted.add(sender)
            receipt.told_at = now
            changed.append(receipt)
        return changed

    def forget_askers(self) -> None:
        """Whoever still waits asks again."""
        self._asked.clear()

    def _count_here(self, receipt: Receipt) -> None:
        if not receipt.here and self._freshness.counts:
            receipt.counted.add(self._me)

    def _tell(self, member: bytes, ids: Sequence[bytes]) -> list[Send]:
        fresh = self._freshness
        return _messages(member, ids, lambda some: Kept(fresh.digest, fresh.counts, some))


def _messages(
    member: bytes, ids: Sequence[bytes], make: Callable[[tuple[bytes, ...]], Check | Kept]
) -> list[Send]:
    size = limits.gossip_ids_max
    return [(member, encode(make(tuple(ids[at : at + size])))) for at in range(0, len(ids), size)]
