"""Detects changed files by their content, for code that polls configuration and key files.

A check costs one `stat` for each file that did not change. The caller decides how often to check.
"""

import hashlib
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from crewgate import limits

_NS = 1_000_000_000


class FileState(NamedTuple):
    """A file at the last check; `settled` means that any later write changes `stamp`."""

    stamp: tuple[int, ...]
    digest: bytes
    settled: bool


MISSING = FileState((), b"", settled=False)


class FileWatch:
    """A set of files and their state at the last check. Make it *before* reading the files."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._states = {path: _check(path, MISSING) for path in paths}
        self._retry_at = math.inf  # monotonic seconds

    def changed(self) -> list[Path]:
        """Return the files whose content changed since the last check; a removed one once."""
        changed = []
        for path, before in self._states.items():
            now = _check(path, before)
            if now.digest != before.digest:
                changed.append(path)
            self._states[path] = now
        return changed

    def is_due(self) -> bool:
        """Return whether to read the files again: they have changed, or a retry is due."""
        is_due = bool(self.changed()) or time.monotonic() >= self._retry_at
        if is_due:
            self._retry_at = math.inf
        return is_due

    def retry_later(self) -> None:
        """Plan a retry, because the files cannot be used: a missing file may be there by then."""
        self._retry_at = time.monotonic() + limits.reload_refused_seconds


def _check(path: Path, before: FileState) -> FileState:
    """Read the content as well if the stamp changed, or if a write may not have changed it."""
    try:
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size)
        if before.settled and stamp == before.stamp:
            return before
        with path.open("rb") as stream:
            digest = hashlib.blake2b(stream.read(limits.config_bytes_max), digest_size=16).digest()
    except OSError:
        return MISSING
    age_ns = time.time_ns() - status.st_mtime_ns
    return FileState(stamp, digest, settled=age_ns > limits.file_time_seconds * _NS)
