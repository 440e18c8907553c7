"""A note in the result of a tool: only there, and nothing else of a response ever changes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate._native.json_rpc import read_message
from crewgate.core.fair_share_limiter import FairShareLimiter
from crewgate.core.mcp.result_notes import NotedResponse, note_editor

JSON = [(b"content-type", b"application/json"), (b"content-length", b"9"), (b"etag", b"x")]
STREAM = [(b"content-type", b"text/event-stream")]
RESULT = b'{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"a"}],"x":1}}'
NOTE = {"type": "text", "text": "stop"}


def noted_response(room: int = 2**30) -> NotedResponse:
    add_note = note_editor("stop")
    return NotedResponse(read_message, add_note, request_id=7, room=FairShareLimiter(room))


def passed(
    each: NotedResponse,
    body: bytes,
    headers: list[tuple[bytes, bytes]],
    status: int = 200,
    size: int = 9,
) -> bytes:
    each.begin(status, headers)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    found = b"".join(each.feed(piece, ends=False) for piece in pieces)
    return found + each.feed(b"", ends=True)


@pytest.mark.parametrize("size", [1, 9, 1000])
def test_the_result_gets_the_note_in_either_form(size: int) -> None:
    each = noted_response()
    whole = json.loads(passed(each, RESULT, JSON, size=size))
    assert whole["result"]["content"] == [{"type": "text", "text": "a"}, NOTE]
    assert whole["result"]["x"] == 1
    length = len(json.dumps(whole, separators=(",", ":")))
    assert each.head(JSON)[-1] == (b"content-length", b"%d" % length)
    before, after = b': c\n\nevent: other\ndata: {"id":7}\n\n', b"data: 3\n\n"
    stream = passed(noted_response(), before + b"data: " + RESULT + b"\n\n" + after, STREAM)
    assert stream.startswith(before)
    assert stream.endswith(after)
    data = stream.removeprefix(before).removesuffix(after).removeprefix(b"data: ")
    assert json.loads(data) == whole


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"results":["a"]}',
        b"not JSON",
        RESULT.replace(b":7", b":8"),
        RESULT.replace(b"2.0", b"1.0"),
        b'{"jsonrpc":"2.0","id":7,"result":{"content":{}}}',
        b'{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"no"}}',
        b'{"jsonrpc":"2.0","id":7,"result":[]}',
        b"[%b]" % RESULT,
        b'{"jsonrpc":"2.0","id":7,"method":"sampling/createMessage"}',
    ],
)
@pytest.mark.parametrize("is_stream", [False, True])
def test_what_is_no_result_with_content_passes_as_it_comes(body: bytes, is_stream: bool) -> None:
    each, headers = noted_response(), STREAM if is_stream else JSON
    body = b"data: %b\n\n" % body if is_stream else body
    assert passed(each, body, headers) == body
    if not is_stream:
        assert each.head(headers) == headers


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (404, JSON),
        (200, [*JSON, (b"content-encoding", b"gzip")]),
        (200, [(b"content-type", b"text/plain")]),
        (200, []),
    ],
)
def test_a_response_in_another_form_is_not_held_back(
    status: int, headers: list[tuple[bytes, bytes]]
) -> None:
    each = noted_response()
    each.begin(status, headers)
    assert each.may_begin
    assert (each.feed(b"{", ends=False), each.head(headers)) == (b"{", headers)


@pytest.mark.parametrize("headers", [JSON, STREAM])
def test_a_body_for_which_there_is_no_room_passes_as_it_comes(
    headers: list[tuple[bytes, bytes]],
) -> None:
    body = b"data: " + b"x" * 100 + b"\n\n" + b"data: " + RESULT + b"\n\n"
    assert passed(noted_response(room=50), body, headers) == body


@pytest.mark.parametrize("headers", [JSON, STREAM])
def test_a_message_above_the_limit_passes_as_it_comes(
    headers: list[tuple[bytes, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that only the note would bring above it."""
    monkeypatch.setattr(limits, "mcp_message_bytes_max", len(RESULT) + 10)
    for result in (RESULT, RESULT.replace(b'"a"', b'"%b"' % (b"a" * 50))):
        body = b"data: " + result + b"\n\n" if headers is STREAM else result
        assert passed(noted_response(), body, headers, size=20) == body


@given(body=st.binary(max_size=200) | st.text('{}[]:,"1 \n\rdat\x00').map(str.encode))
def test_other_bytes_pass_as_they_come(body: bytes) -> None:
    for headers in (JSON, STREAM):
        assert passed(noted_response(), body, headers, size=7) == body
        assert passed(noted_response(room=20), body, headers, size=7) == body
