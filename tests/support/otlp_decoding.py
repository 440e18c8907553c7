"""Reads OTLP requests in both encodings with the classes that OpenTelemetry publishes."""

import base64
import json
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_IDS = {"traceId", "spanId", "parentSpanId"}


def spans(body: bytes, media: str) -> list[Span]:
    """The spans of a request to /v1/traces."""
    request = _message(ExportTraceServiceRequest(), body, media)
    return [
        span
        for each in request.resource_spans
        for scope in each.scope_spans
        for span in scope.spans
    ]


def logs(body: bytes, media: str) -> list[LogRecord]:
    """The log records of a request to /v1/logs."""
    request = _message(ExportLogsServiceRequest(), body, media)
    return [
        log
        for each in request.resource_logs
        for scope in each.scope_logs
        for log in scope.log_records
    ]


def attributes(message: Any) -> dict[str, Any]:
    """The attributes of a span, a log record or a resource; each name is there once."""
    found = {each.key: _plain(each.value) for each in message.attributes}
    assert len(found) == len(message.attributes)
    return found


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    assert kind is not None
    if kind == "array_value":
        return [_plain(each) for each in value.array_value.values]
    return getattr(value, kind)


def _message(message: Any, body: bytes, media: str) -> Any:
    """Of JSON: OTLP has ids in hexadecimal, where the mapping of protobuf has Base64."""
    if media == "application/x-protobuf":
        message.ParseFromString(body)
        return message
    assert media == "application/json"
    document = json.loads(body, object_pairs_hook=lambda pairs: dict(map(_with_base64, pairs)))
    return json_format.ParseDict(document, message)


def _with_base64(pair: tuple[str, Any]) -> tuple[str, Any]:
    name, value = pair
    if name in _IDS:
        return name, base64.b64encode(bytes.fromhex(value)).decode()
    return pair
