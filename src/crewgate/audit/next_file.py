"""Opens a process's next audit file in a thread: the disk may take long to give it a name.

Old files are cleared there as well. One opening at a time, so a disk that hangs holds one thread.
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
    """A new file that its process alone has, and what came with it."""

    descriptor: int
    path: Path
    opened_ns: int
    reserved: ReservedSpace | None  # None where none was asked for
    uncleared: OSError | None  # why old files could not be cleared


def in_thread(work: Callable[[], None]) -> None:
    """Do it while the caller goes on. A process that ends does not wait for it."""
    threading.Thread(target=work, name="audit file", daemon=True).start()


class NextFile:
    """The files of one writer, which calls the methods in one thread."""

    def __init__(
        self,
        folder: Path,
        process: str,
        *,
        ballast_bytes: int,
        folder_bytes_max: int | None,
        now_ns: Callable[[], int],
    ) -> None:
        """`folder_bytes_max` is what the folder may hold; None keeps every file."""
        self._folder = folder
        self._process = process
        self._reserved_bytes = ballast_bytes
        self._folder_bytes_max = folder_bytes_max
        self._now_ns = now_ns
        self._run = in_thread
        self._now = time.monotonic
        self._began: float | None = None  # when what is not taken yet was begun
        self._came: PreparedFile | OSError | None = None
        self._is_over = False
        self._turn = threading.Lock()

    def open(self, *, with_ballast: bool) -> PreparedFile:
        """Open it while the caller waits; OSError."""
        ballast = ReservedSpace.take(self._folder, self._reserved_bytes) if with_ballast else None
        now_ns = self._now_ns()
        try:
            descriptor, path = audit_folder.create(self._folder, self._process, now_ns)
        except OSError:
            if ballast is not None:
                ballast.drop()
            raise
        return PreparedFile(descriptor, path, now_ns, ballast, self._clear())

    def begin(self, *, with_ballast: bool) -> None:
        """Open it in a thread, unless that was begun already."""
        if self._began is None:
            self._began = self._now()
            self._run(lambda: self._do(with_ballast=with_ballast))

    def take(self) -> PreparedFile | None:
        """What `begin` has brought, once; None as long as there is nothing. OSError."""
        with self._turn:
            came, self._came = self._came, None
        if came is None:
            return None
        self._began = None
        if isinstance(came, OSError):
            raise came
        return came

    def late_seconds(self) -> float:
        """How long what was begun has not come."""
        began = self._began
        return 0.0 if began is None else self._now() - began

    def close(self) -> None:
        """Give up a file that comes from now on: the writer takes no more."""
        with self._turn:
            self._is_over, came = True, self._came
        if isinstance(came, PreparedFile):
            _give_up(came)

    def _do(self, *, with_ballast: bool) -> None:
        came: PreparedFile | OSError
        try:
            came = self.open(with_ballast=with_ballast)
        except OSError as error:
            came = error
        with self._turn:
            self._came = came
            is_over = self._is_over
        if is_over and isinstance(came, PreparedFile):
            _give_up(came)

    def _clear(self) -> OSError | None:
        if self._folder_bytes_max is None:
            return None
        try:
            audit_folder.prune(self._folder, self._folder_bytes_max)
        except OSError as error:
            return error
        return None


def _give_up(opened: PreparedFile) -> None:
    if opened.reserved is not None:
        opened.reserved.drop()
    opened.path.unlink(missing_ok=True)
    os.close(opened.descriptor)
