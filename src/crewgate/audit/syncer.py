"""Syncs the audit of a process to the disk once a second, in a thread.

After a rotation the previous file is synced once more before it is closed, so a rotation loses
nothing. A failed sync is not repeated: the kernel may have dropped what it could not write (Rebello
et al. 2020, "Can Applications Recover from fsync Failures?"). If a sync does not end, only a caller
of `sync` waits for it; `late_seconds` says how long it has taken.
"""

import os
import threading
import time
from collections.abc import Callable

from crewgate import limits


class FileSyncer:
    """Syncs the files of one writer, which calls the methods in one thread.

    `count` returns the number of records that the writer has written.
    """

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        self._now = time.monotonic
        # One sync runs at a time.
        self._sync_lock = threading.Lock()
        # Guards the next four fields. No thread holds it during a sync.
        self._pending = threading.Lock()
        self._descriptor = -1
        self._previous: list[int] = []
        self._is_dirty = False
        self._began: float | None = None
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._synced_count = 0
        self._failure: OSError | None = None

    def wrote(self, descriptor: int) -> None:
        """Note that the writer has appended to the file."""
        if self._is_dirty:
            return
        with self._pending:
            self._descriptor, self._is_dirty = descriptor, True
        self._start()

    def leave(self, descriptor: int) -> None:
        """Sync and close the file, to which the writer appends no more."""
        with self._pending:
            self._previous.append(descriptor)
            self._is_dirty = False
        self._start()

    def failed(self) -> tuple[OSError, int] | None:
        """Return why a sync failed, and how many records it lost; None if none has failed since."""
        failure, self._failure = self._failure, None
        if failure is None:
            return None
        missing = self._count() - self._synced_count
        self._synced_count = self._count()
        return failure, missing

    def late_seconds(self) -> float:
        """Return how long a sync has been in progress."""
        began = self._began
        return 0.0 if began is None else self._now() - began

    def sync(self) -> None:
        """Wait until the disk has every record, or `failed` has the reason why not."""
        with self._sync_lock:
            with self._pending:
                count, previous = self._count(), self._previous
                descriptors = [*previous, self._descriptor] if self._is_dirty else [*previous]
                self._is_dirty, self._previous = False, []
                self._began = self._now()
            try:
                for descriptor in descriptors:
                    if descriptor >= 0:
                        os.fdatasync(descriptor)
            except OSError as error:
                self._failure = error
            else:
                if self._failure is None:
                    self._synced_count = count
            finally:
                self._began = None
                for descriptor in previous:
                    os.close(descriptor)

    def close(self) -> bool:
        """Sync once more and end the thread; return False if the disk takes too long."""
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
            if self._is_dirty or self._previous:
                self.sync()
        self.sync()
