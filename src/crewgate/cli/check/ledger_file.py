"""Whether the file that a ledger is kept in can be made or written, without making it."""

import os
from collections.abc import Iterator
from pathlib import Path

from crewgate.config import Config


def unkept(config: Config) -> Iterator[str]:
    """Why `serve` could not keep its ledger in the file that is named; nothing of a server."""
    if config.ledger.file is None:
        return
    file, state = config.ledger.file.resolve(), config.state.resolve()
    folder = file.parent
    if not folder.exists() and folder in {state, *state.parents}:
        folder = _nearest_existing(folder)  # `serve` makes the others
    if not folder.is_dir():
        yield (
            f"[ledger] url: {folder}: no such folder; make it, or write such as "
            '"sqlite:state/ledger.db", which is beside this file'
        )
    elif file.is_dir():
        yield f"[ledger] url: {file}: a folder; name a file"
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield f"[ledger] url: {folder}: this user may not write there; let it, or name another"
    elif file.exists() and not os.access(file, os.R_OK | os.W_OK):
        yield f"[ledger] url: {file}: this user may not read and write it; chown it to whom serves"


def _nearest_existing(folder: Path) -> Path:
    """The nearest one that is there."""
    return next(each for each in (folder, *folder.parents) if each.exists())
