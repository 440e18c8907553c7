"""What keeps an agent from a ledger on a server, as far as a command can see from outside.

An agent that waits for its ledger has no doors yet, so the command looks itself.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from crewgate.errors import ConfigurationError, LedgerUnavailableError

if TYPE_CHECKING:
    from crewgate.core.health import HealthFact


def ledger_of(config_path: Path) -> "HealthFact":
    """Whether the ledger can be read; ok for one that is a file or is not known."""
    from crewgate.config import load
    from crewgate.core.health import failed, ok
    from crewgate.ledger.factory import open_ledger

    try:
        ledger = load(config_path).ledger
    except ConfigurationError:
        return ok("ledger")
    if ledger.file is not None:
        return ok("ledger")
    try:
        open_ledger(ledger, readonly=True).close_session()
    except LedgerUnavailableError as error:
        mend = f"see to {ledger}"
        if error.may_pass:
            mend += "; `crewgate serve` waits for it, and goes on by itself"
        return failed("ledger", str(error), mend)
    return ok("ledger")
