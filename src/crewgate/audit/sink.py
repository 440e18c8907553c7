"""Where a process's verdicts go: records to its file, strangers to their counts.

What a process that judges calls is handed; it answers whether calls may be judged at all while
nothing can be written.
"""

import time
from collections.abc import Callable, Sequence

from crewgate import limits
from crewgate.audit.health import audit_fact
from crewgate.audit.refusal_counts import RefusalCounts
from crewgate.audit.writer import AuditWriter
from crewgate.core.audit.records import Record
from crewgate.core.health import ComponentHealth
from crewgate.core.problem_types import Reason
from crewgate.core.verdict import ConnectionRefusalReason


class AuditSink:
    """A writer and the counts of refusals before a good signature; `tick` it once a second."""

    def __init__(
        self,
        writer: AuditWriter,
        *,
        refuses_when_full: bool = True,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`refuses_when_full` is the policy `on_full = "refuse"`; else calls go on unrecorded."""
        self._writer = writer
        self._refuses_when_full = refuses_when_full
        self._now_ns = now_ns
        self._counts = RefusalCounts()
        self._flushed_ns = now_ns()

    def ready(self) -> bool:
        """Return False if calls must be refused because they could not be recorded."""
        return self._writer.writable or not self._refuses_when_full

    def health(self, component: str, *, refuses: bool = True) -> ComponentHealth:
        """Whether records can be written; calls are refused if not, where the policy says so."""
        is_refusing = refuses and self._refuses_when_full
        return audit_fact(component, self._writer, refuses=is_refusing)

    def write(self, record: Record) -> bool:
        """Append a record; True once the kernel has it, False when it is lost (and counted)."""
        return self._writer.write(record)

    def write_later(self, record: Record) -> None:
        """Append a record at the next tick; from any thread."""
        self._writer.write_later(record)

    def write_many(self, records: Sequence[Record]) -> bool:
        """Append records with one system call; True once the kernel has them all."""
        return self._writer.write_many(records)

    def write_lines(self, lines: Sequence[bytes]) -> bool:
        """Append records that are written (`core/audit/json_line`, `_native/audit_line`)."""
        return self._writer.write_lines(lines)

    def count(self, listener: str, reason: Reason | ConnectionRefusalReason, network: str) -> None:
        """Count a refusal before a good signature."""
        self._counts.add(listener, reason, network, self._now_ns())

    def move(self, writer: AuditWriter, *, refuses_when_full: bool) -> AuditWriter:
        """Write to another file from now on, whose folder and policy a configuration names.

        The caller closes the writer of before, which it gets.
        """
        before, self._writer = self._writer, writer
        self._refuses_when_full = refuses_when_full
        return before

    def tick(self) -> None:
        """Do what is due: rotate, recover, and summarise the counts once an interval."""
        self._writer.tick()
        if abs(self._now_ns() - self._flushed_ns) >= limits.audit_refusal_seconds * 1e9:
            self._flush()

    def close(self) -> None:
        """Write the last summaries and end the file."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        """Summarise what was counted; while nothing can be written, go on counting."""
        if self._writer.writable:
            self._flushed_ns = self._now_ns()
            self._writer.write_many(self._counts.flush(self._flushed_ns))
