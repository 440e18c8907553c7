"""Reads and makes the file of the keys that seal ids of tools (core/sealed_ids.py).

The file has one key on each line, as 64 hexadecimal digits. The first key seals, and all open.
Empty lines, and lines that begin with `#`, count for nothing. No error shows a key. Blocks.
"""

import secrets
from collections.abc import Iterator
from pathlib import Path

from crewgate import limits
from crewgate.core.sealed_ids import SEALING_KEY_BYTES
from crewgate.errors import ConfigurationError
from crewgate.runtime.durable_files import cause, create_file

_PRIVATE = 0o600
_COMMENT = "#"


def read_sealing_keys(path: Path) -> tuple[bytes, ...]:
    """Return the keys in the order of the file, each of 32 bytes. Raises ConfigurationError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(limits.key_file_bytes_max + 1)
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{path}: the sealing keys cannot be read ({error.strerror}); copy the file of another "
            "machine of the cluster, or make one: openssl rand -hex 32"
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"{path}: the sealing keys cannot be read: {cause(error)}"
        ) from error
    found = tuple(_keys(path, data))
    if len(data) > limits.key_file_bytes_max or not 0 < len(found) <= limits.sealing_keys_max:
        raise ConfigurationError(
            f"{path}: expected 1 to {limits.sealing_keys_max} sealing keys, one on each line"
        )
    if len(set(found)) != len(found):
        raise ConfigurationError(f"{path}: a sealing key is repeated; remove one of the two lines")
    return found


def make_sealing_keys(path: Path) -> bool:
    """Write a file with one new key, unless there is a file; return whether it was written.

    Only its owner can read the file. After a power loss it is there whole, or not at all. Raises
    OSError.
    """
    # The common case, in which a file system that is read-only does no harm.
    if path.exists():
        return False
    try:
        create_file(path, f"{secrets.token_hex(SEALING_KEY_BYTES)}\n".encode(), _PRIVATE)
    except FileExistsError:
        return False
    return True


def _keys(path: Path, data: bytes) -> Iterator[bytes]:
    for number, raw in enumerate(data.decode("ascii", "replace").splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith(_COMMENT):
            continue
        try:
            key = bytes.fromhex(line)
        except ValueError:
            key = b""
        # `fromhex` skips spaces.
        if len(key) != SEALING_KEY_BYTES or len(line) != 2 * SEALING_KEY_BYTES:
            raise ConfigurationError(
                f"{path}: line {number}: expected a sealing key of {2 * SEALING_KEY_BYTES} "
                "hexadecimal digits"
            )
        yield key
