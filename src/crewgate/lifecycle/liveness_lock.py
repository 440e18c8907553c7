"""Whether a life still has its process: a lock that the kernel lets go when the process is gone.

One file for all lives, of which each locks the byte at its number, as an open file description lock
(fcntl(2)): seen from every container of the machine, where a pid is not, and by no accident
another's. Knows nothing else of a life. The file is that of the register's owner, whose control
process asks, although root's `crewgate run` may be the first to open it.
"""

import fcntl
import os
import struct
from pathlib import Path

from crewgate.ca.key_files import open_lock
from crewgate.errors import AuthorityError
from crewgate.runtime.durable_files import cause

_FLOCK = struct.Struct("@hhqqi4x")  # type, whence, start, length, pid: `struct flock` of 64 bits
_NAME = "lives.lock"


class LivenessLock:
    """Held until its process ends, or `stop`."""

    def __init__(self, register: Path) -> None:
        """Of a life in the register at this path; AuthorityError."""
        self._descriptor = _open(register)

    def __repr__(self) -> str:
        return f"<LivenessLock {self._descriptor}>"

    def acquire(self, number: int) -> None:
        """Hold the life of that number; AuthorityError if somebody does."""
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _lock(fcntl.F_WRLCK, number))
        except OSError as error:
            raise AuthorityError(
                f"{_NAME}: life {number} cannot be locked: {error.strerror}"
            ) from error

    def stop(self) -> None:
        """Let go."""
        os.close(self._descriptor)


def is_held(register: Path, number: int) -> bool:
    """Whether the life of that number is held; AuthorityError if that cannot be asked."""
    descriptor = _open(register)
    try:
        asked = _lock(fcntl.F_WRLCK, number)
        found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked)
    except OSError as error:
        raise AuthorityError(f"{_NAME}: cannot be asked: {error.strerror}") from error
    finally:
        os.close(descriptor)
    kind: int = _FLOCK.unpack(found)[0]
    return kind != fcntl.F_UNLCK


def _lock(kind: int, number: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, number, 1, 0)


def _open(register: Path) -> int:
    path = register.with_name(_NAME)
    try:
        return open_lock(path, register)
    except OSError as error:
        raise AuthorityError(f"{path}: cannot be opened: {cause(error)}") from error
