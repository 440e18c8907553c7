"""What the metrics count of the records of an audit."""

from datetime import UTC, datetime, timedelta

from crewgate.audit.audit_metrics import AuditMetrics
from crewgate.core.audit.records import (
    ConnectionRecord,
    RevocationRecord,
    ServiceEvent,
    ToolPinRecord,
)
from crewgate.core.verdict import ConnectionRefusalReason
from crewgate.metrics import families
from crewgate.metrics.process_metrics import ProcessMetrics

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def revocation(
    target: str = "branch", *, at: int = 0, by: str = "owner", cut_us: int | None = 1500
) -> RevocationRecord:
    return RevocationRecord(
        crew="", orchestrator="", process="", role="", branch="",
        time=NOON + timedelta(seconds=at), target=target, id="x", by=by, cut_us=cut_us, cuts=7,
    )  # fmt: skip


def test_a_request_to_revoke_counts_its_cuts_once() -> None:
    """However many targets it has: each has a record, with the cuts of all."""
    metrics = ProcessMetrics.unshared()
    counted = AuditMetrics(metrics, "agent")
    counted.events([revocation("branch"), revocation("orchestrator")])
    counted.events([revocation(at=1)])
    assert metrics.series(families.CALLS_CUT).value == 14
    assert metrics.series(families.REVOCATIONS, "branch", "local").value == 2
    assert metrics.series(families.REVOCATIONS, "orchestrator", "local").value == 1
    assert metrics.series(families.REVOCATIONS_UNCONFIRMED).value == 0


def test_a_request_without_all_answers_is_unconfirmed() -> None:
    """One of another machine, or one that the gateway made itself, waits for no answer."""
    metrics = ProcessMetrics.unshared()
    makers = ("operator/ada", "gateway/gw-2", "overrun")
    AuditMetrics(metrics, "agent").events(
        [revocation(at=at, by=by, cut_us=None) for at, by in enumerate(makers)]
    )
    assert metrics.series(families.REVOCATIONS_UNCONFIRMED).value == 1
    assert metrics.series(families.REVOCATIONS, "branch", "remote").value == 1


def test_revocations_without_a_record_of_each_are_counted() -> None:
    """As one event has their number."""
    metrics = ProcessMetrics.unshared()
    event = ServiceEvent(time=NOON, event="revocations", detail="", count=950)
    AuditMetrics(metrics, "agent").events([event])
    assert metrics.series(families.REVOCATIONS, "other", "remote").value == 950


def test_events_of_pinned_tools_are_counted() -> None:
    """By endpoint and event, which come from the configuration and from the code."""
    metrics = ProcessMetrics.unshared()
    records = [
        ToolPinRecord(time=NOON, endpoint="files", tool=tool, event="changed") for tool in "ab"
    ]
    AuditMetrics(metrics, "agent").events(records)
    assert metrics.series(families.PIN_EVENTS, "files", "changed").value == 2


def test_refused_certificates_are_counted_as_those_without_a_record() -> None:
    """`AuditRecorder.count` has the refusals beyond some records a second, in the same series."""
    metrics = ProcessMetrics.unshared()
    reason = ConnectionRefusalReason.REVOKED.value
    refused, closed = (
        ConnectionRecord(time=NOON, listener="crews", peer="", verdict=verdict, reason=reason)
        for verdict in ("refused", "expelled")
    )
    AuditMetrics(metrics, "worker-0").events([refused, closed])
    assert metrics.series(families.UNAUTHENTICATED, "crews", reason).value == 1
    assert metrics.series(families.CONNECTIONS_CLOSED, "crews", reason).value == 1
