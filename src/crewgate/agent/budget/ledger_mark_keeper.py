"""Opens the agent's ledger, refuses one that has lost operations, and keeps the ledger's mark.

A mark says which ledger it is and how many operations it has done. The disk has the identity before
the first draw. The table has the count a quarter of a second after a commit, and the disk some
seconds later. An older copy of the ledger is refused if it lacks operations of an earlier mark.
"""

import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import trio

from crewgate import limits
from crewgate._native.table import StaleTableError
from crewgate._native.table_owner import OwnedTable
from crewgate.agent.table_setup import bind, drawn_from
from crewgate.config import Config
from crewgate.core.budget.ledger_mark import HolderOperationCounts, LedgerMark
from crewgate.errors import TableError
from crewgate.ledger.factory import open_ledger
from crewgate.ledger.mark_file import (
    WAYS_OUT,
    find_ledger,
    read_mark,
    require,
    why_refused,
    write_mark,
)
from crewgate.ledger.sql import SQLLedger
from crewgate.runtime.durable_files import describe
from crewgate.runtime.ticks import sleep_until_tick

_log = logging.getLogger(__name__)


def open_known_ledger(config: Config, holder: str) -> tuple[SQLLedger, LedgerMark]:
    """Open the ledger to draw from as `holder`, and return it with its mark.

    Raises LedgerReplacedError if it is another ledger, an older copy, or gone. Raises
    LedgerUnavailableError.
    """
    known = read_mark(config.state)
    if known is not None:
        require(config.ledger, known, find_ledger(config.ledger))
    ledger = open_ledger(config.ledger)
    _, count = ledger.heartbeats().get(holder, (b"", 0))
    term = known.term if known else 0
    # The counts of an earlier name belong to another account.
    if known is not None and known.holder != holder:
        term += 1
    return ledger, LedgerMark(ledger.identity, holder, count, term)


def require_table(config: Config, table: OwnedTable, mark: LedgerMark) -> None:
    """Raise LedgerReplacedError if the ledger lacks operations that the table has counted."""
    known = msgspec.structs.replace(mark, count=table.ledger_count)
    require(config.ledger, known, HolderOperationCounts(mark.ledger, {mark.holder: mark.count}))


class LedgerMarkKeeper:
    """Keeps the mark of the agent's ledger in the table and in the state folder.

    `refusal` says why the agent must not draw from this ledger; empty if it may.
    """

    def __init__(
        self, config: Config, ledger: SQLLedger, table: OwnedTable, mark: LedgerMark
    ) -> None:
        """Write the mark before the first draw. Raises OSError or LedgerUnavailableError."""
        write_mark(config.state, mark)
        table.set_ledger_count(mark.count)
        # The mark on disk.
        self.mark = mark
        self._state = config.state
        self._settings = config.ledger
        self._ledger = ledger
        self._book = HolderOperationCounts(
            mark.ledger, {name: at for name, (_, at) in ledger.heartbeats().items()}
        )
        self._holder = mark.holder
        self._term = mark.term
        self._table = table
        self._trouble = ""
        # The mark of the other machines that refuses this ledger.
        self._refused_by: LedgerMark | None = None
        self.refusal = ""
        self.on_written: Callable[[LedgerMark], None] = lambda _mark: None
        self.on_refusal: Callable[[], None] = lambda: None

    def check_peer_mark(self, known: LedgerMark) -> None:
        """Compare the ledger with the mark that another machine keeps for this one.

        If the ledger is an older copy, the mark is written to disk, so the next start is refused
        until a person accepts the ledger. A restored disk does not restore a ledger on a server. If
        such a ledger has all operations, only the disk has lost the number of times that a person
        has accepted it (the term). Then the keeper adopts the term, and the next write has it.
        """
        if self.refusal or known.term < self._term:
            return
        counts = {known.holder: self._count_of(known.holder)}
        why = why_refused(self._settings, known, HolderOperationCounts(self._book.ledger, counts))
        if not why and (known.term == self._term or self._settings.file is None):
            # A mark under the present name must be newer than one under an earlier name (see
            # `LedgerMarks`).
            self._term = known.term + (known.holder != self._holder)
            return
        why = why or "a person has accepted another state of it since"
        self.refusal = f"the other machines have a later mark of this ledger: {why}. {WAYS_OUT}"
        self._refused_by = known
        self.on_refusal()

    async def keep_for_ever(self) -> None:
        """Write the mark to the disk every few seconds, if it has changed, until cancelled."""
        # The agent has used the ledger since the mark was read.
        self.mark_table()
        while True:
            await sleep_until_tick(limits.ledger_mark_seconds)
            if self._newest(self._refused_by) != self.mark:
                await trio.to_thread.run_sync(self.write)

    def on_transaction(self, *_: object) -> None:
        """See `LedgerQueue.on_transaction`."""
        self.mark_table()

    def mark_table(self) -> None:
        """Write the count to the table."""
        self._table.set_ledger_count(self._count_of(self._holder))

    def write(self) -> None:
        """Write the mark to disk if it has changed, or the later mark of the other machines.

        It blocks. Call it one at a time, or an older mark may be the last. A full disk is logged
        once.
        """
        refused_by = self._refused_by
        mark = self._newest(refused_by)
        if mark == self.mark:
            return
        try:
            if refused_by is None and mark.term != self.mark.term:
                # The table's leases are from this ledger, under the new term.
                bind(self._state / "table", mark.drawn_as)
            write_mark(self._state, mark)
        except (OSError, TableError) as error:
            why = describe(error) if isinstance(error, OSError) else str(error)
            if why != self._trouble:
                _log.warning(
                    "%s; until then a restarted agent may not detect an older copy of the ledger",
                    why,
                )
            self._trouble = why
            return
        self.mark, self._trouble = mark, ""
        if refused_by is None:
            self.on_written(mark)

    def _newest(self, refused_by: LedgerMark | None) -> LedgerMark:
        """Return the mark for the disk."""
        count = self._count_of(self._holder)
        return refused_by or msgspec.structs.replace(self.mark, count=count, term=self._term)

    def _count_of(self, holder: str) -> int:
        return self._ledger.counts.get(holder, self._book.counts.get(holder, 0))


def known_with_table(state: Path) -> LedgerMark | None:
    """Return the mark on disk, with the count of a table of the same term if that is higher.

    Raises TableError while an agent holds the table.
    """
    known = read_mark(state)
    try:
        table = OwnedTable.open(str(state / "table"))
    except (FileNotFoundError, StaleTableError):
        return known
    with closing(table):
        if known is None or drawn_from(state / "table") != known.drawn_as:
            return known
        return msgspec.structs.replace(known, count=max(known.count, table.ledger_count))
