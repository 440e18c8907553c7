"""Which overruns this machine has noted: each counts once, whoever is killed meanwhile.

A note is in a journal before the ledger hears of it and before its worker is answered. The ledger
knows totals of each lease, so what it has not heard of can be told from the notes. Tells nobody.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from crewgate import limits
from crewgate.agent.journal_file import JournalFile
from crewgate.core.budget.ledger_protocol import LeaseStatement


class OverrunRecord(msgspec.Struct, frozen=True, gc=False):
    """One overrun of `amount`; `id` is its call's, `life` that of the table that held its lease.

    Bytes are hexadecimal; `time` is the wall clock in seconds.
    """

    id: str
    key: str
    life: str
    amount: int
    time: int


class OverrunJournal:
    """Of a day, the oldest first, within a bound; `life` is the table's."""

    def __init__(self, journal: JournalFile[OverrunRecord], life: bytes) -> None:
        self._journal = journal
        self._life = life.hex()
        self._notes: dict[str, OverrunRecord] = {}

    def __len__(self) -> int:
        return len(self._notes)

    def __iter__(self) -> Iterator[OverrunRecord]:
        return iter(self._notes.values())

    def __contains__(self, identifier: bytes) -> bool:
        return identifier.hex() in self._notes

    def add(self, identifier: bytes, key: bytes, amount: int, wall: int) -> None:
        """Note it for good."""
        note = OverrunRecord(identifier.hex(), key.hex(), self._life, amount, wall)
        self._keep(note)
        self._journal.append(note)

    def restore(self) -> None:
        """Begin with what the journal holds; OSError."""
        for note in self._journal.read():
            self._keep(note)
        self._journal.rewrite(self)

    def amounts(self) -> dict[bytes, int]:
        """Of each branch that had one, how much all of them were; also from another thread."""
        return _totals([*self._notes.values()])

    def missing(self, leases: Mapping[bytes, LeaseStatement]) -> dict[bytes, int]:
        """What the ledger has not heard of, by branch, who has told so much of this table's."""
        totals = _totals(note for note in self if note.life == self._life)
        heard = {key: leases[key].overrun if key in leases else 0 for key in totals}
        return {key: total - heard[key] for key, total in totals.items() if total > heard[key]}

    def tidy(self, wall: int) -> None:
        """Drop what no worker tells any more: its branch is dead, and known to be."""
        kept = limits.revocation_seconds + limits.clock_distrust_seconds
        while self._notes and self._first().time + kept < wall:
            del self._notes[self._first().id]

    def _keep(self, note: OverrunRecord) -> None:
        if len(self._notes) >= limits.overruns_noted_max:
            del self._notes[self._first().id]
        self._notes[note.id] = note

    def _first(self) -> OverrunRecord:
        return next(iter(self))


def _totals(notes: Iterable[OverrunRecord]) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for note in notes:
        key = bytes.fromhex(note.key)
        found[key] = found.get(key, 0) + note.amount
    return found
