"""Makes the spans and log records of OTLP from entries of the audit, for both encodings.

The model is that of the OpenTelemetry protocol 1.x (opentelemetry-proto, trace.proto, logs.proto).
"""

from typing import NamedTuple

from crewgate.audit.audit_entry import AuditEntry
from crewgate.core.trace_context import NO_PARENT
from crewgate.export import semantic_conventions as names
from crewgate.export.attribute_cache import AttributeCache

SCOPE = "crewgate.audit"
KIND_SERVER = 2
STATUS_ERROR = 2
INFO, WARN = (9, "INFO"), (13, "WARN")  # numbers and texts of a severity
_KNOWS_PARENT, _PARENT_IS_REMOTE = 0x100, 0x200  # bits of the flags of a span


class SpanData(NamedTuple):
    """The span of a call; ids in lower-case hexadecimal, `parent` empty for the first of a trace.

    Times are nanoseconds since 1970. `error` is the status message of a call that failed. The
    `attributes` are encoded.
    """

    trace_id: str
    span_id: str
    parent: str
    flags: int
    name: str
    start_ns: int
    end_ns: int
    error: str
    attributes: list[bytes]


class LogData(NamedTuple):
    """The log record of an entry; the ids are empty if it belongs to no trace."""

    trace_id: str
    span_id: str
    flags: int
    time_ns: int
    severity: tuple[int, str]
    event_name: str
    body: str
    attributes: list[bytes]


def span(entry: AuditEntry, cache: AttributeCache) -> SpanData | None:
    """Return the span of an entry; None if it has none.

    The id of the span is in the record, so a repeated span has the same id.
    """
    trace = entry.trace
    if trace is None or not entry.has_span:
        return None
    has_parent = trace.parent != NO_PARENT
    error = entry.error_type
    attributes = cache.of(entry.record)
    attributes.append(cache.one(names.OPERATION_NAME, names.OPERATION))
    if error:
        attributes.append(cache.one(names.ERROR_TYPE, error))
    return SpanData(
        trace.trace_id,
        trace.span,
        trace.parent if has_parent else "",
        trace.flags | _KNOWS_PARENT | (_PARENT_IS_REMOTE if has_parent else 0),
        names.span_name(entry.record),
        entry.time_ns,
        entry.time_ns + 1000 * entry.record.get("duration_us", 0),
        error,
        attributes,
    )


def log(entry: AuditEntry, cache: AttributeCache) -> LogData:
    """Return the log record of an entry; its attributes are without `log.record.uid`."""
    trace, error = entry.trace, entry.error_type
    attributes = cache.of(entry.record)
    if error:
        attributes.append(cache.one(names.ERROR_TYPE, error))
    return LogData(
        "" if trace is None else trace.trace_id,
        "" if trace is None else trace.span,
        0 if trace is None else trace.flags,
        entry.time_ns,
        WARN if error or entry.is_warning else INFO,
        f"crewgate.{entry.kind}",
        entry.summary,
        attributes,
    )
