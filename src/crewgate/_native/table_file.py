"""Creates and opens the file of a table, which one agent locks; `layout.h` has its layout."""

import errno
import fcntl
import os
from pathlib import Path

from crewgate.errors import TableError
from crewgate.runtime.cleanup import on_error
from crewgate.runtime.durable_files import cause, rename_file


def create(path: str, header: bytes, size: int, mode: int) -> tuple[int, int]:
    """Create a file of `size` bytes beginning with `header`; return its descriptor and its lock's.

    It replaces an existing file in one step. Its blocks are allocated, because a sparse file on a
    full disk would end every process with SIGBUS. Raises TableError if another agent holds the
    lock, or the disk has no room.
    """
    lock = _lock(path, mode)
    temporary = Path(f"{path}.new")
    with on_error(os.close, lock):
        try:
            fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
            with on_error(os.close, fd), on_error(temporary.unlink, missing_ok=True):
                os.fchmod(fd, mode)
                _allocate(fd, path, size)
                os.pwrite(fd, header, 0)
                os.fsync(fd)
                rename_file(temporary, Path(path))
        except OSError as error:
            raise TableError(f"{path}: cannot make the table: {cause(error)}") from error
    return fd, lock


def open_existing(path: str, mode: int) -> tuple[int, int]:
    """Open an existing file; return its descriptor and the lock's.

    Raises FileNotFoundError, or TableError if another agent holds the lock.
    """
    lock = _lock(path, mode)
    with on_error(os.close, lock):
        try:
            return os.open(path, os.O_RDWR | os.O_CLOEXEC), lock
        except FileNotFoundError:
            raise
        except OSError as error:
            raise TableError(f"{path}: cannot open the table: {cause(error)}") from error


def _allocate(fd: int, path: str, size: int) -> None:
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise
        raise TableError(
            f"{path}: no room for the table: it needs {size} bytes and is allocated in full; "
            "free some, or lower [table] branches and revocations"
        ) from error


def _lock(path: str, mode: int) -> int:
    """Lock a file beside the table, and not the table itself.

    The agent passes descriptors of the table to other processes, and a kernel lock lasts until the
    last of them closes its descriptor.
    """
    name = f"{path}.lock"
    try:
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
    except OSError as error:
        raise TableError(f"{name}: cannot open the table's lock: {cause(error)}") from error
    try:
        with on_error(os.close, fd):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise TableError(
            f"{name}: another agent uses this state folder; end its `crewgate serve` first"
        ) from error
    return fd
