"""Has the disk take what a process has appended to its audit, once a second, in a thread.

Knows nothing of lines. A file that the writer has left is synced once more before it is closed, so
a rotation loses nothing. A sync that failed is not tried again: the kernel may have dropped what it
could not write (Rebello et al. 2020, "Can Applications Recover from fsync Failures?").
"""

import os
import threading
from collections.abc import Callable

from crewgate import limits


class Syncer:
    """Of one writer, which calls the methods in one thread; `count` is what it has written."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        self._turn = threading.Lock()
        self._descriptor = -1
        self._left: list[int] = []  # descriptors of files that the writer has left
        self._is_dirty = False
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._safe = 0  # of `count`, what the disk has
        self._failure: OSError | None = None

    def __repr__(self) -> str:
        return f"<Syncer {'dirty' if self._is_dirty else 'clean'} left={len(self._left)}>"

    def wrote(self, descriptor: int) -> None:
        """Something was appended there."""
        if self._is_dirty:
            return
        self._descriptor, self._is_dirty = descriptor, True
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="audit sync", daemon=True)
            self._thread.start()

    def leave(self, descriptor: int) -> None:
        """Nothing more is appended there: to be synced and closed."""
        with self._turn:
            self._left.append(descriptor)
            self._is_dirty = False
        if self._thread is None:
            self.sync()

    def failed(self) -> tuple[OSError, int] | None:
        """Why the disk did not take what was appended, and how much of it; told once."""
        failure, self._failure = self._failure, None
        if failure is None:
            return None
        missing = self._count() - self._safe
        self._safe = self._count()
        return failure, missing

    def sync(self) -> None:
        """Wait until the disk has all that was appended; `failed` says if it does not take it."""
        with self._turn:
            count, left = self._count(), self._left
            descriptors = [*left, self._descriptor] if self._is_dirty else left
            self._is_dirty, self._left = False, []
            try:
                for descriptor in descriptors:
                    if descriptor >= 0:
                        os.fdatasync(descriptor)
            except OSError as error:
                self._failure = error
            else:
                if self._failure is None:
                    self._safe = count
            finally:
                for descriptor in left:
                    os.close(descriptor)

    def close(self) -> None:
        """Sync once more and end the thread."""
        self._ending.set()
        self.sync()

    def _run(self) -> None:
        while not self._ending.wait(limits.audit_sync_seconds):
            if self._is_dirty or self._left:
                self.sync()
