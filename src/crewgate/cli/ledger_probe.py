"""Finds out whether a ledger on a server can be read.

An agent that waits for its ledger has no socket yet, so `crewgate status` looks by itself.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from crewgate.errors import ConfigurationError, LedgerUnavailableError

if TYPE_CHECKING:
    from crewgate.core.health import ComponentHealth


def ledger_of(config_path: Path) -> "ComponentHealth":
    """Return whether the ledger can be read; ok if it is a file or the configuration is invalid."""
    from crewgate.config import load
    from crewgate.core.health import failed, ok
    from crewgate.ledger.factory import open_ledger

    try:
        ledger = load(config_path).ledger
    except ConfigurationError:
        return ok("ledger")
    try:
        if ledger.file is None:
            open_ledger(ledger, readonly=True).session.close()
    except LedgerUnavailableError as error:
        mend = f"make {ledger} available"
        if error.may_pass:
            mend += "; `crewgate serve` waits for it, and continues by itself"
        return failed("ledger", str(error), mend)
    return ok("ledger")
