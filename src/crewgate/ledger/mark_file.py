"""The mark of a machine's ledger (`core.ledger_mark`), kept in its state folder.

A start on a ledger that the mark speaks against is refused, until a person says that it counts.
Before that nothing is made or changed where the ledger should be.
"""

from contextlib import suppress
from pathlib import Path

import msgspec

from crewgate.config import LedgerConfig
from crewgate.core.budget.ledger_mark import LedgerCounts, LedgerMark, mark_of, why_not
from crewgate.errors import LedgerReplacedError, LedgerUnavailableError
from crewgate.ledger import schema
from crewgate.ledger.factory import open_session
from crewgate.runtime.durable_files import write_file

WAYS_OUT = (
    "Bring the newer one back (docs/disaster-recovery.md), or end `crewgate serve` and say "
    "`crewgate ledger accept` to go on with what is there"
)


def find_ledger(ledger: LedgerConfig) -> LedgerCounts | None:
    """What stands where the configuration says; None for nothing. LedgerUnavailableError."""
    file = ledger.file
    if file is not None:
        try:
            if file.stat().st_size == 0:
                return None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LedgerUnavailableError(f"{file}: {error.strerror}") from error
    session = open_session(ledger, readonly=True)
    try:
        if not schema.version(session):
            return None
        found = session.rows("SELECT name, beat FROM holder")
        return LedgerCounts(schema.identity(session), {name: int(beat) for name, beat in found})
    finally:
        session.close()


def why_refused(ledger: LedgerConfig, known: LedgerMark | None, book: LedgerCounts | None) -> str:
    """As `why_not`; of a server that is trusted nobody asks what a failover has lost."""
    return why_not(known, book, may_forget=ledger.durability == "trusted")


def require(ledger: LedgerConfig, known: LedgerMark | None, book: LedgerCounts | None) -> None:
    """LedgerReplacedError for a ledger that has not got as far as is known."""
    why = why_refused(ledger, known, book)
    if why:
        raise LedgerReplacedError(f"ledger {ledger}: {why}. {WAYS_OUT}")


def read_mark(state: Path) -> LedgerMark | None:
    """What this machine knows of its ledger; None before it has drawn. LedgerReplacedError.

    A table of a version that kept no marks has the ledger's identity beside it.
    """
    path = mark_file(state)
    try:
        return msgspec.json.decode(path.read_bytes(), type=LedgerMark)
    except FileNotFoundError:
        pass
    except (OSError, msgspec.DecodeError, ValueError) as error:
        raise LedgerReplacedError(
            f"{path}: how far the ledger had got cannot be read ({error}). Bring the file back, or "
            "say `crewgate ledger accept` to go on with the ledger that is there"
        ) from error
    with suppress(OSError, ValueError):
        return mark_of((state / "table.ledger").read_text().strip())
    return None


def write_mark(state: Path, mark: LedgerMark) -> None:
    """On the disk when this returns; OSError."""
    write_file(mark_file(state), msgspec.json.encode(mark) + b"\n", 0o600)


def mark_file(state: Path) -> Path:
    """Where it is kept."""
    return state / "ledger.mark"
