"""Whether files changed since one last looked, by content: for pollers of configuration and keys.

Cheap while nothing changes (one `stat` a file). Knows nothing of what the files say, and waits
for nobody: the caller decides how often to ask.
"""

import hashlib
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from crewgate import limits

_NS = 1_000_000_000


class FileState(NamedTuple):
    """What one look at a file found; `settled` if a later write must show in `stamp`."""

    stamp: tuple[int, ...]
    digest: bytes
    settled: bool


MISSING = FileState((), b"", settled=False)


class FileWatch:
    """A set of files and how they were at the last look. Make it *before* reading the files."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._looks = {path: _look(path, MISSING) for path in paths}

    def changed(self) -> list[Path]:
        """Files whose content differs from the last look; a file that is gone counts once."""
        changed = []
        for path, before in self._looks.items():
            now = _look(path, before)
            if now.digest != before.digest:
                changed.append(path)
            self._looks[path] = now
        return changed


def _look(path: Path, before: FileState) -> FileState:
    """One look; also at the content, if the stamp moved or a write could hide behind it."""
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
