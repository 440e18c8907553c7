"""The overruns that this machine has recorded; each counts once, whatever process is killed.

The journal has an overrun before the agent reports it to the ledger and acknowledges it to the
worker. The ledger has the totals of each lease, so the journal shows which overruns it lacks.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from crewgate import limits
from crewgate.agent.journal_file import JournalFile
from crewgate.core.budget.ledger_protocol import LeaseUsage


class OverrunRecord(msgspec.Struct, frozen=True, gc=False):
    """One overrun of `amount` micro-credits of the branch `key`.

    `id` is the ID of the call, `life` that of the table that held the lease; bytes are hexadecimal.
    `time` is the wall clock in seconds.
    """

    id: str
    key: str
    life: str
    amount: int
    time: int


class OverrunJournal:
    """The overruns of a day, oldest first, at most `limits.overruns_noted_max`."""

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
        """Store an overrun, in the journal too."""
        note = OverrunRecord(identifier.hex(), key.hex(), self._life, amount, wall)
        self._keep(note)
        self._journal.append(note)

    def restore(self) -> None:
        """Load the journal. Raises OSError."""
        for note in self._journal.read():
            self._keep(note)
        self._journal.rewrite(self)

    def amounts(self) -> dict[bytes, int]:
        """Return the micro-credits of all overruns by branch key; any thread may call it."""
        return _totals([*self._notes.values()])

    def missing(self, leases: Mapping[bytes, LeaseUsage]) -> dict[bytes, int]:
        """Return the micro-credits by branch key that `leases`, the ledger's reports, lack."""
        totals = _totals(note for note in self if note.life == self._life)
        known = {key: leases[key].overrun if key in leases else 0 for key in totals}
        return {key: total - known[key] for key, total in totals.items() if total > known[key]}

    def tidy(self, wall: int) -> None:
        """Drop overruns that no worker reports any more: their branches ended long ago."""
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
