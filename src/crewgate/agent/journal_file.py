"""An append-only file of small records that is rewritten when most of it is outdated.

Knows nothing of what the records mean. A line is in the kernel when `append` returns (it survives
a SIGKILL) and on disk after `sync`. A line that was torn by a crash is skipped when it is read.
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
    """The file at `path`, whose lines are JSON of `kind`.

    A full disk makes it incomplete, which is said once and mended by the next rewriting; the
    agent goes on, because the table holds what counts.
    """

    def __init__(self, path: Path, kind: type[R]) -> None:
        self._path = path
        self._encode = msgspec.json.Encoder().encode
        self._decoder = msgspec.json.Decoder(kind)
        self._descriptor = -1
        self._lines = 0
        self._meanwhile: list[bytes] | None = None  # appended while it is being rewritten
        self.incomplete = False

    def read(self) -> list[R]:
        """All whole records, oldest first; none if there is no file."""
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
        """Add one line."""
        line = self._encode(record) + b"\n"
        if self._meanwhile is not None:
            self._meanwhile.append(line)
        self._lines += 1
        if self.incomplete:  # the last line may be torn: end it first
            line = b"\n" + line
        try:
            written = os.write(self._descriptor, line)
        except OSError as error:
            self._log_failure(cause(error))
        else:
            if written != len(line):
                self._log_failure("the disk is full")

    def sync(self) -> None:
        """Wait until the disk has it; to be called in a thread."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            self._log_failure(cause(error))

    def is_due(self, live: int) -> bool:
        """Most lines are outdated (or some are missing): rewrite with the `live` records."""
        if self._meanwhile is not None:
            return False
        return self.incomplete or self._lines > 2 * live + limits.journal_slack_lines

    def rewrite(self, records: Iterable[R]) -> None:
        """Replace the file by these records, at once; OSError if that is not possible."""
        self.begin()
        self.finish(self.write(records))

    def begin(self) -> None:
        """Collect from now on what is appended while `write` runs in a thread."""
        self._meanwhile = []

    def write(self, records: Iterable[R]) -> int:
        """Write `records` beside the old file; how many. Touches nothing that `append` uses."""
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
        """Put what `write` wrote, and what came meanwhile, in the old file's place."""
        why = ""
        meanwhile, self._meanwhile = self._meanwhile or [], None
        lines = b"".join(meanwhile)
        descriptor = open_to_append(self._beside, 0o600)
        try:
            if lines:  # in the old file they may have been synced already
                append(descriptor, lines)
            rename_file(self._beside, self._path)
        except OSError as error:
            if self._beside.exists():
                os.close(descriptor)
                raise
            why = cause(error)  # it has its name, though perhaps not on the disk
        if self._descriptor < 0:
            self._descriptor = descriptor
        else:  # in one step: another thread may be in `sync`
            os.dup2(descriptor, self._descriptor, inheritable=False)
            os.close(descriptor)
        self._lines = count + len(meanwhile)
        self.incomplete = False
        if why:
            self._log_failure(why)

    def abandon(self) -> None:
        """`write` failed: the old file goes on."""
        self._meanwhile = None

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def _beside(self) -> Path:
        return self._path.with_name(self._path.name + ".new")

    def _log_failure(self, why: str | None) -> None:
        if not self.incomplete:
            _log.warning(
                "%s: %s; until there is room, a restart would lack records", self._path, why
            )
        self.incomplete = True
