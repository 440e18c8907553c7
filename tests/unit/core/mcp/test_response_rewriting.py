"""The response of an MCP server, as its client gets it: judged messages, or one clear error."""

import contextlib
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tariffs import cut, places

from crewgate import limits
from crewgate._native.json_rpc import JSONRPCMessage, read_message
from crewgate.core.event_stream import EventReader
from crewgate.core.fair_share_limiter import FairShareLimiter
from crewgate.core.mcp.list_kind import ListKind
from crewgate.core.mcp.message_filter import CallerView, MessageFilter
from crewgate.core.mcp.response_rewriting import MCPResponseRewriter
from crewgate.errors import UnusableResponseError

JSON = [(b"content-type", b"application/json; charset=utf-8")]
STREAM = [(b"content-type", b"Text/Event-Stream")]
ANSWER = b'{"jsonrpc":"2.0","id":7,"result":{"content":[] }}'
PROGRESS = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}'
UPDATED = b'{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"%b"}}'
VIEW = CallerView(
    {kind: lambda name: name.startswith("ok") for kind in ListKind}, 50, ["2026-07-28"]
)


def rewriter(
    editors: Sequence[Callable[[JSONRPCMessage], bytes | None]] = (), **changes: Any
) -> MCPResponseRewriter:
    given = {"request_id": 7, "room": FairShareLimiter(2**30), **changes}
    return MCPResponseRewriter(read_message, editors, **given)


def event(text: bytes, head: bytes = b"") -> bytes:
    return head + b"data: " + text + b"\n\n"


def passed(
    each: MCPResponseRewriter, body: bytes, headers: list[tuple[bytes, bytes]], status: int = 200
) -> bytes:
    each.begin(status, headers)
    pieces = [body[at : at + 9] for at in range(0, len(body), 9)]
    return b"".join(
        [*(each.feed(piece, ends=False) for piece in pieces), each.feed(b"", ends=True)]
    )


def why_not(
    each: MCPResponseRewriter, body: bytes, headers: list[tuple[bytes, bytes]], status: int = 200
) -> str:
    """Why the client does not get a response. Nothing that follows reaches it either."""
    with pytest.raises(UnusableResponseError) as raised:
        passed(each, body, headers, status)
    assert each.is_over
    assert each.feed(event(ANSWER), ends=True) == b""
    return str(raised.value)


def test_a_body_passes_as_it_is_once_it_was_read() -> None:
    """Nothing comes before its end: until then it could turn out to be something else."""
    each = rewriter()
    each.begin(200, JSON)
    assert (each.feed(ANSWER, ends=False), each.may_begin) == (b"", False)
    assert (each.feed(b"", ends=True), each.may_begin) == (ANSWER, True)
    assert each.is_over
    fields = [(b"content-length", b"999"), (b"etag", b"x"), (b"x-a", b"b")]
    assert each.head(fields) == [(b"x-a", b"b"), (b"content-length", b"%d" % len(ANSWER))]


def test_a_stream_passes_event_by_event() -> None:
    """Comments and other fields stay; after the response nothing follows."""
    each = rewriter()
    each.begin(200, STREAM)
    assert each.may_begin
    assert each.head([(b"content-length", b"999")]) == []
    first = b": ping\n\n" + event(b"", b"id: 1\nretry: 5\n") + event(PROGRESS, b"event: message\n")
    assert each.feed(first, ends=False) == first
    assert not each.is_over
    assert each.feed(event(b"gone", b"event: endpoint\n"), ends=False) == b""
    assert each.feed(event(ANSWER) + event(PROGRESS), ends=False) == event(ANSWER)
    assert each.is_over
    assert each.feed(event(ANSWER), ends=True) == b""


@pytest.mark.parametrize("headers", [JSON, STREAM])
@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b'{"jsonrpc":"2.0","id":8,"result":{}}', "it is the response to another request"),
        (b'{"jsonrpc":"2.0","id":"7","result":{}}', "it is the response to another request"),
        (b'{"jsonrpc":"2.0","id":7,"result":{},"result":{}}', "it is not JSON-RPC: "),
        (b"[%b]" % ANSWER, "it is not JSON-RPC: "),
        (b"<html>", "it is not JSON-RPC: "),
    ],
)
def test_everything_else_is_an_error(
    message: bytes, why: str, headers: list[tuple[bytes, bytes]]
) -> None:
    """It says what is wrong, and nothing of the body."""
    body = event(message) if headers is STREAM else message
    text = why_not(rewriter(), body, headers)
    assert text.startswith(f"the response with the HTTP status 200 cannot be passed on: {why}")
    assert "html" not in text


@pytest.mark.parametrize(
    ("status", "headers", "body", "why"),
    [
        (
            503,
            [(b"content-type", b"text/html")],
            b"<p>",
            "the HTTP status 503 .*: its body is neither",
        ),
        (404, [], b"", "404 cannot be passed on: it is empty; compare `rewrite` with the path"),
        (200, [], b"{}", "neither application/json nor text/event-stream"),
        (200, [(b"content-encoding", b"gzip"), *JSON], b"\x1f", "compressed"),
        (200, JSON, PROGRESS, "it is not the response to a request"),
        (200, STREAM, event(PROGRESS), "its stream ends without the response"),
    ],
)
def test_a_body_without_a_response_is_an_error(
    status: int, headers: list[tuple[bytes, bytes]], body: bytes, why: str
) -> None:
    assert re.search(why, why_not(rewriter(), body, headers, status))


def test_an_error_of_the_server_passes() -> None:
    """Also without an id, if the server could not read that of the request."""
    for answer in (
        b'{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"Unknown tool"}}',
        b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}',
        b'{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"}}',
    ):
        assert passed(rewriter(), answer, JSON, 400) == answer
        each = rewriter()
        assert passed(each, event(answer), STREAM) == event(answer)
        assert each.is_over


def test_a_stream_that_can_be_resumed_may_end_early() -> None:
    """The client of a legacy server asks for the rest, if an event had an id."""
    first = event(PROGRESS, b"id: 5\n")
    assert passed(rewriter(is_resumable=True), first, STREAM) == first
    assert "ends without" in why_not(rewriter(), first, STREAM)
    assert "ends without" in why_not(rewriter(is_resumable=True), event(PROGRESS), STREAM)


def test_the_stream_of_a_session_has_messages_of_all_kinds() -> None:
    """Requests of the server, and responses to requests that are not known here."""
    asks = b'{"jsonrpc":"2.0","id":"s1","method":"roots/list"}'
    body = b"".join(map(event, (asks, PROGRESS, ANSWER, ANSWER)))
    each = rewriter(request_id=None)
    assert passed(each, body, STREAM) == body
    assert passed(rewriter(request_id=None), b"", [], 202) == b""
    assert "neither" in why_not(rewriter(request_id=None), b"x", [], 202)


def test_a_message_that_is_too_large_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a body nor an event without end is kept."""
    monkeypatch.setattr(limits, "mcp_message_bytes_max", 100)
    for headers, start in ((JSON, b'{"a":"'), (STREAM, b"data: {")):
        each = rewriter()
        each.begin(200, headers)
        assert each.feed(start + b"a" * 90, ends=False) == b""
        with pytest.raises(UnusableResponseError, match="it has a message above 100 bytes"):
            each.feed(b"a" * 10, ends=False)


def test_what_all_responses_hold_back_is_bounded() -> None:
    """Each end of a response frees the bytes that it held back."""
    room = FairShareLimiter(100)
    first, second, third = (rewriter(room=room) for _ in range(3))
    for each, headers in ((first, JSON), (second, STREAM), (third, JSON)):
        each.begin(200, headers)
    assert first.feed(ANSWER, ends=False) == b""
    assert second.feed(b"data: " + ANSWER[:20], ends=False) == b""
    assert room.taken == len(ANSWER) + 26
    with pytest.raises(UnusableResponseError, match="too many other responses"):
        third.feed(ANSWER, ends=False)
    assert second.feed(ANSWER[20:] + b"\n\n", ends=False) == event(ANSWER)
    assert room.taken == len(ANSWER)
    assert first.feed(b"", ends=True) == ANSWER
    assert room.taken == 0
    gone = rewriter(room=room)
    gone.begin(200, JSON)
    gone.feed(ANSWER, ends=False)
    gone.close()
    assert room.taken == 0


def test_editors_see_each_message_one_after_another() -> None:
    """Each with the changes of those before; a message can be left out."""

    def first(message: JSONRPCMessage) -> bytes | None:
        return b"" if message.method else message.body.replace(b"[]", b'[\n"one"]')

    seen: list[bytes] = []
    out = passed(
        rewriter([first, lambda message: seen.append(message.body)]),
        event(PROGRESS) + event(ANSWER, b"id: 3\n"),
        STREAM,
    )
    changed = ANSWER.replace(b"[]", b'[\n"one"]')
    assert out == event(changed.replace(b"\n", b"\ndata: "), b"id: 3\n")
    assert seen == [changed]


def test_the_ids_of_events_are_sealed() -> None:
    """Those of events without data too; an empty id, which forgets the last one, stays."""
    each = rewriter(seal_event_id=lambda plain: f"sealed-{plain}")
    body = b"id: 1\n\n" + event(b"", b"id:2\n") + event(PROGRESS, b"event: message\nid: 3\n")
    body += event(PROGRESS, b"id:\n") + event(ANSWER, b": x\n")
    out = passed(each, body, STREAM)
    assert out == (
        b"id: sealed-1\n\n" + event(b"", b"id: sealed-2\n")
        + event(PROGRESS, b"event: message\nid: sealed-3\n")
        + event(PROGRESS, b"id:\n") + event(ANSWER, b": x\n")
    )  # fmt: skip
    body = event(PROGRESS, b"id: \xff\n")
    assert "id is not UTF-8" in why_not(rewriter(seal_event_id=str), body, STREAM)


def test_an_editor_can_refuse_a_message() -> None:
    def refuse(_: JSONRPCMessage) -> bytes | None:
        raise UnusableResponseError("its task has no id")

    assert why_not(rewriter([refuse]), ANSWER, JSON).endswith("on: its task has no id")


def test_a_list_that_arrives_on_the_stream_of_a_session_is_filtered_too() -> None:
    """A resumed stream repeats the response to any request: the result says what it is."""
    for kind in ListKind:
        entries = [{kind.key: name} for name in ("ok:1", "no:1")]
        result = {kind.member: entries, "nextCursor": "2"}
        body = json.dumps({"jsonrpc": "2.0", "id": 3, "result": result}).encode()
        if kind is ListKind.TOOLS:
            body = body.replace(b":1", b"1")
        out = passed(rewriter([MessageFilter("", VIEW)], request_id=None), event(body), STREAM)
        assert re.findall("ok|no:?1", out.decode()) == ["ok"]
    contents = b'{"jsonrpc":"2.0","id":3,"result":{"contents":[{"uri":"no:1"}]}}'
    out = passed(rewriter([MessageFilter("", VIEW)], request_id=None), event(contents), STREAM)
    assert b"no:1" not in out
    both = b'{"jsonrpc":"2.0","id":3,"result":{"tools":[],"capabilities":{}}}'
    each = rewriter([MessageFilter("", VIEW)], request_id=None)
    assert "the result has several lists" in why_not(each, event(both), STREAM)
    out = passed(rewriter([MessageFilter("", VIEW)], request_id=None), event(ANSWER), STREAM)
    assert out == event(ANSWER)


@pytest.mark.parametrize(
    ("method", "result", "expected"),
    [
        ("initialize", b'{"capabilities":{ },"ttlMs":99}', b'{"capabilities":{},"ttlMs":50,'),
        ("server/discover", b'{"supportedVersions":["2026-07-28","x"]}', b'["2026-07-28"]'),
        ("resources/read", b'{"contents":[ ],"ttlMs":9}', b'":[],"ttlMs":9,"cacheScope"'),
        ("tools/call", b'{ "tools":[{"name":"no"}] }', b'{ "tools":[{"name":"no"}] }'),
        ("resources/templates/list", b'{"resourceTemplates":[{"uriTemplate":"no:"}]}', b"[]"),
    ],
)  # fmt: skip
def test_the_method_says_what_a_result_is(method: str, result: bytes, expected: bytes) -> None:
    body = b'{"jsonrpc":"2.0","id":7,"result":%b}' % result
    out = passed(rewriter([MessageFilter(method, VIEW)]), body, JSON)
    assert expected in out
    assert json.loads(out)["id"] == 7


def test_a_caller_gets_updates_only_of_resources_that_it_may_read() -> None:
    """A server that sends more than was subscribed shows no URI by it."""
    body = b"".join(event(UPDATED % uri) for uri in (b"ok:1", b"no:1")) + event(ANSWER)
    out = passed(rewriter([MessageFilter("tools/call", VIEW)]), body, STREAM)
    assert out == event(UPDATED % b"ok:1") + event(ANSWER)


BODIES = [
    ANSWER,
    event(PROGRESS, b"id: 1\n") + event(UPDATED % b"no:1") + event(ANSWER),
    b'{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"ok"},{"name":"no"}],"nextCursor":"1"}}',
    b'{"jsonrpc":"2.0","id":7,"result":{"capabilities":{"tasks":{}},"supportedVersions":["x"]}}',
]
ALPHABET = [bytes([each]) for each in b'{}[]",:\\\n\r 0n\x00\xff'] + [b"data:", b"\n\n", b'"id":8']


@given(
    st.sampled_from(BODIES),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 3), st.sampled_from(ALPHABET))),
    st.sampled_from([JSON, STREAM]),
    st.sampled_from(["", "tools/list", "initialize", "tools/call"]),
    places,
)
def test_a_broken_response_is_an_error_or_a_message(
    body: bytes,
    edits: list[tuple[int, int, bytes]],
    headers: list[tuple[bytes, bytes]],
    method: str,
    at: list[int],
) -> None:
    """Random bytes of a server cause no other failure, and each message that passes is one."""
    for place, cut_out, put_in in edits:
        body = body[:place] + put_in + body[place + cut_out :]
    room = FairShareLimiter(limits.mcp_message_bytes_max)
    each = rewriter([MessageFilter(method, VIEW)], room=room, request_id=7 if method else None)
    each.begin(200, headers)
    out = b""
    with contextlib.suppress(UnusableResponseError):
        for piece in cut(body, at):
            out += each.feed(piece, ends=False)
        out += each.feed(b"", ends=True)
    assert (each.is_over, room.taken) == (True, 0)
    messages = [out] if out else []
    if headers is STREAM:
        messages = [found.data for found in EventReader(2**20).feed(out) if found.data]
    for message in messages:
        assert read_message(message).kind
