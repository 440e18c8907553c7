"""An append-only file of small records, rewritten when most lines are outdated.

When `append` returns, the line is in the kernel and survives a SIGKILL. After `sync` it is on disk.
A reader skips lines that a crash has torn.
"""

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from crewgate import limits
from crewgate.runtime.durable_files import append, cause, open_to_append, rename_file

_log = logging.getLogger(__name__)
R = TypeVar("R", bound=msgspec.Struct)


class JournalFile(Generic[R]):
    """The file at `path`, each line of which is one record of `kind` as JSON.

    If the disk is full, the journal becomes `incomplete`, which it logs once. The agent continues,
    because the table has the state, and the next rewriting completes the file.
    """

    def __init__(self, path: Path, kind: type[R]) -> None:
        self._path = path
        self._encode = msgspec.json.Encoder().encode
        self._decoder = msgspec.json.Decoder(kind)
        self._descriptor = -1
        self._lines = 0
        # The lines appended during a rewriting; None while there is none.
        self._meanwhile: list[bytes] | None = None
        self.incomplete = False

    def read(self) -> list[R]:
        """Return all whole records, oldest first; none if there is no file."""
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        records = []
        for line in lines:
            try:
                records.append(self._decoder.decode(line))
            except (msgspec.DecodeError, ValueError):
                continue
        return records

    def append(self, record: R) -> None:
        """Append one line."""
        line = self._encode(record) + b"\n"
        if self._meanwhile is not None:
            self._meanwhile.append(line)
        self._lines += 1
        # The last line may be torn, so end it first.
        if self.incomplete:
            line = b"\n" + line
        try:
            written = os.write(self._descriptor, line)
        except OSError as error:
            self._log_failure(cause(error))
        else:
            if written != len(line):
                self._log_failure("the disk is full")

    def sync(self) -> None:
        """Wait until all lines are on disk; call it in a thread."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            self._log_failure(cause(error))

    def is_due(self, live: int) -> bool:
        """Return whether to rewrite it with the `live` records: lines are outdated or missing."""
        if self._meanwhile is not None:
            return False
        return self.incomplete or self._lines > 2 * live + limits.journal_slack_lines

    def rewrite(self, records: Iterable[R]) -> None:
        """Replace the file with these records. Raises OSError."""
        self.begin()
        self.finish(self.write(records))

    def begin(self) -> None:
        """Start to collect the lines that are appended while `write` runs in a thread."""
        self._meanwhile = []

    def write(self, records: Iterable[R]) -> int:
        """Write a new file beside the old one, and return its number of records.

        It uses nothing that `append` uses, so it may run in a thread.
        """
        count = 0
        mode = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        with os.fdopen(os.open(self._beside, mode, 0o600), "wb") as file:
            for record in records:
                file.write(self._encode(record) + b"\n")
                count += 1
            file.flush()
            os.fsync(file.fileno())
        return count

    def finish(self, count: int) -> None:
        """Append the collected lines to the new file, and replace the old one. Raises OSError."""
        why = ""
        meanwhile, self._meanwhile = self._meanwhile or [], None
        lines = b"".join(meanwhile)
        descriptor = open_to_append(self._beside, 0o600)
        try:
            # A `sync` of the old file may have promised these lines, so they go to the disk.
            if lines:
                append(descriptor, lines)
            rename_file(self._beside, self._path)
        except OSError as error:
            if self._beside.exists():
                os.close(descriptor)
                raise
            # The new file has its name, but perhaps not on disk.
            why = cause(error)
        if self._descriptor < 0:
            self._descriptor = descriptor
        else:
            # Replace the descriptor in one step: another thread may be in `sync`.
            os.dup2(descriptor, self._descriptor, inheritable=False)
            os.close(descriptor)
        self._lines = count + len(meanwhile)
        self.incomplete = False
        if why:
            self._log_failure(why)

    def abandon(self) -> None:
        """Continue with the old file after `write` failed."""
        self._meanwhile = None

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def _beside(self) -> Path:
        return self._path.with_name(self._path.name + ".new")

    def _log_failure(self, why: str | None) -> None:
        if not self.incomplete:
            _log.warning(
                "%s: %s; make room: until then a restarted agent would lack records",
                self._path,
                why,
            )
        self.incomplete = True
