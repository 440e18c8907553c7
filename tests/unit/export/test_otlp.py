"""The spans and log records of calls, in both encodings, read with OpenTelemetry's own classes."""

from typing import Any

import msgspec
import pytest
import trio
from audit_entries import CALL, EVENT, NOW_NS, PARENT, SPAN, TRACE, entry
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from otlp_decoding import attributes, logs, spans
from scripted_server import read_request, scripted

from crewgate import limits
from crewgate.config import ExportConfig, ReceiverURL
from crewgate.config.export import OTLPSignal
from crewgate.core.audit.records import CallOutcome
from crewgate.export import otlp_json, otlp_protobuf
from crewgate.export.channel import Rejection
from crewgate.export.otlp_channels import Codec, OTLPChannel
from crewgate.export.semantic_conventions import resource

CODECS = {"application/json": otlp_json.Codec, "application/x-protobuf": otlp_protobuf.Codec}


@pytest.fixture(params=CODECS)
def media(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def codec(media: str) -> Codec:
    return CODECS[media](resource("1.2.3", "gw-1"), "1.2.3")


def test_a_call_is_a_span_with_the_clients_span_as_parent(codec: Codec, media: str) -> None:
    """Its id is the one that the tool got, so what the tool does is below it."""
    (span,) = spans(codec.spans([entry()]), media)
    assert span.trace_id.hex() == TRACE
    assert (span.span_id.hex(), span.parent_span_id.hex()) == (SPAN, PARENT)
    assert span.flags == 0x301  # sampled; the parent is known, and in another process
    assert (span.name, span.kind) == ("execute_tool search.web", Span.SPAN_KIND_SERVER)
    assert span.start_time_unix_nano == NOW_NS
    assert span.end_time_unix_nano == NOW_NS + 1_500_000
    assert span.status.code == Status.STATUS_CODE_UNSET
    found = attributes(span)
    assert found["http.request.method"] == "POST"
    assert found["http.response.status_code"] == 200
    assert found["gen_ai.operation.name"] == "execute_tool"
    assert found["gen_ai.tool.name"] == "search.web"
    assert (found["gen_ai.agent.id"], found["gen_ai.agent.name"]) == (CALL.branch, "researcher")
    assert found["crewgate.ancestry"] == list(CALL.ancestry)
    assert found["crewgate.cost_micro"] == 10_000
    assert not {"crewgate.kind", "crewgate.time", "crewgate.trace"} & found.keys()


@pytest.mark.parametrize(
    ("method", "attribute"),
    [("tools/call", "mcp.method.name"), ("ping", "mcp.method.name"),
     ("SendMessage", "a2a.method.name")],
)  # fmt: skip
def test_a_message_is_named_after_its_method(
    codec: Codec, media: str, method: str, attribute: str
) -> None:
    """Its method is not one of HTTP."""
    (span,) = spans(codec.spans([entry(method=method)]), media)
    assert span.name == f"{method} search.web"
    found = attributes(span)
    assert found[attribute] == method
    assert "http.request.method" not in found


def test_a_trace_of_the_gateway_has_no_parent(codec: Codec, media: str) -> None:
    (span,) = spans(codec.spans([entry(trace=f"{TRACE}-{'0' * 16}-{SPAN}-03")]), media)
    assert (span.parent_span_id, span.flags) == (b"", 0x103)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"verdict": "deny", "reason": "tool-not-allowed"}, "tool-not-allowed"),
        ({"outcome": CallOutcome.REVOKED}, "revoked"),
        ({"status": 502}, "502"),
        ({"status": 404}, ""),
        ({"outcome": CallOutcome.CLIENT_GONE}, ""),
    ],
)
def test_a_call_that_failed_says_why(
    codec: Codec, media: str, changed: dict[str, object], error: str
) -> None:
    found = entry(**changed)
    (span,) = spans(codec.spans([found]), media)
    assert (span.status.code == Status.STATUS_CODE_ERROR, span.status.message) == (
        bool(error),
        error,
    )
    assert attributes(span).get("error.type", "") == error
    (log,) = logs(codec.logs([found], 1), media)
    assert (log.severity_text, attributes(log).get("error.type", "")) == (
        "WARN" if error else "INFO",
        error,
    )


def test_only_ended_calls_of_sampled_traces_are_spans(codec: Codec, media: str) -> None:
    others = [entry(trace=""), entry(trace=f"{TRACE}-{PARENT}-{SPAN}-02"), entry(EVENT)]
    opened = msgspec.structs.replace(entry(), record={**entry().record, "kind": "open"})
    found = spans(codec.spans([*others, opened, entry()]), media)
    assert [span.span_id.hex() for span in found] == [SPAN]


def test_each_record_is_a_log_record(codec: Codec, media: str) -> None:
    """With the place in its trace, if it has one, and an id that is the same at each attempt."""
    call, event = logs(codec.logs([entry(offset=9), entry(EVENT)], NOW_NS + 5), media)
    assert (call.trace_id.hex(), call.span_id.hex(), call.flags) == (TRACE, SPAN, 1)
    assert (call.time_unix_nano, call.observed_time_unix_nano) == (NOW_NS, NOW_NS + 5)
    assert (call.event_name, call.body.string_value) == (
        "crewgate.call",
        "call of search.web: done",
    )
    assert attributes(call)["log.record.uid"] == "gw-1/worker-0.jsonl:9"
    assert (event.trace_id, event.event_name) == (b"", "crewgate.event")
    assert event.body.string_value == "agent: began"


@pytest.mark.parametrize("kept_max", [3, 1000])
def test_records_never_mix_what_is_kept_of_others(
    codec: Codec, media: str, monkeypatch: pytest.MonkeyPatch, kept_max: int
) -> None:
    """However few encoded attributes are kept; 1 and True are not the same."""
    monkeypatch.setattr(limits, "export_attributes_max", kept_max)
    values = [1, True, "1", 2, "x", 1, "1", True, ["1"], 2**63 - 1]
    sent = [msgspec.structs.replace(entry(), record={**entry().record, "x": x}) for x in values]
    for found, each in zip(logs(codec.logs(sent, 1), media), sent, strict=True):
        assert attributes(found)["crewgate.x"] == each.record["x"]
        assert type(attributes(found)["crewgate.x"]) is type(each.record["x"])


@pytest.mark.parametrize(("signal", "member"), [("traces", "spans"), ("logs", "log_records")])
def test_a_response_says_what_was_rejected(signal: OTLPSignal, member: str) -> None:
    kind = ExportTraceServiceResponse if signal == "traces" else ExportLogsServiceResponse
    partial: dict[str, Any] = {f"rejected_{member}": 3, "error_message": "old"}
    response = kind(partial_success=partial)
    found = otlp_protobuf.Codec([], "")
    assert found.rejected(response.SerializeToString(), signal) == (3, "old")
    assert found.rejected(b"", signal) == (0, "")
    with pytest.raises(ValueError, match="Error parsing"):
        found.rejected(b"\xff", signal)
    json = otlp_json.Codec([], "")
    assert json.rejected(json_format.MessageToJson(response).encode(), signal) == (3, "old")
    assert json.rejected(b"{}", signal) == json.rejected(b"", signal) == (0, "")
    with pytest.raises(ValueError, match="Expected"):
        json.rejected(b'{"partialSuccess":3}', signal)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", Rejection()),
        (b"no JSON", Rejection()),
        pytest.param(b'{"a":' + 60_000 * b"[", Rejection(), id="deep"),
        (
            b'{"partialSuccess":{"rejectedLogRecords":"9","errorMessage":"a\\u001b[2J"}}',
            (1, "a\\x1b[2J"),
        ),
        (b'{"partialSuccess":{"rejectedLogRecords":-3}}', (0, "")),
    ],
)
async def test_what_a_receiver_says_is_bounded(answer: bytes, expected: Rejection) -> None:
    """It rejects no more than it got, and its words are harmless in a log."""

    async def script(stream: trio.SocketStream, number: int) -> None:
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(answer))
        await stream.send_all(answer)

    async with scripted(script) as origin:
        url = ReceiverURL("http", origin.host, origin.port, "")
        channel = OTLPChannel(ExportConfig("c", "otlp", url), url, "logs", "gw-1")
        found = await channel.send([entry()])
        await channel.close()
    assert found == expected
