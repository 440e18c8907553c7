"""Entries of an audit as the export process reads them."""

import msgspec

from crewgate.audit.audit_entry import AuditEntry, parse
from crewgate.core.audit.json_line import encode
from crewgate.core.audit.records import CallOutcome, CallRecord, ServiceEvent, ToolPinRecord, when

NOW_NS = 1_800_000_000_123_456_000
TRACE, PARENT, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"
CALL = CallRecord(
    machine="gw-1",
    crew="article",
    orchestrator="article/one",
    process="p1",
    role="researcher",
    branch="0199c1d2-0000-7000-8000-000000000003",
    ancestry=("0199c1d2-0000-7000-8000-000000000001",),
    grant="g1",
    subject="research",
    time=when(NOW_NS),
    request="0199c1d2-0000-7000-8000-00000000000f",
    listener="agents",
    peer="192.0.2.0/24",
    tool="search.web",
    method="POST",
    verdict="permit",
    outcome=CallOutcome.DONE,
    cost_micro=10_000,
    quota_micro=2_500_000,
    duration_us=1500,
    status=200,
    bytes_in=120,
    bytes_out=4000,
    trace=f"{TRACE}-{PARENT}-{SPAN}-01",
)
EVENT = ServiceEvent(time=when(NOW_NS), event="agent", detail="began")


def entry(
    record: CallRecord | ServiceEvent | ToolPinRecord = CALL, offset: int = 7, **changed: object
) -> AuditEntry:
    """The entry of a record with other values in some members."""
    line = encode(msgspec.structs.replace(record, **changed))[:-1]
    found = parse(line, "worker-0.jsonl", offset)
    assert found is not None
    return found
