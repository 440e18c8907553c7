"""Checks whether `serve` can use the ledger's file, without creating it."""

import os
from collections.abc import Iterator

from crewgate.config import Config
from crewgate.errors import LedgerReplacedError, LedgerUnavailableError
from crewgate.ledger.mark_file import find_ledger, read_mark, require


def ledger_file_errors(config: Config) -> Iterator[str]:
    """Yield why `serve` cannot use the ledger's file; nothing for a ledger on a server."""
    if config.ledger.file is None:
        return
    file, state = config.ledger.file.resolve(), config.state.resolve()
    folder = file.parent
    if not folder.exists() and folder in {state, *state.parents}:
        # `serve` creates the missing folders.
        folder = next(each for each in folder.parents if each.exists())
    if not folder.is_dir():
        yield (
            f"[ledger] url: {folder}: no such folder; create it, or write such as "
            '"sqlite:state/ledger.db", which is relative to the configuration'
        )
    elif file.is_dir():
        yield f"[ledger] url: {file}: a folder; name a file"
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield f"[ledger] url: {folder}: this user may not write there; allow it, or name another"
    elif file.exists() and not os.access(file, os.R_OK | os.W_OK):
        mend = "chown it to the user of the gateway"
        yield f"[ledger] url: {file}: this user may not read and write it; {mend}"


def replaced_ledger_errors(config: Config) -> Iterator[str]:
    """Yield why `serve` refuses the ledger's file: it is gone, older, another one, or damaged."""
    if config.ledger.file is None:
        return
    try:
        require(config.ledger, read_mark(config.state), find_ledger(config.ledger))
    except (LedgerReplacedError, LedgerUnavailableError) as error:
        yield str(error)
