"""Disk space that is kept for the records of open calls when a disk gets full.

Under the policy `refuse`, no new call starts after a write has failed, but each open call still
needs its line. Releasing the reserved space makes room for these lines. Allocating it again proves
that the disk has room once more.
"""

import os
from pathlib import Path
from typing import Self

from crewgate.runtime.cleanup import on_error


class ReservedSpace:
    """An allocated file without a name, which the kernel deletes when its process ends."""

    def __init__(self, descriptor: int) -> None:
        """Own an open descriptor; use `allocate` to make one."""
        self._descriptor = descriptor

    @classmethod
    def allocate(cls, folder: Path, size: int) -> Self:
        """Allocate `size` bytes on the folder's file system; raise OSError if there is no room."""
        path = folder / f".ballast-{os.getpid()}-{os.urandom(4).hex()}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        with on_error(os.close, descriptor):
            path.unlink()
            if size:
                os.posix_fallocate(descriptor, 0, size)
        return cls(descriptor)

    def release(self) -> None:
        """Give the space back to the file system."""
        os.close(self._descriptor)
