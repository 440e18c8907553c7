"""A token in a file, for a child process that outlives it: mode 0600, replaced in one step.

A reader sees the old token or the new one, never a part. Knows neither claims nor clocks.
"""

import contextlib
import os
import re
import secrets
from pathlib import Path

from crewgate import limits
from crewgate.errors import IssuerError

# What a compact JWS is made of; anything else must not get into a header.
_TOKEN = re.compile(rb"[A-Za-z0-9_.-]+")


def write_token(path: Path, token: str) -> None:
    """Put `token` in the place of what `path` holds; IssuerError if the folder refuses."""
    # Written beside it, so that the rename stays within one file system and is atomic.
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(fresh, flags, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(token)
            fresh.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise
    except OSError as error:
        raise IssuerError(f"{path}: cannot write the token file: {error.strerror}") from None


def read_token(path: Path) -> str:
    """The token in `path`; IssuerError if there is none."""
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
    """Take the token away: its branch is dead. A missing file, or folder, is as good."""
    with contextlib.suppress(OSError):
        path.unlink()
