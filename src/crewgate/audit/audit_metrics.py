"""The metrics that an audit writer counts: its lines, and the events that its records describe.

A record is counted when it is written. `CallRecord`s are counted by the gateway, which knows more
of a call than its record (gateway/call/call_metrics.py).
"""

from collections.abc import Sequence

from crewgate.core.actors import ActorKind
from crewgate.core.audit.records import (
    BurnedReservationRecord,
    ConnectionRecord,
    Record,
    RevocationRecord,
    ServiceEvent,
    ToolPinRecord,
    WatchRecord,
)
from crewgate.metrics import families
from crewgate.metrics.metric_family import MetricFamily
from crewgate.metrics.process_metrics import ProcessMetrics


class AuditMetrics:
    """Counts for the audit writer of one process.

    `shard` counts the calls whose lines are written; `written` and `lost` count lines.
    """

    def __init__(self, metrics: ProcessMetrics, process: str) -> None:
        self._metrics = metrics
        self.shard = metrics.shard
        self.written = metrics.series(families.AUDIT_LINES, process)
        self.lost = metrics.series(families.AUDIT_LOST, process)
        self._lag = metrics.series(families.AUDIT_LAG, process)

    def lag(self, seconds: float) -> None:
        """Note for how long the disk has been busy."""
        self._lag.set(round(seconds * 1e9))

    def events(self, records: Sequence[Record]) -> None:
        """Count what records describe, if there is a metric for it."""
        for record in records:
            self._event(record)
        # A request to revoke several targets has a record of each, with the cuts of all.
        requests = {
            (each.time, each.by): each for each in records if isinstance(each, RevocationRecord)
        }
        for each in requests.values():
            self._request_to_revoke(each)

    def _event(self, record: Record) -> None:
        if isinstance(record, BurnedReservationRecord):
            self._add(families.CREDITS_BURNED, record.crew, record.tool, by=record.cost_micro)
            self._add(families.RESERVATIONS_BURNED, record.cause)
        elif isinstance(record, RevocationRecord):
            self._add(families.REVOCATIONS, record.target, _origin(record))
        elif isinstance(record, ServiceEvent) and record.event == "revocations":
            # agent/revocation/remote_audit.py: too many in this second for a record of each.
            self._add(families.REVOCATIONS, "other", "remote", by=record.count)
        elif isinstance(record, WatchRecord):
            self._add(families.WATCH_STEPS, record.crew, record.step)
        elif isinstance(record, ToolPinRecord):
            self._add(families.PIN_EVENTS, record.endpoint, record.event)
        elif isinstance(record, ConnectionRecord) and record.verdict == "refused":
            # Beyond some records a second, `AuditRecorder.count` counts the same refusals.
            self._add(families.UNAUTHENTICATED, record.listener, record.reason)
        elif isinstance(record, ConnectionRecord) and record.verdict == "expelled":
            self._add(families.CONNECTIONS_CLOSED, record.listener, record.reason)

    def _request_to_revoke(self, record: RevocationRecord) -> None:
        self._add(families.CALLS_CUT, by=record.cuts)
        if record.cut_us is not None:
            self._metrics.series(families.REVOKE_TO_CUT).observe(record.cut_us * 1000)
        elif _origin(record) == "local" and record.by != "overrun":
            self._add(families.REVOCATIONS_UNCONFIRMED)

    def _add(self, family: MetricFamily, *labels: str, by: int = 1) -> None:
        self._metrics.series(family, *labels).add(by)


def _origin(record: RevocationRecord) -> str:
    return "remote" if ActorKind.GATEWAY.is_of(record.by) else "local"
