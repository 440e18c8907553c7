"""A refusal for gRPC has three fields; a slow reader of protobuf finds all of it there."""

import base64
import json
from urllib.parse import unquote

import pytest
from grant_builders import grant
from hypothesis import given
from hypothesis import strategies as st

from crewgate.core import grpc_status, problems
from crewgate.core.grpc_status import Code
from crewgate.core.problem_types import PROBLEM_TYPES
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial

ID = bytes(15) + b"\1"
Message = dict[int, list["int | bytes"]]


def parsed(data: bytes) -> Message:
    """The fields of a message by number, as the text of protobuf's encoding has it."""
    found: Message = {}
    while data:
        tag, data = number(data)
        value: int | bytes
        value, data = number(data)
        if tag % 8 == 2:
            value, data = data[:value], data[value:]
        else:
            assert tag % 8 == 0
        found.setdefault(tag // 8, []).append(value)
    return found


def number(data: bytes) -> tuple[int, bytes]:
    """A varint, and what follows it."""
    size = next(at for at, octet in enumerate(data) if octet < 128) + 1
    return sum((octet % 128) << 7 * at for at, octet in enumerate(data[:size])), data[size:]


def details(fields: list[tuple[bytes, bytes]]) -> tuple[int, str, dict[str, Message]]:
    """Code and message of the status in the details, and the messages in that, by type."""
    text = dict(fields)[b"grpc-status-details-bin"]
    status = parsed(base64.b64decode(text + b"=" * (-len(text) % 4), validate=True))
    found = {}
    for each in status[3]:
        assert isinstance(each, bytes)
        packed = parsed(each)
        url, value = packed[1][0], packed[2][0]
        assert isinstance(url, bytes)
        assert isinstance(value, bytes)
        found[url.decode().removeprefix("type.googleapis.com/google.rpc.")] = parsed(value)
    (code,), (message,) = status[1], status[2]
    assert isinstance(code, int)
    assert isinstance(message, bytes)
    return code, message.decode(), found


def entries(info: Message) -> dict[str, str]:
    """The metadata of an ErrorInfo: each entry of a map is a message."""
    pairs = [parsed(entry) for entry in info[3] if isinstance(entry, bytes)]
    return {bytes(pair[1][0]).decode(): bytes(pair[2][0]).decode() for pair in pairs}  # type: ignore[arg-type]


def test_a_refusal_is_an_answer_of_trailers_only() -> None:
    """HTTP 200, gRPC's own type, no body, and nothing that is only HTTP's."""
    kind = PROBLEM_TYPES[Reason.MISSING_TOKEN]
    asked = [(b"te", b"trailers"), (b"content-type", b"application/grpc+proto")]
    status, fields, body = problems.refusal(kind, ID, asked=asked, metadata=b"https://a/b")
    assert (status, body) == (200, b"")
    names = ["content-type", "grpc-status", "grpc-message", "grpc-status-details-bin"]
    assert [name.decode() for name, _ in fields] == names
    assert fields[:3] == [
        (b"content-type", b"application/grpc"),
        (b"grpc-status", b"16"),
        (b"grpc-message", f"{kind.title}. {kind.detail}".encode()),
    ]


def test_the_problem_stands_in_the_details() -> None:
    """All members of the document, as the texts that an ErrorInfo can hold."""
    denial = Denial(
        Reason.CREDITS_EXHAUSTED, grant(1, 50), level="a",
        used_micro=500_000, quota_micro=2_500_000, need_micro=3_000_000,
    )  # fmt: skip
    kind = PROBLEM_TYPES[denial.reason]
    code, message, found = details(problems.grpc_fields(kind, ID, denial))
    document = json.loads(problems.document(kind, ID, denial))
    assert (code, message) == (8, f"{document['title']}. {document['detail']}")
    info = found["ErrorInfo"]
    assert (info[1], info[2]) == ([b"CREDITS_EXHAUSTED"], [b"crewgate.dev"])
    assert entries(info) == {name: str(value) for name, value in document.items()}
    assert "RetryInfo" not in found


def test_what_may_be_tried_again_says_when() -> None:
    """A RetryInfo with the seconds of Retry-After."""
    found = details(problems.grpc_fields(PROBLEM_TYPES[Reason.BUDGET_UNAVAILABLE], ID))[2]
    (delay,) = found["RetryInfo"][1]
    assert isinstance(delay, bytes)
    assert parsed(delay) == {1: [1]}


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 2**40))
def test_any_message_can_be_sent_and_read(message: str, seconds: int) -> None:
    """Percent-encoded in the field, which is visible ASCII, and as it is in the details."""
    fields = grpc_status.fields(
        Code.UNAVAILABLE, "some-slug", message, {"detail": message}, seconds
    )
    assert all(0x20 <= octet <= 0x7E for _, value in fields for octet in value)
    assert unquote(dict(fields)[b"grpc-message"].decode()) == message
    _, told, found = details(fields)
    assert (told, entries(found["ErrorInfo"])) == (message, {"detail": message})
    assert ("RetryInfo" in found) == bool(seconds)


@pytest.mark.parametrize(
    ("content_type", "answer"),
    [
        (b"application/grpc", b"application/grpc"),
        (b"Application/GRPC; charset=utf-8", b"application/grpc"),
        (b"application/grpc+json", b"application/grpc"),
        (b"application/grpc-web+proto", b"application/grpc-web"),
        (b"application/grpc-web-text", b"application/grpc-web-text"),
        (b"application/grpcx", b""),
        (b"application/grpc-webs", b""),
        (b"application/json, application/grpc", b""),
        (b"", b""),
    ],
)
def test_who_calls_by_grpc(content_type: bytes, answer: bytes) -> None:
    """By the Content-Type, of which gRPC-Web has two more; others get a document."""
    asked = [(b"accept", b"application/grpc"), (b"content-type", content_type)]
    assert grpc_status.answer_type(asked) == answer
    assert grpc_status.is_native(content_type) == (answer == b"application/grpc")
    assert (
        problems.refusal(PROBLEM_TYPES[Reason.UNKNOWN_TOOL], ID, asked=asked).status == 200
    ) == bool(answer)


def test_the_parser_of_protobuf_reads_it() -> None:
    """And not only the one above."""
    status_pb2 = pytest.importorskip("google.rpc.status_pb2", reason="grpcio-status is missing")
    details_pb2 = pytest.importorskip("google.rpc.error_details_pb2")
    said = dict(problems.grpc_fields(PROBLEM_TYPES[Reason.REVOCATION_UNAVAILABLE], ID))
    text = said[b"grpc-status-details-bin"]
    status = status_pb2.Status.FromString(base64.b64decode(text + b"=" * (-len(text) % 4)))
    info, retry = details_pb2.ErrorInfo(), details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(retry)
    assert (status.code, retry.retry_delay.seconds) == (14, 1)
    assert (info.reason, info.domain) == ("REVOCATION_UNAVAILABLE", "crewgate.dev")
    assert info.metadata["request_id"] == "00000000-0000-0000-0000-000000000001"
