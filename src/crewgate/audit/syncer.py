"""Has the disk take what a process has appended to its audit, once a second, in a thread.

Knows nothing of lines. A file that the writer has left is synced once more before it is closed, so
a rotation loses nothing. A sync that failed is not tried again: the kernel may have dropped what it
could not write (Rebello et al. 2020, "Can Applications Recover from fsync Failures?"). If a
sync does not end, only who calls `sync` waits for it; `late_seconds` says for how long.
"""

import os
import threading
import time
from collections.abc import Callable

from crewgate import limits


class FileSyncer:
    """Of one writer, which calls the methods in one thread; `count` is what it has written."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        self._now = time.monotonic
        self._turn = threading.Lock()  # one sync at a time
        self._pending = threading.Lock()  # held for the next four fields, never during a sync
        self._descriptor = -1
        self._left: list[int] = []  # descriptors of files that the writer has left
        self._is_dirty = False
        self._began: float | None = None  # the sync that has not ended
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._safe = 0  # of `count`, what the disk has
        self._failure: OSError | None = None

    def wrote(self, descriptor: int) -> None:
        """Something was appended there."""
        if self._is_dirty:
            return
        with self._pending:
            self._descriptor, self._is_dirty = descriptor, True
        self._start()

    def leave(self, descriptor: int) -> None:
        """Nothing more is appended there: to be synced and closed."""
        with self._pending:
            self._left.append(descriptor)
            self._is_dirty = False
        self._start()

    def failed(self) -> tuple[OSError, int] | None:
        """Why the disk did not take what was appended, and how much of it; told once."""
        failure, self._failure = self._failure, None
        if failure is None:
            return None
        missing = self._count() - self._safe
        self._safe = self._count()
        return failure, missing

    def late_seconds(self) -> float:
        """How long a sync has not ended that has begun."""
        began = self._began
        return 0.0 if began is None else self._now() - began

    def sync(self) -> None:
        """Wait until the disk has all that was appended; `failed` says if it does not take it."""
        with self._turn:
            with self._pending:
                count, left = self._count(), self._left
                descriptors = [*left, self._descriptor] if self._is_dirty else [*left]
                self._is_dirty, self._left = False, []
                self._began = self._now()
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
                self._began = None
                for descriptor in left:
                    os.close(descriptor)

    def close(self) -> bool:
        """Sync once more and end the thread; False if the disk takes longer than it may."""
        self._ending.set()
        if self._thread is None:
            return True
        self._thread.join(limits.audit_end_seconds_max)
        return not self._thread.is_alive()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="audit sync", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._ending.wait(limits.audit_sync_seconds):
            if self._is_dirty or self._left:
                self.sync()
        self.sync()
