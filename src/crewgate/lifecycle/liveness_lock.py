"""Shows whether the process of a run is alive, by a lock that the kernel releases when it ends.

All runs share one file, and each locks the byte at its number with an open file description lock
(fcntl(2)). All containers of a machine see that lock, while a pid is valid in one container only
and can be reused. The file belongs to the owner of the register, who runs the control process, even
if a `crewgate run` of root creates it.
"""

import fcntl
import os
import struct
from pathlib import Path

from crewgate.ca.key_files import open_lock
from crewgate.errors import CAError
from crewgate.runtime.cleanup import lent
from crewgate.runtime.durable_files import cause

# `struct flock` with 64-bit offsets: type, whence, start, length, pid.
_FLOCK = struct.Struct("@hhqqi4x")
_NAME = "lives.lock"


class LivenessLock:
    """The lock of one run, which this process holds until it ends or calls `stop`."""

    def __init__(self, register: Path) -> None:
        """Open the lock file beside the register at this path. Raises CAError."""
        self._descriptor = _open(register)

    def acquire(self, number: int) -> None:
        """Lock the run `number`. Raises CAError if another process holds its lock."""
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _lock(fcntl.F_WRLCK, number))
        except OSError as error:
            raise CAError(f"{_NAME}: run {number} cannot be locked: {error.strerror}") from error

    def stop(self) -> None:
        """Release the lock."""
        os.close(self._descriptor)


def is_held(register: Path, number: int) -> bool:
    """Return whether a process holds the lock of the run `number`. Raises CAError."""
    with lent(_open(register)) as descriptor:
        try:
            found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _lock(fcntl.F_WRLCK, number))
        except OSError as error:
            raise CAError(f"{_NAME}: its locks cannot be read: {error.strerror}") from error
    kind: int = _FLOCK.unpack(found)[0]
    return kind != fcntl.F_UNLCK


def _lock(kind: int, number: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, number, 1, 0)


def _open(register: Path) -> int:
    path = register.with_name(_NAME)
    try:
        return open_lock(path, register)
    except OSError as error:
        raise CAError(f"{path}: cannot be opened: {cause(error)}") from error
