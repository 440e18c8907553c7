"""Encodes spans and log records as OTLP/JSON (OTLP 1.x, "JSON Protobuf Encoding").

Ids are hexadecimal, 64-bit numbers are texts, and names of members are in lowerCamelCase.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from crewgate.audit.audit_entry import AuditEntry
from crewgate.config.export import OTLPSignal
from crewgate.export import otlp_data
from crewgate.export.attribute_cache import AttributeCache
from crewgate.export.otlp_data import KIND_SERVER, SCOPE, STATUS_ERROR, LogData, SpanData
from crewgate.export.semantic_conventions import RECORD_UID, Attribute

MEDIA = b"application/json"
_encode = msgspec.json.Encoder().encode


class _PartialSuccess(msgspec.Struct, rename="camel"):
    rejected_spans: int | str = 0
    rejected_log_records: int | str = 0
    error_message: str = ""


class _Response(msgspec.Struct, rename="camel"):
    partial_success: _PartialSuccess | None = None


class Codec:
    """Encodes entries with the attributes of one `resource`; `version` is that of Crewgate."""

    def __init__(self, resource: Sequence[Attribute], version: str) -> None:
        attributes = [_attribute(name, value) for name, value in resource]
        self._resource = {"attributes": _array(attributes)}
        self._scope = {"name": SCOPE, "version": version}
        self._cache = AttributeCache(_attribute)

    def spans(self, entries: Sequence[AuditEntry]) -> bytes:
        """Return an ExportTraceServiceRequest with the spans of entries that have one."""
        data = (otlp_data.span(entry, self._cache) for entry in entries)
        spans = [_span(each) for each in data if each is not None]
        scope = {"scope": self._scope, "spans": spans}
        return _encode({"resourceSpans": [{"resource": self._resource, "scopeSpans": [scope]}]})

    def logs(self, entries: Sequence[AuditEntry], observed_ns: int) -> bytes:
        """Return an ExportLogsServiceRequest; `observed_ns` is the time of this process."""
        observed = str(observed_ns)
        logs = [_log(otlp_data.log(entry, self._cache), entry.uid, observed) for entry in entries]
        scope = {"scope": self._scope, "logRecords": logs}
        return _encode({"resourceLogs": [{"resource": self._resource, "scopeLogs": [scope]}]})

    def rejected(self, response: bytes, signal: OTLPSignal) -> tuple[int, str]:
        """Return how many records a response rejects, and its message. Raises ValueError."""
        try:
            partial = msgspec.json.decode(response or b"{}", type=_Response).partial_success
        except RecursionError as error:
            raise ValueError(str(error)) from error
        if partial is None:
            return 0, ""
        count = partial.rejected_spans if signal == "traces" else partial.rejected_log_records
        return int(count), partial.error_message


def _span(span: SpanData) -> dict[str, Any]:
    found: dict[str, Any] = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "flags": span.flags,
        "name": span.name,
        "kind": KIND_SERVER,
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _array(span.attributes),
    }
    if span.parent:
        found["parentSpanId"] = span.parent
    if span.error:
        found["status"] = {"code": STATUS_ERROR, "message": span.error}
    return found


def _log(log: LogData, uid: str, observed: str) -> dict[str, Any]:
    number, text = log.severity
    found: dict[str, Any] = {
        "timeUnixNano": str(log.time_ns),
        "observedTimeUnixNano": observed,
        "severityNumber": number,
        "severityText": text,
        "eventName": log.event_name,
        "body": {"stringValue": log.body},
        "attributes": _array([*log.attributes, _attribute(RECORD_UID, uid)]),
    }
    if log.trace_id:
        found.update(traceId=log.trace_id, spanId=log.span_id, flags=log.flags)
    return found


def _array(attributes: Iterable[bytes]) -> msgspec.Raw:
    return msgspec.Raw(b"[%b]" % b",".join(attributes))


def _attribute(name: str, value: object) -> bytes:
    return _encode({"key": name, "value": _value(value)})


def _value(value: object) -> dict[str, Any]:
    if type(value) is str:
        return {"stringValue": value}
    if type(value) is bool:
        return {"boolValue": value}
    if type(value) is int:
        return {"intValue": str(value)}
    if type(value) is list:
        return {"arrayValue": {"values": [_value(each) for each in value]}}
    return {"stringValue": str(value)}
