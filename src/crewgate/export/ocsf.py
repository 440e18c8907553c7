"""Makes OCSF events of audit records, by version 1.8.0 of the schema (schema.ocsf.io).

Calls, streams, burned reservations and refusals are API Activity (class 6003, category 6), with the
profile `trace` for a call of a trace. All other records are the Base Event (class 0). A record is
whole in `raw_data`; what OCSF has no attribute for is in `unmapped` too.
"""

from typing import Any, Final

from crewgate.audit.audit_entry import AuditEntry
from crewgate.core.trace_context import NO_PARENT
from crewgate.version import __version__

SCHEMA_VERSION: Final = "1.8.0"
_API_ACTIVITY, _APPLICATION = 6003, 6
_CALL_KINDS: Final = frozenset({"call", "open", "burned", "refusals"})
_OTHER = 99  # an activity: a method of HTTP says too little of what a tool does
_INFORMATIONAL, _LOW = 1, 2  # severities
_SUCCESS, _FAILURE = 1, 2  # of a status
# These have an attribute in an API Activity.
_MAPPED: Final = frozenset(
    {"kind", "time", "machine", "trace", "tool", "method", "status", "bytes_in", "bytes_out",
     "request", "branch", "role", "crew", "orchestrator", "subject", "grant", "peer", "count"}
)  # fmt: skip


def event(entry: AuditEntry) -> dict[str, Any]:
    """Return the event of an entry; `metadata.uid` is the same at each attempt."""
    is_call = entry.kind in _CALL_KINDS
    class_uid = _API_ACTIVITY if is_call else 0
    record, time_ms = entry.record, entry.time_ns // 1_000_000
    metadata: dict[str, Any] = {
        "version": SCHEMA_VERSION,
        "uid": entry.uid,
        "event_code": entry.kind,
        "product": {"name": "Crewgate", "vendor_name": "Crewgate", "version": __version__},
    }
    found: dict[str, Any] = {
        "activity_id": _OTHER,
        "activity_name": entry.kind,
        "category_uid": _APPLICATION if is_call else 0,
        "class_uid": class_uid,
        "type_uid": class_uid * 100 + _OTHER,
        "severity_id": _LOW if entry.is_warning else _INFORMATIONAL,
        "time": time_ms,
        "message": entry.summary,
        "metadata": metadata,
        "raw_data": entry.line.decode("utf-8", "replace"),
    }
    if "machine" in record:
        found["device"] = {"type_id": 1, "hostname": record["machine"]}  # 1: a server
        metadata["profiles"] = ["host"]
    if not is_call:
        found["unmapped"] = {
            name: value for name, value in record.items() if name not in {"kind", "time", "machine"}
        }
        return found
    found.update(_activity(entry))
    if (trace := entry.trace) is not None:
        metadata.setdefault("profiles", []).append("trace")
        end = time_ms + record.get("duration_us", 0) // 1000
        span = {"uid": trace.span, "start_time": time_ms, "end_time": end}
        if trace.parent != NO_PARENT:
            span["parent_uid"] = trace.parent
        found["trace"] = {"uid": trace.trace_id, "flags": [f"{trace.flags:02x}"], "span": span}
    return found


def _activity(entry: AuditEntry) -> dict[str, Any]:
    """Return the attributes of an API Activity: who called what from where, and how it ended."""
    record = entry.record
    error = entry.error_type or (record.get("reason", "") if entry.kind == "refusals" else "")
    user = {"uid": record.get("branch"), "name": record.get("orchestrator"), "type_id": 3}
    session = {"uid": record.get("grant"), "issuer": record.get("crew")}
    method = record.get("method", "")
    is_http = not method or method.isupper()  # else the method of a message of MCP or A2A
    request = {"http_method": method if is_http else "POST", "body_length": record.get("bytes_in")}
    response = {"code": record.get("status"), "body_length": record.get("bytes_out")}
    found: dict[str, Any] = {
        "status_id": _FAILURE if error else _SUCCESS,
        "actor": {
            "user": _present(user | {"groups": _groups(record)}),
            "session": _present(session),
            "app_name": record.get("subject") or "-",
        },
        "api": {
            "operation": (record.get("tool") or "-") if is_http else f"{method} {record['tool']}",
            "service": {"name": "crewgate"},
            "request": {"uid": record.get("request") or entry.uid},
        },
        # The audit has no address of a client, only its network.
        "src_endpoint": {"name": record.get("peer") or "-"},
        "unmapped": {name: value for name, value in record.items() if name not in _MAPPED},
    }
    if error:
        found["status_code"] = error
    if "method" in record:
        found["http_request"] = _present(request)
    if "status" in record:
        found["http_response"] = _present(response)
    if "count" in record:
        found["count"] = record["count"]
    return found


def _groups(record: dict[str, Any]) -> list[dict[str, str]] | None:
    """Return crew and role as groups of the user."""
    names = [("crew", record.get("crew")), ("role", record.get("role"))]
    return [{"type": kind, "name": name} for kind, name in names if name] or None


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, "")}
