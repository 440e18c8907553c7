"""The folder of the audit: one file per process and rotation, and one writer per file.

A writer holds a kernel lock on its file. The lock distinguishes a file in use from a finished one,
which may be deleted, even if its process was killed.
"""

import fcntl
import os
import re
from datetime import UTC, datetime
from pathlib import Path

from crewgate.core.audit.records import microseconds
from crewgate.errors import ConfigurationError
from crewgate.runtime.cleanup import on_error
from crewgate.runtime.durable_files import cause, make_folder, sync_folder

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_FILE = re.compile(
    r"(?P<process>[a-z0-9][a-z0-9-]*)-(?P<start>\d{8}T\d{6}\.\d{6}Z)(-(?P<turn>\d+))?\.jsonl"
)


def prepare(folder: Path) -> None:
    """Make the folder, for its owner alone; raise ConfigurationError if that fails."""
    try:
        make_folder(folder, 0o700, parents=True)
    except OSError as error:
        raise ConfigurationError(
            f"audit folder {folder}: {cause(error)}; or name another in [audit] folder"
        ) from error


def create(folder: Path, process: str, time_ns: int) -> tuple[int, Path]:
    """Create and lock a file `<process>-<start>.jsonl` with mode 0600, for appending.

    It is never an existing file, so an incomplete line of another writer stays the last of its
    file. Raises OSError.
    """
    if not _NAME.fullmatch(process):
        raise ValueError(
            f"not a process name: {process[:64]!r}; use lower-case letters, digits and hyphens"
        )
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
        with on_error(os.close, descriptor):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Otherwise a power loss could leave synced lines in a file without a name.
            sync_folder(folder)
        return descriptor, path


def files(folder: Path) -> list[Path]:
    """Return all files of the audit, oldest start first, and no other files."""
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


def process_of(path: Path) -> str:
    """Return the name of the process that writes a file of `files`."""
    match = _FILE.fullmatch(path.name)
    return match["process"] if match is not None else ""


def start_of(name: str) -> str:
    """Return the text of the beginning in the name of a file; empty for another file."""
    match = _FILE.fullmatch(name)
    return match["start"] if match is not None else ""


def started_us(path: Path) -> int:
    """Return when a file of `files` was begun, in microseconds since 1970; 0 for another file.

    Also 0 if its name has a time that no process wrote, such as a thirteenth month.
    """
    try:
        start = datetime.strptime(start_of(path.name), "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)
    except ValueError:
        return 0
    return microseconds(start)


def size(folder: Path) -> int:
    """Return the bytes of all files of the audit."""
    return sum(_bytes(path) for path in files(folder))


def prune(folder: Path, bytes_max: int) -> list[Path]:
    """Delete the oldest finished files until at most `bytes_max` are left; return what was deleted.

    Two processes may prune at once: only the one that has the lock of a file deletes it.
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
