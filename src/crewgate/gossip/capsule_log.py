"""The capsules on the disk: one file for each span of time in which they expire.

A record that `append` has returned from is in the kernel (it survives a SIGKILL of the process),
and on the disk after `sync`. What a crash tore is left out when it is read, and what follows it is
found again by its mark. Nothing is rewritten: when a span is over, its file goes. Knows nothing of
what a capsule says but when it expires. Files are read in pieces: there may be a million in one.

    record: mark 4 | length 2, CRC-32 4 (of what follows) | capsule
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


class CapsuleLog:
    """The files in `folder`; one process writes them. Times are whole seconds of the wall clock.

    A full disk makes it incomplete, which is said once: revocations are applied all the same, and
    the other machines have them. What the disk did not take is kept, and appended by `retry`.
    """

    def __init__(self, folder: Path, log: Callable[[str], None]) -> None:
        """Make the folder, if it is not there; OSError."""
        make_folder(folder, 0o700)
        self._folder = folder
        self._log = log
        self._open: dict[int, int] = {}  # descriptors by span
        self._unsynced: set[int] = set()
        self._syncing = threading.Lock()
        self._is_named = True  # the names of all files are on the disk
        self._missing: list[bytes] = []  # the archive has them too: no bytes of their own
        self.incomplete = False

    def __repr__(self) -> str:
        return f"<CapsuleLog {self._folder.name} files={len(self._open)}>"

    def append(self, raws: Iterable[bytes]) -> list[bytes]:
        """Add capsules, all of one span in one piece; those of spans for which there was room."""
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
        """All that was appended since the last sync did not reach the disk: to be appended anew."""
        self._missing += raws
        for span in [*self._unsynced]:
            self._unsynced.discard(span)
            self._let_go(span)
        self._log_failure(why)

    def retry(self, now: int) -> list[bytes]:
        """Append what is missing and not over; what there was room for, to be synced."""
        if not self.incomplete:
            return []
        missing, self._missing = self._missing, []
        size = limits.capsule_file_seconds
        written = self.append(raw for raw in missing if not _is_over(expires_of(raw) // size, now))
        if not written:
            self.synced()
        return written

    def synced(self) -> None:
        """The disk has all that was appended: with nothing missing, the log is complete again."""
        if self.incomplete and not self._missing:
            self.incomplete = False
            self._log(f"{self._folder}: all revocations are on this disk again")

    def _write(self, span: int, raws: Iterable[bytes]) -> bool:
        """Whether there was room."""
        data = b"".join(_HEAD.pack(_MARK, len(raw), zlib.crc32(raw)) + raw for raw in raws)
        try:
            descriptor = self._descriptor(span)
            written = os.write(descriptor, data)
        except OSError as error:
            self._log_failure(cause(error))
            self._let_go(span)
            return False
        self._unsynced.add(span)
        if written != len(data):
            self._log_failure("the disk is full")
            return False
        return True

    def sync(self) -> None:
        """Wait until the disk has all that was appended; OSError. Any thread may, each in its turn.

        What could not be written then may be gone, though the next call says that all is well.
        """
        with self._syncing:  # or what another has begun would pass for done
            self._sync()

    def replay(self, now: int) -> Iterator[bytes]:
        """All whole capsules of spans that are not over; OSError."""
        for span, path in self._files():
            if not _is_over(span, now):
                with path.open("rb") as file:
                    yield from records(file)

    def drop(self, now: int) -> None:
        """Delete the files of spans that are over."""
        for span, path in self._files():
            if _is_over(span, now):
                descriptor = self._open.pop(span, None)
                if descriptor is not None:
                    os.close(descriptor)
                self._unsynced.discard(span)
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the files."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def _sync(self) -> None:
        for span in sorted(self._unsynced):
            self._unsynced.discard(span)  # before: what is appended meanwhile is for the next
            try:
                os.fsync(self._open[span])
            except (KeyError, OSError):
                if span in self._open:  # else its time was over meanwhile
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

    def _let_go(self, span: int) -> None:
        """Have the next write open the file anew: another disk may be in this one's place by then.

        Not before all that was appended is synced or lost, nor during a sync, which would be of
        whatever has the descriptor's number next.
        """
        if span not in self._unsynced and self._syncing.acquire(blocking=False):
            try:
                descriptor = self._open.pop(span, None)
                if descriptor is not None:
                    os.close(descriptor)
            finally:
                self._syncing.release()

    def _close_half(self) -> None:
        """Those files that were opened first, once the disk has what is in them; OSError."""
        with self._syncing:
            self._sync()
            for span in [*self._open][: (len(self._open) + 1) // 2]:
                os.close(self._open.pop(span))

    def _log_failure(self, why: str) -> None:
        if not self.incomplete:
            self._log(f"{self._folder}: {why}; revocations are in force, and not on this disk")
        self.incomplete = True


def records(file: BinaryIO) -> Iterator[bytes]:
    """The whole records of a file, whatever is torn or damaged between them; OSError."""
    data, is_last = b"", False
    while not is_last:
        piece = file.read(limits.capsule_piece_bytes)
        data, is_last = data + piece, not piece
        # A record that begins after this may go on in the next piece.
        last = len(data) - (_HEAD.size if is_last else _RECORD_BYTES_MAX)
        at = 0
        while 0 <= (found := data.find(_MARK, at)) <= last:
            raw = _record(data, found)
            if raw is not None:
                yield raw
            at = found + (1 if raw is None else _HEAD.size + len(raw))
        data = data[max(at, last + 1) if found < 0 else found :]


def _record(data: bytes, at: int) -> bytes | None:
    """The capsule whose record begins there, if it is whole."""
    _, length, checksum = _HEAD.unpack_from(data, at)
    raw = data[at + _HEAD.size : at + _HEAD.size + length]
    is_whole = 0 < length <= _CAPSULE_BYTES_MAX and len(raw) == length
    return raw if is_whole and zlib.crc32(raw) == checksum else None


def _is_over(span: int, now: int) -> bool:
    return (span + 1) * limits.capsule_file_seconds <= now
