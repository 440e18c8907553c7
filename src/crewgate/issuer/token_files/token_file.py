"""Writes and reads token files, which give child processes a current token.

A file has mode 0600 and is replaced in one step, so a reader sees the old token or the new one,
and never a part.
"""

import contextlib
import os
import re
from pathlib import Path

from crewgate import limits
from crewgate.errors import IssuerError
from crewgate.runtime.durable_files import cause, write_file

# The characters of a compact JWS. No other character may get into a header field.
_TOKEN = re.compile(r"[A-Za-z0-9_.-]+")


def write_token(path: Path, token: str) -> None:
    """Replace the content of `path` by `token`.

    Raises:
        IssuerError: The file cannot be written.
    """
    try:
        write_file(path, token.encode("ascii"), 0o600)
    except OSError as error:
        raise IssuerError(f"{_shown(path)}: cannot write the token file: {cause(error)}") from None


def read_token(path: Path) -> str:
    """Return the token in the file `path`.

    Raises:
        IssuerError: The file cannot be read, or holds no token.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limits.token_bytes_max + 2)
    except OSError as error:
        raise IssuerError(
            f"{_shown(path)}: cannot read the token file: {error.strerror}; the path is wrong, its "
            "branch was revoked, or its orchestrator ended"
        ) from None
    token = data.strip().decode("ascii", "replace")
    if not is_token(token):
        raise IssuerError(f"{_shown(path)}: the file does not hold a token")
    return token


def is_token(text: str) -> bool:
    """Return whether a header field can hold this text as a token."""
    return len(text) <= limits.token_bytes_max and _TOKEN.fullmatch(text) is not None


def looks_like_token(path: Path | str) -> bool:
    """Return whether a caller passed a token in the place of its path."""
    text = str(path)
    return os.sep not in text and (text.startswith("eyJ") or len(text) > limits.path_chars_max)


def _shown(path: Path) -> str:
    """Return the path for an error, without the signature of a token that got into it."""
    return str(path)[: limits.path_chars_max]


def remove_token(path: Path) -> None:
    """Delete the file of a revoked branch, if it is there.

    A power loss may bring the file back. That is harmless, because its token stays revoked.
    """
    with contextlib.suppress(OSError):
        path.unlink()
