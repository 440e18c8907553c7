"""The log of capsules on the disk: one file for each span of time in which capsules expire.

A record is in the kernel when `append` returns (it survives a SIGKILL of the process), and on the
disk after `sync`. A reader leaves out a record that a crash has torn, and finds the next record by
its mark. The log is never rewritten: when a span is over, its file is deleted. The log uses nothing
of a capsule but its time of expiry. Files are read in pieces: one may have a million capsules.

    record: mark 4 bytes | length 2, CRC-32 of the capsule 4 | capsule
"""

import os
import re
import struct
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from crewgate import limits
from crewgate.core.gossip.capsules import expires_of
from crewgate.runtime.durable_files import cause, make_folder, open_to_append, sync_folder

_MARK = b"\xc4cap"
_HEAD = struct.Struct(">4sHI")
_NAME = re.compile(r"capsules-(\d{1,12})", re.ASCII)
_CAPSULE_BYTES_MAX = limits.gossip_message_bytes_max
_RECORD_BYTES_MAX = _HEAD.size + _CAPSULE_BYTES_MAX


class CapsuleJournal:
    """The files in `folder`, which one process writes. Times are whole seconds of the wall clock.

    If the disk is full, the log is `incomplete`, and says so once. The revocations are in force all
    the same, and other machines have them. `retry` appends what the disk did not take.
    """

    def __init__(self, folder: Path, log: Callable[[str], None]) -> None:
        """Make the folder if there is none. Raises OSError."""
        make_folder(folder, 0o700)
        self._folder = folder
        self._log = log
        self._open: dict[int, int] = {}  # descriptors by span
        self._unsynced: set[int] = set()
        self._sync_lock = threading.Lock()
        self._is_named = True  # whether the names of all files are on the disk
        # The capsules to append again. The capsule store has them too, so they take no own memory.
        self._missing: list[bytes] = []
        self.incomplete = False

    def append(self, raws: Iterable[bytes]) -> list[bytes]:
        """Append capsules, one write for each span; return those of the writes that succeeded."""
        spans: dict[int, list[bytes]] = {}
        for raw in raws:
            spans.setdefault(expires_of(raw) // limits.capsule_file_seconds, []).append(raw)
        written = []
        for span, some in spans.items():
            if self._write(span, some):
                written += some
            else:
                self._missing += some
        return written

    def lose(self, raws: Iterable[bytes], why: str) -> None:
        """Enter that the capsules since the last sync are not on the disk: `retry` appends them."""
        self._missing += raws
        for span in [*self._unsynced]:
            self._unsynced.discard(span)
            self._close_if_synced(span)
        self._log_failure(why)

    def retry(self, now: int) -> list[bytes]:
        """Append the missing capsules that have not expired; return those to sync."""
        if not self.incomplete:
            return []
        missing, self._missing = self._missing, []
        size = limits.capsule_file_seconds
        written = self.append(raw for raw in missing if not _is_over(expires_of(raw) // size, now))
        if not written:
            self.synced()
        return written

    def synced(self) -> None:
        """Enter that a sync has succeeded. If nothing is missing, the log is complete again."""
        if self.incomplete and not self._missing:
            self.incomplete = False
            self._log(f"{self._folder}: all revocations are on this disk again")

    def _write(self, span: int, raws: Iterable[bytes]) -> bool:
        data = b"".join(_HEAD.pack(_MARK, len(raw), zlib.crc32(raw)) + raw for raw in raws)
        try:
            descriptor = self._descriptor(span)
            written = os.write(descriptor, data)
        except OSError as error:
            self._log_failure(cause(error))
            self._close_if_synced(span)
            return False
        self._unsynced.add(span)
        if written != len(data):
            self._log_failure("the disk is full")
            return False
        return True

    def sync(self) -> None:
        """Wait until the disk has all that was appended. Any thread may call this. Raises OSError.

        After an OSError, the capsules may be lost even if the next call succeeds.
        """
        # One thread at a time: a second one must not return before the first one's fsync has ended.
        with self._sync_lock:
            self._sync()

    def replay(self, now: int) -> Iterator[bytes]:
        """Yield all whole capsules of spans that are not over. Raises OSError."""
        for span, path in self._files():
            if not _is_over(span, now):
                with path.open("rb") as file:
                    yield from records(file)

    def drop(self, now: int) -> None:
        """Delete the files of the spans that are over. Raises OSError."""
        for span, path in self._files():
            if _is_over(span, now):
                descriptor = self._open.pop(span, None)
                if descriptor is not None:
                    os.close(descriptor)
                self._unsynced.discard(span)
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def _sync(self) -> None:
        for span in sorted(self._unsynced):
            # This comes before the fsync: what is appended meanwhile is for the next sync.
            self._unsynced.discard(span)
            try:
                os.fsync(self._open[span])
            except (KeyError, OSError):
                # If the file is not open any more, `drop` has deleted it meanwhile.
                if span in self._open:
                    self._unsynced.add(span)
                    raise
        if not self._is_named:
            self._is_named = True
            sync_folder(self._folder)

    def _files(self) -> list[tuple[int, Path]]:
        found = ((_NAME.fullmatch(path.name), path) for path in self._folder.iterdir())
        return sorted((int(match[1]), path) for match, path in found if match)

    def _descriptor(self, span: int) -> int:
        found = self._open.get(span)
        if found is not None:
            return found
        if len(self._open) >= limits.capsule_files_max:
            self._close_half()
        path = self._folder / f"capsules-{span}"
        self._open[span] = descriptor = open_to_append(path, 0o600)
        self._is_named = False
        return descriptor

    def _close_if_synced(self, span: int) -> None:
        """Close a file, so that the next write opens it again: by then the disk may be another one.

        The file stays open if capsules in it wait for a sync, or during a sync: the sync would use
        the number of the descriptor, which another file may have by then.
        """
        if span not in self._unsynced and self._sync_lock.acquire(blocking=False):
            try:
                descriptor = self._open.pop(span, None)
                if descriptor is not None:
                    os.close(descriptor)
            finally:
                self._sync_lock.release()

    def _close_half(self) -> None:
        """Sync, and close the files that were opened first. Raises OSError."""
        with self._sync_lock:
            self._sync()
            for span in [*self._open][: (len(self._open) + 1) // 2]:
                os.close(self._open.pop(span))

    def _log_failure(self, why: str) -> None:
        if not self.incomplete:
            self._log(f"{self._folder}: {why}; revocations are in force, but not on this disk")
        self.incomplete = True


def records(file: BinaryIO) -> Iterator[bytes]:
    """Yield the capsules of all whole records, and skip what is torn or damaged. Raises OSError."""
    data, is_last = b"", False
    while not is_last:
        piece = file.read(limits.capsule_piece_bytes)
        data, is_last = data + piece, not piece
        # A record that begins after this position may continue in the next piece.
        last = len(data) - (_HEAD.size if is_last else _RECORD_BYTES_MAX)
        at = 0
        while 0 <= (found := data.find(_MARK, at)) <= last:
            raw = _record(data, found)
            if raw is not None:
                yield raw
            at = found + (1 if raw is None else _HEAD.size + len(raw))
        data = data[max(at, last + 1) if found < 0 else found :]


def _record(data: bytes, at: int) -> bytes | None:
    """Return the capsule of the record that begins at `at`; None if the record is not whole."""
    _, length, checksum = _HEAD.unpack_from(data, at)
    raw = data[at + _HEAD.size : at + _HEAD.size + length]
    is_whole = 0 < length <= _CAPSULE_BYTES_MAX and len(raw) == length
    return raw if is_whole and zlib.crc32(raw) == checksum else None


def _is_over(span: int, now: int) -> bool:
    return (span + 1) * limits.capsule_file_seconds <= now
