"""The response of an MCP server, as its client gets it: judged messages, or one clear error."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from crewgate import limits
from crewgate._native.json_rpc import JSONRPCMessage, read_message
from crewgate.core.fair_share_limiter import FairShareLimiter
from crewgate.core.mcp.caller_filter import CallerFilter, CallerView
from crewgate.core.mcp.list_filter import ListKind
from crewgate.core.mcp.response_rewriting import ResponseRewriter
from crewgate.errors import UnreadableResponseError

JSON = [(b"content-type", b"application/json; charset=utf-8")]
STREAM = [(b"content-type", b"Text/Event-Stream")]
ANSWER = b'{"jsonrpc":"2.0","id":7,"result":{"content":[] }}'
PROGRESS = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}'
UPDATED = b'{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"%b"}}'
VIEW = CallerView(
    {kind: lambda name: name.startswith("ok") for kind in ListKind}, 50, ["2026-07-28"]
)


def write_error(text: str) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 7, "error": {"code": -1, "message": text}}).encode()


def rewriter(
    editors: Sequence[Callable[[JSONRPCMessage], bytes | None]] = (), **changes: Any
) -> ResponseRewriter:
    return ResponseRewriter(read_message, editors, write_error, **{"request_id": 7, **changes})


def event(text: bytes, head: bytes = b"") -> bytes:
    return head + b"data: " + text + b"\n\n"


def passed(
    each: ResponseRewriter, body: bytes, headers: list[tuple[bytes, bytes]], status: int = 200
) -> bytes:
    each.begin(status, headers)
    return b"".join([*(each.feed(body[at : at + 9]) for at in range(0, len(body), 9)), each.end()])


def error_of(text: bytes) -> str:
    message: str = json.loads(text.removeprefix(b"event: message\ndata: "))["error"]["message"]
    return message


def test_a_body_passes_as_it_is_once_it_was_read() -> None:
    """Nothing comes before its end: until then it could turn out to be something else."""
    each = rewriter()
    each.begin(200, JSON)
    assert each.feed(ANSWER) == b""
    assert each.end() == ANSWER
    assert (each.is_over, each.failure, each.content_type) == (True, "", b"application/json")


def test_a_stream_passes_event_by_event() -> None:
    """Comments and other fields stay; after the response nothing follows."""
    each = rewriter()
    each.begin(200, STREAM)
    first = b": ping\n\n" + event(b"", b"id: 1\nretry: 5\n") + event(PROGRESS, b"event: message\n")
    assert each.feed(first) == first
    assert not each.is_over
    assert each.feed(event(b"gone", b"event: endpoint\n")) == b""
    assert each.feed(event(ANSWER) + event(PROGRESS)) == event(ANSWER)
    assert each.is_over
    assert each.feed(event(ANSWER)) + each.end() == b""
    assert (each.failure, each.content_type) == ("", b"text/event-stream")


@pytest.mark.parametrize("headers", [JSON, STREAM])
@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b'{"jsonrpc":"2.0","id":8,"result":{}}', "it has the response to another request"),
        (b'{"jsonrpc":"2.0","id":"7","result":{}}', "it has the response to another request"),
        (b'{"jsonrpc":"2.0","id":7,"result":{},"result":{}}', "it has no JSON-RPC message: .*"),
        (b"[%b]" % ANSWER, "it has no JSON-RPC message: .*"),
        (b"<html>", "it has no JSON-RPC message: .*"),
        (b"", "it ended without a response"),
    ],
)
def test_everything_else_becomes_an_error(
    message: bytes, why: str, headers: list[tuple[bytes, bytes]]
) -> None:
    """The client gets the id of its request and a reason, and nothing of the body."""
    each = rewriter()
    out = passed(each, event(message) if headers is STREAM else message, headers)
    if headers is STREAM:
        out = out.removeprefix(event(b"") if not message else b"")
        assert re.fullmatch(rb"event: message\ndata: {.*}\n\n", out)
    assert re.fullmatch(
        f"The tool's server responded, but the gateway cannot pass its response on: {why}.",
        error_of(out),
    )
    assert (each.failure, each.is_over) == (error_of(out), True)


@pytest.mark.parametrize(
    ("status", "headers", "body", "why"),
    [
        (503, [(b"content-type", b"text/html")], b"<p>", "with the HTTP status 503.*neither"),
        (404, [], b"", "with the HTTP status 404.*ended without a response"),
        (200, [], b"{}", "neither application/json nor text/event-stream"),
        (200, [(b"content-encoding", b"gzip"), *JSON], b"\x1f", "compressed"),
        (200, JSON, PROGRESS, "its body is not a response"),
    ],
)
def test_a_body_that_is_not_json_rpc_becomes_an_error(
    status: int, headers: list[tuple[bytes, bytes]], body: bytes, why: str
) -> None:
    assert re.search(why, error_of(passed(rewriter(), body, headers, status)))


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
    assert "ended without" in passed(rewriter(), first, STREAM).decode()
    assert "ended without" in passed(rewriter(is_resumable=True), event(PROGRESS), STREAM).decode()


def test_the_stream_of_a_session_has_messages_of_all_kinds() -> None:
    """Requests of the server, and responses to requests that are not known here."""
    asks = b'{"jsonrpc":"2.0","id":"s1","method":"roots/list"}'
    body = b"".join(map(event, (asks, PROGRESS, ANSWER, ANSWER)))
    each = rewriter(request_id=None)
    assert passed(each, body, STREAM) == body
    assert passed(rewriter(request_id=None), b"", [], 202) == b""
    assert "neither" in error_of(passed(rewriter(request_id=None), b"x", [], 202))


def test_a_message_that_is_too_large_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a body nor an event without end is kept."""
    monkeypatch.setattr(limits, "mcp_message_bytes_max", 100)
    for headers, start in ((JSON, b'{"a":"'), (STREAM, b"data: {")):
        each = rewriter()
        each.begin(200, headers)
        fed, out = 0, each.feed(start)
        while not each.is_over:
            assert (out, fed < 200) == (b"", True)
            out, fed = each.feed(b"a" * 10), fed + 10
        assert "it has a message of more than" in error_of(out)
        assert each.feed(b"a") + each.end() == b""


def test_what_all_responses_hold_back_is_bounded() -> None:
    """What was held is free again at the end, whatever the end is."""
    room = FairShareLimiter(100)
    first, second, third = (rewriter(room=room) for _ in range(3))
    for each, headers in ((first, JSON), (second, STREAM), (third, JSON)):
        each.begin(200, headers)
    assert first.feed(ANSWER) == b""
    assert second.feed(b"data: " + ANSWER[:20]) == b""
    assert room.taken == len(ANSWER) + 26
    assert "holds too many" in error_of(third.feed(ANSWER))
    assert second.feed(ANSWER[20:] + b"\n\n") == event(ANSWER)
    assert room.taken == len(ANSWER)
    assert first.end() == ANSWER
    second.close()
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
    assert out == b"id: 3\n" + event(changed.replace(b"\n", b"\ndata: "))
    assert seen == [changed]


def test_an_editor_can_refuse_a_message() -> None:
    def refuse(_: JSONRPCMessage) -> bytes | None:
        raise UnreadableResponseError("its task has no id")

    assert "on: its task has no id." in error_of(passed(rewriter([refuse]), ANSWER, JSON))


def test_a_list_that_arrives_on_the_stream_of_a_session_is_filtered_too() -> None:
    """A resumed stream repeats the response to any request: the result says what it is."""
    for kind in ListKind:
        entries = [{kind.key: name} for name in ("ok:1", "no:1")]
        result = {kind.member: entries, "nextCursor": "2"}
        body = json.dumps({"jsonrpc": "2.0", "id": 3, "result": result}).encode()
        if kind is ListKind.TOOLS:
            body = body.replace(b":1", b"1")
        out = passed(rewriter([CallerFilter("", VIEW)], request_id=None), event(body), STREAM)
        assert re.findall("ok|no:?1", out.decode()) == ["ok"]
    both = b'{"jsonrpc":"2.0","id":3,"result":{"tools":[],"capabilities":{}}}'
    out = passed(rewriter([CallerFilter("", VIEW)], request_id=None), event(both), STREAM)
    assert "the result has several lists" in error_of(out)
    out = passed(rewriter([CallerFilter("", VIEW)], request_id=None), event(ANSWER), STREAM)
    assert out == event(ANSWER)


@pytest.mark.parametrize(
    ("method", "result", "expected"),
    [
        ("initialize", b'{"capabilities":{ },"ttlMs":99}', b'{"capabilities":{},"ttlMs":50,'),
        ("server/discover", b'{"supportedVersions":["2026-07-28","x"]}', b'["2026-07-28"]'),
        ("resources/read", b'{"contents":[ ],"ttlMs":9}', b'":[ ],"ttlMs":9,"cacheScope"'),
        ("tools/call", b'{ "tools":[{"name":"no"}] }', b'{ "tools":[{"name":"no"}] }'),
        ("resources/templates/list", b'{"resourceTemplates":[{"uriTemplate":"no:"}]}', b"[]"),
    ],
)  # fmt: skip
def test_the_method_says_what_a_result_is(method: str, result: bytes, expected: bytes) -> None:
    body = b'{"jsonrpc":"2.0","id":7,"result":%b}' % result
    out = passed(rewriter([CallerFilter(method, VIEW)]), body, JSON)
    assert expected in out
    assert json.loads(out)["id"] == 7


def test_a_caller_gets_updates_only_of_resources_that_it_may_read() -> None:
    """A server that sends more than was subscribed shows no URI by it."""
    body = b"".join(event(UPDATED % uri) for uri in (b"ok:1", b"no:1")) + event(ANSWER)
    out = passed(rewriter([CallerFilter("tools/call", VIEW)]), body, STREAM)
    assert out == event(UPDATED % b"ok:1") + event(ANSWER)
