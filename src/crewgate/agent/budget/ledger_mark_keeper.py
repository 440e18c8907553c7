"""The agent's way to its ledger: refuses one that has forgotten something, and marks how far it is.

The table has the mark a quarter of a second after a commit, the disk some seconds after it: a lag
is safe, because a copy of the ledger that is younger than that lacks nothing else. Before anything
is drawn the disk knows which ledger it is.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec
import trio

from crewgate import limits
from crewgate._native.table import StaleTableError
from crewgate._native.table_owner import OwnedTable
from crewgate.agent.table_setup import bind, drawn_from
from crewgate.config import Config
from crewgate.core.budget.ledger_mark import LedgerMark, LedgerOperationCounts
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

_log = logging.getLogger(__name__)


def open_known_ledger(config: Config, holder: str) -> tuple[SQLLedger, LedgerMark]:
    """The ledger to draw from as `holder`, and how far it is.

    LedgerReplacedError if it is another one, or older, or gone; LedgerUnavailableError.
    """
    known = read_mark(config.state)
    if known is not None:
        require(config.ledger, known, find_ledger(config.ledger))
    ledger = open_ledger(config.ledger)
    _, count = ledger.heartbeats().get(holder, (b"", 0))
    term = known.term if known else 0
    if known is not None and known.holder != holder:  # its counts are another account's
        term += 1
    return ledger, LedgerMark(ledger.identity, holder, count, term)


def require_table(config: Config, table: OwnedTable, mark: LedgerMark) -> None:
    """LedgerReplacedError if the table, whose leases are of this ledger, knows of more."""
    known = msgspec.structs.replace(mark, count=table.ledger_count)
    require(config.ledger, known, LedgerOperationCounts(mark.ledger, {mark.holder: mark.count}))


class LedgerMarkKeeper:
    """Keeps the mark of the ledger that is drawn from, in the table and in the state folder."""

    def __init__(
        self, config: Config, ledger: SQLLedger, table: OwnedTable, mark: LedgerMark
    ) -> None:
        """Let table and disk have it before anything is drawn; OSError, LedgerUnavailableError."""
        write_mark(config.state, mark)
        table.set_ledger_count(mark.count)
        self.mark = mark  # as the disk has it
        self._state = config.state
        self._settings = config.ledger
        self._ledger = ledger
        self._book = LedgerOperationCounts(
            mark.ledger, {name: at for name, (_, at) in ledger.heartbeats().items()}
        )
        self._holder = mark.holder
        self._term = mark.term
        self._table = table
        self._trouble = ""
        self._objection: LedgerMark | None = None  # what the other machines know
        self.refusal = ""  # why this ledger must not be drawn from, as they know
        self.on_written: Callable[[LedgerMark], None] = lambda _mark: None
        self.on_refusal: Callable[[], None] = lambda: None

    def check_peer_mark(self, known: LedgerMark) -> None:
        """What this machine once told the others: the ledger may be an older copy after all.

        The disk has it then, so that the next start is refused until a person accepts the ledger.
        A ledger on a server is not put back with this machine's disk. If it has all that this
        machine told it, it is no older copy: the disk alone has forgotten how often a person has
        accepted. Then this takes the number up, and the next write has it.
        """
        if self.refusal or known.term < self._term:
            return
        counts = {known.holder: self._count_of(known.holder)}
        why = why_refused(self._settings, known, LedgerOperationCounts(self._book.ledger, counts))
        if not why and (known.term == self._term or self._settings.file is None):
            # What this machine tells under its name of now is later than that (`LedgerMarks`).
            self._term = known.term + (known.holder != self._holder)
            return
        why = why or "a person has accepted another state of it since"
        self.refusal = f"the other machines know of more than this ledger: {why}. {WAYS_OUT}"
        self._objection = known
        self.on_refusal()

    async def keep_for_ever(self) -> None:
        """Until cancelled."""
        written = trio.current_time()
        while True:
            await trio.sleep(limits.fresh_interval_seconds)
            self.mark_table()
            if trio.current_time() - written >= limits.ledger_mark_seconds:
                await trio.to_thread.run_sync(self.write)
                written = trio.current_time()

    def mark_table(self) -> None:
        """Let the table have it."""
        self._table.set_ledger_count(self._count_of(self._holder))

    def write(self) -> None:
        """Let the disk have it, if it has moved, and what the others know against this ledger.

        Says once that the disk is full. Blocks; one at a time, so that no older mark is the last.
        """
        objection = self._objection
        count = self._count_of(self._holder)
        now = msgspec.structs.replace(self.mark, count=count, term=self._term)
        mark = objection or now
        if mark == self.mark:
            return
        try:
            if objection is None and mark.term != self.mark.term:
                bind(self._state / "table", mark.drawn_as)  # its leases are of this ledger
            write_mark(self._state, mark)
        except (OSError, TableError) as error:
            why = describe(error) if isinstance(error, OSError) else str(error)
            if why != self._trouble:
                _log.warning(
                    "%s; until then an older ledger is not known for one after a restart", why
                )
            self._trouble = why
            return
        self.mark, self._trouble = mark, ""
        if objection is None:
            self.on_written(mark)

    def _count_of(self, holder: str) -> int:
        """What the ledger has counted of a holder, as far as this process knows."""
        return self._ledger.counts.get(holder, self._book.counts.get(holder, 0))


def known_with_table(state: Path) -> LedgerMark | None:
    """What the disk knows, and a table of the same term; TableError while an agent holds that."""
    known = read_mark(state)
    try:
        table = OwnedTable.open(str(state / "table"))
    except (FileNotFoundError, StaleTableError):
        return known
    try:
        if known is None or drawn_from(state / "table") != known.drawn_as:
            return known
        return msgspec.structs.replace(known, count=max(known.count, table.ledger_count))
    finally:
        table.close()
