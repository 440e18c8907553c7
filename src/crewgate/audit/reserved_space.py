"""Disk space held back for the records of calls that are already under way when a disk fills.

Under the policy `refuse` no new call starts once a write has failed, but those in flight still
have to leave their line. Dropping the ballast makes room for them; taking it up again proves that
the disk has room once more.
"""

import os
from pathlib import Path
from typing import Self


class ReservedSpace:
    """An allocated file without a name: it is gone with its process, however that ends."""

    def __init__(self, descriptor: int) -> None:
        """Own the descriptor; made by `take`."""
        self._descriptor = descriptor

    @classmethod
    def take(cls, folder: Path, size: int) -> Self:
        """Allocate `size` bytes on the folder's file system; OSError where there is no room."""
        path = folder / f".ballast-{os.getpid()}-{os.urandom(4).hex()}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        try:
            path.unlink()
            if size:
                os.posix_fallocate(descriptor, 0, size)
        except OSError:
            os.close(descriptor)
            raise
        return cls(descriptor)

    def drop(self) -> None:
        """Give the space back to the file system."""
        os.close(self._descriptor)
