"""The table's file: allocated in full, locked by its one agent, put in place whole.

Knows nothing of what is in it beyond its first words; the layout is `layout.h`'s.
"""

import errno
import fcntl
import os
from pathlib import Path

from crewgate.errors import TableError
from crewgate.runtime.durable_files import cause, rename_file


def create(path: str, header: bytes, size: int, mode: int) -> tuple[int, int]:
    """(descriptor, lock descriptor) of a new file of `size` bytes that begins with `header`.

    It takes the place of any other in one step. TableError: another agent holds the lock, or the
    disk has no room (a sparse file would be a SIGBUS in every process later).
    """
    lock = _lock(path, mode)
    temporary = f"{path}.new"
    try:
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        try:
            os.fchmod(fd, mode)
            _allocate(fd, path, size)
            os.pwrite(fd, header, 0)
            os.fsync(fd)
            rename_file(Path(temporary), Path(path))
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            os.close(fd)
            raise
    except OSError as error:
        os.close(lock)
        message = f"{path}: cannot make the table: {cause(error)}"
        raise TableError(message) from error
    except BaseException:
        os.close(lock)
        raise
    return fd, lock


def open_existing(path: str, mode: int) -> tuple[int, int]:
    """(descriptor, lock descriptor) of the file that is there; FileNotFoundError, TableError."""
    lock = _lock(path, mode)
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC), lock
    except FileNotFoundError:
        os.close(lock)
        raise
    except OSError as error:
        os.close(lock)
        message = f"{path}: cannot open the table: {cause(error)}"
        raise TableError(message) from error


def _allocate(fd: int, path: str, size: int) -> None:
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise
        message = (
            f"{path}: no room for the table: it needs {size} bytes and is allocated in full; "
            "free some, or lower [table] branches and revocations"
        )
        raise TableError(message) from error


def _lock(path: str, mode: int) -> int:
    """Lock a file beside the table, not the table itself.

    The table's descriptors are passed to others, and a kernel lock lasts as long as anybody holds
    the open file.
    """
    name = f"{path}.lock"
    try:
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
    except OSError as error:
        message = f"{name}: cannot open the table's lock: {cause(error)}"
        raise TableError(message) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        message = f"{name}: another agent holds this table; end it first"
        raise TableError(message) from error
    return fd
