"""Opens the next audit file of a process in a thread, because the disk may take long.

The thread also deletes old files. It opens one file at a time, so a disk that hangs blocks only one
thread.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from crewgate.audit import folder as audit_folder
from crewgate.audit.reserved_space import ReservedSpace


class PreparedFile(NamedTuple):
    """A new file of one process, with reserved space if the writer asked for that.

    `prune_error` says why old files could not be deleted.
    """

    descriptor: int
    path: Path
    opened_ns: int
    reserved: ReservedSpace | None
    prune_error: OSError | None


def in_thread(work: Callable[[], None]) -> None:
    """Run `work` in a thread, for which an ending process does not wait."""
    threading.Thread(target=work, name="audit file", daemon=True).start()


class NextFile:
    """The next file of one writer, which calls all methods in one thread."""

    def __init__(
        self,
        folder: Path,
        process: str,
        *,
        reserved_bytes: int,
        folder_bytes_max: int | None,
        now_ns: Callable[[], int],
    ) -> None:
        """Keep at most `folder_bytes_max` in the folder; None keeps every file."""
        self._folder = folder
        self._process = process
        self._reserved_bytes = reserved_bytes
        self._folder_bytes_max = folder_bytes_max
        self._now_ns = now_ns
        self._run = in_thread
        self._now = time.monotonic
        # When the opening began whose result was not taken yet.
        self._began: float | None = None
        self._result: PreparedFile | OSError | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    def open(self, *, with_reserve: bool) -> PreparedFile:
        """Open the file while the caller waits. Raises OSError."""
        space = ReservedSpace.allocate(self._folder, self._reserved_bytes) if with_reserve else None
        now_ns = self._now_ns()
        try:
            descriptor, path = audit_folder.create(self._folder, self._process, now_ns)
        except OSError:
            if space is not None:
                space.release()
            raise
        return PreparedFile(descriptor, path, now_ns, space, self._prune())

    def begin(self, *, with_reserve: bool) -> None:
        """Start to open the file in a thread, unless an opening is in progress."""
        if self._began is None:
            self._began = self._now()
            self._run(lambda: self._open_in_thread(with_reserve=with_reserve))

    def take(self) -> PreparedFile | None:
        """Return the file of `begin` once; None while there is none. Raises OSError."""
        with self._lock:
            result, self._result = self._result, None
        if result is None:
            return None
        self._began = None
        if isinstance(result, OSError):
            raise result
        return result

    def late_seconds(self) -> float:
        """Return how long an opening has been in progress."""
        began = self._began
        return 0.0 if began is None else self._now() - began

    def close(self) -> None:
        """Delete the file that was not taken, or that a thread still opens."""
        with self._lock:
            self._is_closed, result = True, self._result
        if isinstance(result, PreparedFile):
            _discard(result)

    def _open_in_thread(self, *, with_reserve: bool) -> None:
        result: PreparedFile | OSError
        try:
            result = self.open(with_reserve=with_reserve)
        except OSError as error:
            result = error
        with self._lock:
            self._result = result
            is_closed = self._is_closed
        if is_closed and isinstance(result, PreparedFile):
            _discard(result)

    def _prune(self) -> OSError | None:
        if self._folder_bytes_max is None:
            return None
        try:
            audit_folder.prune(self._folder, self._folder_bytes_max)
        except OSError as error:
            return error
        return None


def _discard(opened: PreparedFile) -> None:
    if opened.reserved is not None:
        opened.reserved.release()
    opened.path.unlink(missing_ok=True)
    os.close(opened.descriptor)
