"""The folder of the audit: one file per process and rotation, and no file with two writers.

A writer holds a kernel lock on its file, so that whoever clears old files can tell a finished one
from one in use, whatever became of its process. Knows nothing of what the lines say.
"""

import fcntl
import os
import re
from datetime import UTC, datetime
from pathlib import Path

from crewgate.errors import ConfigurationError
from crewgate.runtime.durable_files import cause, make_folder, sync_folder

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_FILE = re.compile(
    r"(?P<process>[a-z0-9][a-z0-9-]*)-(?P<start>\d{8}T\d{6}\.\d{6}Z)(-(?P<turn>\d+))?\.jsonl"
)


def prepare(folder: Path) -> None:
    """Make the folder, for its owner alone; ConfigurationError where that cannot be."""
    try:
        make_folder(folder, 0o700, parents=True)
    except OSError as error:
        message = f"audit folder {folder}: {cause(error)}; or name another in [audit] folder"
        raise ConfigurationError(message) from error


def create(folder: Path, process: str, time_ns: int) -> tuple[int, Path]:
    """A new file `<process>-<start>.jsonl`, locked, mode 0600, append only; OSError as it comes.

    Never an existing file: a line that another writer left torn stays the last of its file.
    """
    if not _NAME.fullmatch(process):
        message = f"not a process name: {process[:64]!r}; lower-case letters, digits and hyphens"
        raise ValueError(message)
    make_folder(folder, 0o700, parents=True)
    start = datetime.fromtimestamp(time_ns // 1000 / 1e6, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    turn = 0
    while True:
        path = folder / f"{process}-{start}{f'-{turn}' if turn else ''}.jsonl"
        try:
            descriptor = os.open(path, flags, 0o600)
        except FileExistsError:
            turn += 1
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            sync_folder(folder)  # or lines that were synced would be in a file without a name
        except OSError:
            os.close(descriptor)
            raise
        return descriptor, path


def files(folder: Path) -> list[Path]:
    """All files of the audit, oldest start first; nothing that is not ours."""
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    found = [
        (match["start"], match["process"], int(match["turn"] or 0), name)
        for name in names
        if (match := _FILE.fullmatch(name))
    ]
    return [folder / name for *_, name in sorted(found)]


def size(folder: Path) -> int:
    """Bytes of all files of the audit."""
    return sum(_bytes(path) for path in files(folder))


def prune(folder: Path, bytes_max: int) -> list[Path]:
    """Delete the oldest finished files until the folder holds at most `bytes_max`; what went.

    Two processes may prune at once: each file is deleted by one of them, under its lock.
    """
    left = files(folder)
    total = sum(_bytes(path) for path in left)
    removed = []
    for path in left:
        if total <= bytes_max:
            break
        length = _bytes(path)
        if _delete_finished(path):
            removed.append(path)
            total -= length
    return removed


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _delete_finished(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
