"""Encodes spans and log records as OTLP/protobuf, with the classes that OpenTelemetry publishes.

An attribute is encoded as a message that has only this attribute. Encoded messages that follow one
another are read as one merged message (protobuf, "Encoding: Last One Wins"), so the attributes that
many records share are encoded only once.
"""

from collections.abc import Sequence

from crewgate.audit.audit_entry import AuditEntry
from crewgate.config.export import OTLPSignal
from crewgate.errors import ConfigurationError
from crewgate.export import otlp_data
from crewgate.export.attribute_cache import AttributeCache
from crewgate.export.otlp_data import SCOPE, WARN, LogData, SpanData
from crewgate.export.semantic_conventions import RECORD_UID, Attribute
from crewgate.runtime.install_hint import install_hint

try:
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
        ExportLogsServiceRequest,
        ExportLogsServiceResponse,
    )
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTraceServiceRequest,
        ExportTraceServiceResponse,
    )
    from opentelemetry.proto.common.v1.common_pb2 import (
        AnyValue,
        ArrayValue,
        InstrumentationScope,
        KeyValue,
    )
    from opentelemetry.proto.logs.v1.logs_pb2 import (
        SEVERITY_NUMBER_INFO,
        SEVERITY_NUMBER_WARN,
        LogRecord,
    )
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource
    from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
except ImportError as error:
    raise ConfigurationError(install_hint('encoding = "protobuf"', "otlp")) from error

MEDIA = b"application/x-protobuf"


class Codec:
    """Encodes entries with the attributes of one `resource`; `version` is that of Crewgate."""

    def __init__(self, resource: Sequence[Attribute], version: str) -> None:
        self._resource = Resource(
            attributes=[KeyValue(key=name, value=_value(value)) for name, value in resource]
        )
        self._scope = InstrumentationScope(name=SCOPE, version=version)
        self._span_attributes = AttributeCache(_span_attribute)
        self._log_attributes = AttributeCache(_log_attribute)

    def spans(self, entries: Sequence[AuditEntry]) -> bytes:
        """Return an ExportTraceServiceRequest with the spans of entries that have one."""
        # Filled in place, since a message is copied when it becomes a part of another one.
        request = ExportTraceServiceRequest()
        found = request.resource_spans.add(resource=self._resource)
        scope = found.scope_spans.add(scope=self._scope)
        for entry in entries:
            data = otlp_data.span(entry, self._span_attributes)
            if data is not None:
                scope.spans.add().MergeFromString(_span(data))
        return request.SerializeToString()

    def logs(self, entries: Sequence[AuditEntry], observed_ns: int) -> bytes:
        """Return an ExportLogsServiceRequest; `observed_ns` is the time of this process."""
        request = ExportLogsServiceRequest()
        found = request.resource_logs.add(resource=self._resource)
        scope = found.scope_logs.add(scope=self._scope)
        for entry in entries:
            data = otlp_data.log(entry, self._log_attributes)
            scope.log_records.add().MergeFromString(_log(data, entry.uid, observed_ns))
        return request.SerializeToString()

    def rejected(self, response: bytes, signal: OTLPSignal) -> tuple[int, str]:
        """Return how many records a response rejects, and its message. Raises ValueError."""
        try:
            if signal == "traces":
                spans = ExportTraceServiceResponse.FromString(response).partial_success
                return spans.rejected_spans, spans.error_message
            logs = ExportLogsServiceResponse.FromString(response).partial_success
        except DecodeError as error:
            raise ValueError(str(error)) from error
        return logs.rejected_log_records, logs.error_message


def _span(span: SpanData) -> bytes:
    found = Span(
        trace_id=bytes.fromhex(span.trace_id),
        span_id=bytes.fromhex(span.span_id),
        parent_span_id=bytes.fromhex(span.parent),
        flags=span.flags,
        name=span.name,
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=span.start_ns,
        end_time_unix_nano=span.end_ns,
        status=Status(code=Status.STATUS_CODE_ERROR, message=span.error) if span.error else None,
    )
    return b"".join([found.SerializeToString(), *span.attributes])


def _log(log: LogData, uid: str, observed_ns: int) -> bytes:
    is_warning = log.severity == WARN
    found = LogRecord(
        time_unix_nano=log.time_ns,
        observed_time_unix_nano=observed_ns,
        severity_number=SEVERITY_NUMBER_WARN if is_warning else SEVERITY_NUMBER_INFO,
        severity_text=log.severity[1],
        event_name=log.event_name,
        body=AnyValue(string_value=log.body),
        trace_id=bytes.fromhex(log.trace_id),
        span_id=bytes.fromhex(log.span_id),
        flags=log.flags,
    )
    last = _log_attribute(RECORD_UID, uid)
    return b"".join([found.SerializeToString(), *log.attributes, last])


def _span_attribute(name: str, value: object) -> bytes:
    return Span(attributes=[KeyValue(key=name, value=_value(value))]).SerializeToString()


def _log_attribute(name: str, value: object) -> bytes:
    return LogRecord(attributes=[KeyValue(key=name, value=_value(value))]).SerializeToString()


def _value(value: object) -> AnyValue:
    if type(value) is str:
        return AnyValue(string_value=value)
    if type(value) is bool:
        return AnyValue(bool_value=value)
    if type(value) is int:
        return AnyValue(int_value=value)
    if type(value) is list:
        return AnyValue(array_value=ArrayValue(values=[_value(each) for each in value]))
    return AnyValue(string_value=str(value))
