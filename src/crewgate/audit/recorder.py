"""Takes the verdicts of a process: records go to its audit file, and refusals are counted.

The sink also says whether the process may admit calls while the audit cannot be written.
"""

import time
from collections.abc import Callable, Sequence

from crewgate import limits
from crewgate._native.audit_state import AuditRecorderState
from crewgate._native.metrics import CallBatch
from crewgate.audit.health import audit_fact
from crewgate.audit.refusal_counts import RefusalCounts
from crewgate.audit.writer import AuditWriter
from crewgate.core.audit.records import Record
from crewgate.core.health import ComponentHealth
from crewgate.core.reasons import Reason
from crewgate.core.verdict import ConnectionRefusalReason
from crewgate.metrics.families import UNAUTHENTICATED
from crewgate.metrics.process_metrics import ProcessMetrics


class AuditRecorder(AuditRecorderState):
    """A writer, and counts of the refusals before a good signature; call `tick` once a second.

    `metrics` are those of the process; None if it has none.
    """

    def __init__(
        self,
        writer: AuditWriter,
        *,
        refuses_when_full: bool = True,
        metrics: ProcessMetrics | None = None,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """With `refuses_when_full`, calls are refused while the audit cannot be written."""
        self.metrics = metrics
        self._writer, self.state = writer, writer.state
        self.refuses_when_full = refuses_when_full
        self._now_ns = now_ns
        self._counts = RefusalCounts()
        self._flushed_ns = now_ns()

    def health(self, component: str, *, refuses: bool = True) -> ComponentHealth:
        """Return whether records can be written, and whether calls are refused if not."""
        is_refusing = refuses and self.refuses_when_full
        return audit_fact(component, self._writer, refuses=is_refusing)

    def write(self, record: Record) -> bool:
        """Append a record; return False if it is lost, which is counted."""
        return self._writer.write(record)

    def write_later(self, record: Record) -> None:
        """Append a record at the next tick. Any thread may call this."""
        self._writer.write_later(record)

    def write_many(self, records: Sequence[Record]) -> bool:
        """Append records with one system call; return False if one is lost."""
        return self._writer.write_many(records)

    def write_lines(self, lines: Sequence[bytes], calls: CallBatch | None = None) -> bool:
        """Append encoded records (by `core/audit/json_line` or `_native/audit_line`).

        The metrics count the `calls` that they are about.
        """
        return self._writer.write_lines(lines, calls)

    def count(self, listener: str, reason: Reason | ConnectionRefusalReason, network: str) -> None:
        """Count a refusal before a good signature."""
        self._counts.add(listener, reason, network, self._now_ns())
        if self.metrics is not None:
            self.metrics.series(UNAUTHENTICATED, listener, reason.value).add()

    def move(self, writer: AuditWriter, *, refuses_when_full: bool) -> AuditWriter:
        """Use another writer and policy from now on; return the previous writer, to be closed."""
        previous, self._writer = self._writer, writer
        self.state = writer.state
        self.refuses_when_full = refuses_when_full
        return previous

    def tick(self) -> None:
        """Rotate the file, recover from errors, and record the counts once per interval."""
        self._writer.tick()
        if abs(self._now_ns() - self._flushed_ns) >= limits.audit_refusal_seconds * 1e9:
            self._flush()

    def close(self) -> None:
        """Record the last counts, and close the file."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        # While the audit cannot be written, the counts go on.
        if self._writer.writable:
            self._flushed_ns = self._now_ns()
            self._writer.write_many(self._counts.flush(self._flushed_ns))
