"""Keeps what was read in a file until the file changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


class CachedFile(Generic[T]):
    """What `read` returns for the file at `path`, read again only after a change. Blocks.

    `read` returns None, or raises OSError, for a file that cannot be used.
    """

    def __init__(self, path: Path, read: Callable[[Path], T | None]) -> None:
        self._path = path
        self._read = read
        self._stamp: tuple[int, ...] = ()
        self._value: T | None = None

    def value(self) -> T | None:
        """Return what is in the file now; None if there is no file that can be used."""
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size)
            if stamp != self._stamp:
                self._value, self._stamp = self._read(self._path), stamp
        except OSError:
            self._value, self._stamp = None, ()
        return self._value
