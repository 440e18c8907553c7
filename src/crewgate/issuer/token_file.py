"""A token in a file, for a child process that outlives it: mode 0600, replaced in one step.

A reader sees the old token or the new one, never a part. Knows neither claims nor clocks.
"""

import contextlib
import re
from pathlib import Path

from crewgate import limits
from crewgate.errors import IssuerError
from crewgate.runtime.durable_files import cause, write_file

# What a compact JWS is made of; anything else must not get into a header.
_TOKEN = re.compile(rb"[A-Za-z0-9_.-]+")


def write_token(path: Path, token: str) -> None:
    """Put `token` in the place of what `path` holds.

    Raises:
        IssuerError: The file cannot be written.
    """
    try:
        write_file(path, token.encode("ascii"), 0o600)
    except OSError as error:
        raise IssuerError(f"{path}: cannot write the token file: {cause(error)}") from None


def read_token(path: Path) -> str:
    """The token in `path`.

    Raises:
        IssuerError: There is none.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limits.token_bytes_max + 2)
    except OSError as error:
        raise IssuerError(
            f"{path}: no token: {error.strerror}; its branch was revoked, or its orchestrator ended"
        ) from None
    token = data.strip()
    if len(token) > limits.token_bytes_max or not _TOKEN.fullmatch(token):
        raise IssuerError(f"{path}: does not hold a token")
    return token.decode("ascii")


def remove_token(path: Path) -> None:
    """Take the token away: its branch is dead. A missing file, or folder, is as good.

    A power loss may bring the file back, and its token is as dead then.
    """
    with contextlib.suppress(OSError):
        path.unlink()
