"""The agent's way to its ledger: refuses one that has forgotten something, and marks how far it is.

The table has the mark a quarter of a second after a commit, the disk some seconds after it: a lag
is safe, because a copy of the ledger that is younger than that lacks nothing else. Before anything
is drawn the disk knows which ledger it is.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec
import trio

from crewgate import limits
from crewgate._native.owner import OwnedTable
from crewgate._native.table import StaleTableError
from crewgate.agent.opening import Say, drawn_from
from crewgate.config import Config
from crewgate.core.ledger_mark import Book, Mark, why_not
from crewgate.ledger.mark import WAYS_OUT, look, read_mark, require, write_mark
from crewgate.ledger.opening import open_ledger
from crewgate.ledger.sql import SQLLedger
from crewgate.runtime.durable_files import describe


def open_known_ledger(config: Config, holder: str) -> tuple[SQLLedger, Mark]:
    """The ledger to draw from as `holder`, and how far it is.

    LedgerReplacedError if it is another one, or older, or gone; LedgerUnavailableError.
    """
    known = read_mark(config.state)
    if known is not None:
        require(config.ledger, known, look(config.ledger))
    ledger = open_ledger(config.ledger)
    _, count = ledger.beats().get(holder, (b"", 0))
    term = known.term if known else 0
    if known is not None and known.holder != holder:  # its counts are another account's
        term += 1
    return ledger, Mark(ledger.identity, holder, count, term)


def require_table(config: Config, table: OwnedTable, mark: Mark) -> None:
    """LedgerReplacedError if the table, whose leases are of this ledger, knows of more."""
    known = msgspec.structs.replace(mark, count=table.ledger_count)
    require(config.ledger, known, Book(mark.ledger, {mark.holder: mark.count}))


class MarkKeeper:
    """Keeps the mark of the ledger that is drawn from, in the table and in the state folder."""

    def __init__(
        self, state: Path, ledger: SQLLedger, table: OwnedTable, mark: Mark, say: Say
    ) -> None:
        """Let table and disk have it before anything is drawn; OSError."""
        write_mark(state, mark)
        table.set_ledger_count(mark.count)
        self.mark = mark  # as the disk has it
        self._state = state
        self._ledger = ledger
        self._table = table
        self._say = say
        self._trouble = ""
        self.refusal = ""  # why this ledger must not be drawn from, as the other machines know
        self.on_written: Callable[[Mark], None] = lambda _mark: None
        self.on_refusal: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        return f"<MarkKeeper {self.mark}>"

    def hear(self, known: Mark) -> None:
        """What this machine once told the others: the ledger may be an older copy after all.

        The disk has it then, so that the next start is refused until a person accepts the ledger.
        """
        count = self._ledger.counts.get(self.mark.holder, self.mark.count)
        is_same = (known.term, known.ledger) == (self.mark.term, self.mark.ledger)
        if self.refusal or known.term < self.mark.term or (is_same and known.count <= count):
            return
        why = why_not(known, Book(self.mark.ledger, {self.mark.holder: count}))
        why = why or "a person has accepted another state of it since"
        self.refusal = f"the other machines know of more than this ledger: {why}. {WAYS_OUT}"
        try:
            write_mark(self._state, known)
        except OSError as error:
            self._say(describe(error))
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
        self._table.set_ledger_count(self._ledger.counts.get(self.mark.holder, self.mark.count))

    def write(self) -> None:
        """Let the disk have it, if it has moved; says once that the disk is full. Blocks."""
        count = self._ledger.counts.get(self.mark.holder, self.mark.count)
        if count == self.mark.count or self.refusal:
            return
        mark = msgspec.structs.replace(self.mark, count=count)
        try:
            write_mark(self._state, mark)
        except OSError as error:
            why = describe(error)
            if why != self._trouble:
                self._say(f"{why}; until then an older ledger is not known for one after a restart")
            self._trouble = why
            return
        self.mark, self._trouble = mark, ""
        self.on_written(mark)


def known_with_table(state: Path) -> Mark | None:
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
