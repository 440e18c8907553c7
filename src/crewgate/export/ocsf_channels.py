"""Sends OCSF events, one JSON object on each line: to a file, or over HTTP."""

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import msgspec
import trio

from crewgate.audit.audit_entry import AuditEntry
from crewgate.config import ExportConfig, ReceiverURL
from crewgate.errors import ReceiverError, ReceiverRefusedError
from crewgate.export.channel import Channel, Rejection
from crewgate.export.ocsf import event
from crewgate.runtime.cleanup import lent, on_error
from crewgate.runtime.durable_files import append, cause, open_to_append, sync_folder
from crewgate.upstream.http_poster import HTTPPoster

_encode = msgspec.json.Encoder().encode
_MEDIA = b"application/x-ndjson"


class OCSFFileChannel:
    """Appends events to a file, which it opens for each batch: so another program may rotate it."""

    def __init__(self, receiver: ExportConfig, file: Path) -> None:
        self.name = receiver.name
        self._file = file

    def wants(self, entry: AuditEntry) -> bool:  # noqa: ARG002 - as `Channel` has it
        """Return True: each record is an event."""
        return True

    async def send(self, entries: Sequence[AuditEntry]) -> Rejection:
        """See `Channel`. Returns when the disk has the events."""
        lines = _lines(entries)
        try:
            await trio.to_thread.run_sync(_append, self._file, lines)
        except OSError as error:
            raise ReceiverError(cause(error)) from error
        return Rejection()

    async def close(self) -> None:
        """Do nothing: the file is open only during `send`."""


class OCSFHTTPChannel:
    """Posts events to a receiver."""

    def __init__(self, receiver: ExportConfig, url: ReceiverURL) -> None:
        self.name = receiver.name
        self._poster = HTTPPoster(
            f"export {receiver.name}", url, _MEDIA, tls=receiver.tls, credential=receiver.credential
        )

    def wants(self, entry: AuditEntry) -> bool:  # noqa: ARG002 - as `Channel` has it
        """Return True: each record is an event."""
        return True

    async def send(self, entries: Sequence[AuditEntry]) -> Rejection:
        """See `Channel`."""
        await self._poster.post(_lines(entries))
        return Rejection()

    async def close(self) -> None:
        """See `Channel`."""
        await self._poster.close()


def channel(receiver: ExportConfig) -> Channel:
    """Return the channel to the file or the URL of a receiver."""
    if receiver.url is not None:
        return OCSFHTTPChannel(receiver, receiver.url)
    return OCSFFileChannel(receiver, receiver.file or Path(os.devnull))


def _lines(entries: Sequence[AuditEntry]) -> bytes:
    try:
        return b"".join(_encode(event(entry)) + b"\n" for entry in entries)
    except (ArithmeticError, TypeError, ValueError) as error:
        raise ReceiverRefusedError(f"a record cannot be encoded: {error}") from error


def _append(path: Path, data: bytes) -> None:
    """Append whole lines durably, or none. Raises OSError."""
    is_new = not path.exists()
    with lent(open_to_append(path, 0o600)) as descriptor:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            # A pipe or a device cannot be cut back, so a repeated batch would never end.
            raise OSError(errno.EINVAL, "this is no regular file; name another path")
        size = found.st_size
        # A killed process may have left a part of a line.
        is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        with on_error(os.ftruncate, descriptor, size):
            append(descriptor, b"\n" + data if is_torn else data)
    if is_new:
        sync_folder(path.parent)
