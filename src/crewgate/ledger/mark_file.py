"""Keeps the mark of a machine's ledger (`core.budget.ledger_mark`) in the state folder.

A machine does not start on a ledger that its mark speaks against, until a person accepts that
ledger. Until then, it makes and changes nothing at the place of the ledger.
"""

from contextlib import closing, suppress
from pathlib import Path

import msgspec

from crewgate.config import LedgerConfig
from crewgate.core.budget.ledger_mark import HolderOperationCounts, LedgerMark, mark_of, why_not
from crewgate.errors import LedgerReplacedError, LedgerUnavailableError
from crewgate.ledger import schema
from crewgate.ledger.factory import open_session
from crewgate.runtime.durable_files import write_file

WAYS_OUT = (
    "Bring back the ledger that was used last (docs/how-to/back-up-and-restore.md), or stop "
    "`crewgate serve` and run `crewgate ledger accept` to continue without it"
)


def find_ledger(ledger: LedgerConfig) -> HolderOperationCounts | None:
    """Return the state of the configured ledger; None if there is none, or one without tables.

    Raises LedgerUnavailableError.
    """
    file = ledger.file
    if file is not None:
        try:
            if file.stat().st_size == 0:
                return None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LedgerUnavailableError(f"{file}: {error.strerror}") from error
    with closing(open_session(ledger, readonly=True)) as session:
        version = schema.version(session)
        if not version:
            return None
        schema.require_known(session, version)
        found = session.rows("SELECT name, beat FROM holder")
        return HolderOperationCounts(
            schema.identity(session), {name: int(beat) for name, beat in found}
        )


def why_refused(
    ledger: LedgerConfig, known: LedgerMark | None, found: HolderOperationCounts | None
) -> str:
    """Return `why_not`; with `durability = "trusted"`, an older ledger is no reason."""
    return why_not(known, found, may_forget=ledger.durability == "trusted")


def require(
    ledger: LedgerConfig, known: LedgerMark | None, found: HolderOperationCounts | None
) -> None:
    """Raise LedgerReplacedError if the machine must not draw from this ledger."""
    why = why_refused(ledger, known, found)
    if why:
        raise LedgerReplacedError(f"ledger {ledger}: {why}. {WAYS_OUT}")


def read_mark(state: Path) -> LedgerMark | None:
    """Return what this machine knows of its ledger; None before its first draw.

    An earlier version kept no mark, but the ledger's identity in a file beside the table: then that
    is the mark. Raises LedgerReplacedError if the mark cannot be read.
    """
    path = mark_file(state)
    try:
        return msgspec.json.decode(path.read_bytes(), type=LedgerMark)
    except FileNotFoundError:
        pass
    except (OSError, msgspec.DecodeError, ValueError) as error:
        raise LedgerReplacedError(
            f"{path}: the mark of the ledger cannot be read ({error}). Restore this file, or run "
            "`crewgate ledger accept` to continue with the present ledger"
        ) from error
    with suppress(OSError, ValueError):
        return mark_of((state / "table.ledger").read_text().strip())
    return None


def write_mark(state: Path, mark: LedgerMark) -> None:
    """Write the mark; it is on the disk when this returns. Raises OSError."""
    write_file(mark_file(state), msgspec.json.encode(mark) + b"\n", 0o600)


def mark_file(state: Path) -> Path:
    """Return the path of the mark in the state folder."""
    return state / "ledger.mark"
