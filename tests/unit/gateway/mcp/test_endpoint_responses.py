"""Responses of MCP servers, as their clients get them through the gateway."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from gateway_world import SEALER, World, grant_of, running_gateway
from mcp_messages import encoded, headers, legacy, modern
from scripted_server import read_request

from crewgate import limits
from crewgate.core.rules.rule import Rule, RuleKind, RuleStep, StepFinding
from crewgate.core.sealed_ids import CallIds, IdKind, IdOwner

_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s\r\n"
TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("read", "delete", "a/b")]


def _json(result: dict[str, Any], message_id: object = 1, more: str = "") -> bytes:
    body = json.dumps({"jsonrpc": "2.0", "id": message_id, "result": result})
    return (_HEAD % ("application/json", f"Content-Length: {len(body)}\r\n{more}") + body).encode()


def _events(*messages: dict[str, Any]) -> bytes:
    """A stream of events that does not end."""
    data = "".join(f"data: {json.dumps(message)}\n\n" for message in messages)
    return (_HEAD % ("text/event-stream", "") + data).encode()


def _script(
    answer: bytes, seen: list[bytes]
) -> Callable[[trio.SocketStream, int], Awaitable[None]]:
    async def script(stream: trio.SocketStream, number: int) -> None:
        while request := await read_request(stream):
            seen.append(request)
            await stream.send_all(answer)

    return script


async def _ask(
    world: World,
    message: dict[str, Any],
    *,
    forbidden: str = "",
    finding: StepFinding | None = None,
    **fields: str,
) -> Any:
    """The answer to a message of a caller who may not use `forbidden`; a rule found `finding`."""
    judge = world.judge
    decide = judge.decide

    def forbidding(*args: Any, **how: Any) -> Any:
        permit = decide(*args, **how)
        permit.forbidden = frozenset({forbidden})
        permit.finding = finding
        return permit

    judge.decide = forbidding
    known = headers(message) if "_meta" in message["params"] else {}
    async with world.client() as client:
        return await client.post(
            "/mcp/files", content=encoded(message), headers={**known, **fields}
        )


async def test_a_list_shows_what_the_caller_may_use(tmp_path: Path) -> None:
    """A tool that it may not use, or that has no legal name, is not there."""
    answer = _json({"resultType": "complete", "tools": TOOLS, "ttlMs": 10**9, "nextCursor": "c"})
    seen: list[bytes] = []
    async with running_gateway(_script(answer, seen), tmp_path) as world:
        response = await _ask(world, modern("tools/list"), forbidden="files.delete")
        result = response.json()["result"]
        assert [tool["name"] for tool in result["tools"]] == ["read"]
        assert result["ttlMs"] <= 60_000
        assert result["cacheScope"] == "private"
        cursor = result["nextCursor"]
        assert cursor != "c"
        await _ask(world, modern("tools/list", cursor=cursor))
        assert json.loads(seen[-1].partition(b"\r\n\r\n")[2])["params"]["cursor"] == "c"
        foreign = await _ask(world, modern("tools/list", cursor="c"))
        assert foreign.json()["error"]["code"] == -32602


async def test_a_response_is_over_when_its_client_has_it(tmp_path: Path) -> None:
    """A server that keeps its stream open keeps no call open."""
    note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {}}
    result = {"jsonrpc": "2.0", "id": 1, "result": {"resultType": "complete", "tools": TOOLS}}
    async with running_gateway(_script(_events(note, result), []), tmp_path) as world:
        response = await _ask(world, modern("tools/list"))
        lines = [line for line in response.text.splitlines() if line.startswith("data: ")]
        assert json.loads(lines[0][6:]) == note
        names = [tool["name"] for tool in json.loads(lines[1][6:])["result"]["tools"]]
        assert names == ["read", "delete"]
        await world.settled()


@pytest.mark.parametrize(
    "answer",
    [
        _json({"tools": TOOLS}, message_id=2),
        _json({"tools": {}}),
        _HEAD.encode() % (b"text/html", b"Content-Length: 4\r\n") + b"oops",
        _HEAD.encode() % (b"application/json", b"Content-Length: 2\r\n") + b"[]",
    ],
    ids=["another id", "no list", "no JSON", "a batch"],
)
async def test_an_unusable_response_shows_nothing(tmp_path: Path, answer: bytes) -> None:
    """The client gets an error with its id, which says why."""
    async with running_gateway(_script(answer, []), tmp_path) as world:
        response = await _ask(world, modern("tools/list"))
        error = response.json()
        assert error["id"] == 1
        message = error["error"]["message"]
        assert message.startswith("Tool server failed. The response with the HTTP status 200 ")
        assert message.endswith(". The tool may have done its work.")
        assert "read" not in response.text.replace("cannot be read", "")


FOUND = StepFinding(Rule("loop", RuleKind.SAME_CALL, warn=4), RuleStep.WARN, 4, 4)


@pytest.mark.parametrize("make", [modern, legacy])
@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_model_reads_what_a_rule_warns_of(
    make: Callable[..., dict[str, Any]], is_stream: bool, tmp_path: Path
) -> None:
    """The note stands behind the content, and all else of the result is as it was."""
    result = {"content": [{"type": "text", "text": "a"}], "structuredContent": {"id": 1}}
    message = {"jsonrpc": "2.0", "id": 1, "result": result}
    event = f"data: {json.dumps(message)}\n\n".encode()
    head = _HEAD % ("text/event-stream", f"Content-Length: {len(event)}\r\n")
    answer = head.encode() + event if is_stream else _json(result)
    async with running_gateway(_script(answer, []), tmp_path) as world:
        asked = make("tools/call", name="read", arguments={})
        response = await _ask(world, asked, finding=FOUND)
        text = response.text.partition("data: ")[2] if is_stream else response.text
        found = json.loads(text)["result"]
        note = found["content"].pop()
        assert found == result
        assert note["text"].startswith("Rule loop has counted 4 equal calls in a row.")


@pytest.mark.parametrize("make", [modern, legacy])
@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("200 OK\r\nContent-Type: application/json", b'{"jsonrpc":"2.0","id":1,"method":"a"}'),
        ("200 OK\r\nContent-Type: application/json", b'{"jsonrpc":"2.0","id":1,"error":{}}'),
        ("500 Broken\r\nContent-Type: text/html", b"<p>broken</p>"),
        ("500 Broken\r\nContent-Type: application/json", b"{}"),
        ("200 OK\r\nContent-Type: application/json", b"{}"),
        ("200 OK\r\nContent-Type: text/event-stream", b"data: {}\n\n"),
        ("200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip", b"\x1f\x8b"),
        ("200 OK\r\nContent-Type: text/plain", b"read"),
        ("202 Accepted", b""),
    ],
)
async def test_a_response_that_can_have_no_note_passes_as_it_comes(
    head: str, body: bytes, make: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """A warning breaks no call that would work without it."""
    answer = f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    async with running_gateway(_script(answer, []), tmp_path) as world:
        asked = make("tools/call", name="read", arguments={})
        plain = await _ask(world, asked)
        response = await _ask(world, asked, finding=FOUND)
        assert response.status_code == plain.status_code
        if "result" not in plain.text:  # the gateway passes it on
            assert response.content == plain.content
            assert response.headers["x-crewgate-loop"].startswith('"loop";step=warn')


async def test_free_streams_leave_connections_for_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A branch has a bounded number of them open at a server; one that ends makes room."""
    monkeypatch.setattr(limits, "open_streams_branch_share", 64)  # two with 256 connections
    note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {}}
    seen: list[bytes] = []
    async with running_gateway(_script(_events(note), seen), tmp_path) as world:
        streams = world.gateway._services.open_streams
        listen = modern("subscriptions/listen", notifications={})
        request = {"content": encoded(listen), "headers": headers(listen)}
        async with world.client() as client:
            async with client.stream("GET", "/mcp/files"), client.stream("GET", "/mcp/files"):
                refused = await client.get("/mcp/files")
                assert (refused.status_code, len(seen)) == (503, 2)
                again = await client.post("/mcp/files", **request)
                assert (again.status_code, len(seen)) == (503, 2)
                assert "too many open streams at this server" in again.json()["error"]["message"]
                task = CallIds(SEALER, IdOwner("article", grant_of().branch_key, "files")).seal(
                    "t", IdKind.MCP_TASK
                )
                result = legacy("tasks/result", taskId=task)
                waits = await client.post("/mcp/files", content=encoded(result))
                assert (waits.status_code, len(seen)) == (503, 2)
                async with (
                    world.client(token="sibling") as other,
                    other.stream("POST", "/mcp/files", **request) as response,
                ):
                    assert response.status_code == 200
            await world.settled()
            assert streams._limiters == {}
            async with client.stream("GET", "/mcp/files") as response:
                assert response.status_code == 200


async def test_a_compressed_legacy_stream_is_not_passed_on(tmp_path: Path) -> None:
    """It can have messages about all that its session has, and the gateway cannot read it."""
    answer = (
        _HEAD % ("text/event-stream", "Content-Encoding: gzip\r\nContent-Length: 4\r\n") + "oops"
    )
    async with running_gateway(_script(answer.encode(), []), tmp_path) as world:
        response = await _ask(world, legacy("tools/call", name="read"))
        assert "its body is compressed" in response.text
        assert "oops" not in response.text


async def test_the_id_of_a_session_is_sealed(tmp_path: Path) -> None:
    """Only the branch that got it can use it, and the server sees its own."""
    answer = _json({"protocolVersion": "2025-11-25"}, more="Mcp-Session-Id: secret\r\n")
    seen: list[bytes] = []
    async with running_gateway(_script(answer, seen), tmp_path) as world:
        first = await _ask(world, legacy("initialize", protocolVersion="2025-11-25"))
        session = first.headers["mcp-session-id"]
        assert "secret" not in session
        again = await _ask(world, legacy("tools/call", name="read"), **{"mcp-session-id": session})
        assert "mcp-session-id" not in again.headers
        assert b"mcp-session-id: secret\r\n" in seen[-1].lower()
        gone = await _ask(world, legacy("tools/call", name="read"), **{"mcp-session-id": "secret"})
        assert gone.status_code == 404
        own = {"headers": {"mcp-session-id": session}}
        async with world.client(token="sibling") as client:
            foreign = await client.delete("/mcp/files", **own)
            same = await client.post(
                "/mcp/files", content=encoded(legacy("tools/call", name="read")), **own
            )
        assert (foreign.status_code, same.status_code, len(seen)) == (404, 404, 2)
        # A modern server has no sessions.
        response = await _ask(world, modern("tools/call", name="read"))
        assert (response.status_code, len(seen)) == (200, 3)
        assert "mcp-session-id" not in response.headers


async def test_a_legacy_stream_goes_on_after_an_event_of_the_branch_only(tmp_path: Path) -> None:
    """The ids of events are sealed: many servers find an event of any session by its id."""
    note = '{"jsonrpc":"2.0","method":"notifications/message","params":{}}'
    body = f"id: 7\ndata: {note}\n\n"
    fields = f"Content-Length: {len(body)}\r\n"
    answer = (_HEAD % ("text/event-stream", fields) + body).encode()
    seen: list[bytes] = []
    async with running_gateway(_script(answer, seen), tmp_path) as world:
        response = await _ask(world, legacy("tools/call", name="read"))
        event_id, data = response.text.splitlines()[:2]
        assert data == f"data: {note}"
        assert event_id.startswith("id: ")
        fields = {"accept": "text/event-stream", "last-event-id": event_id[4:]}
        async with world.client() as client:
            assert (await client.get("/mcp/files", headers=fields)).text == response.text
            assert b"last-event-id: 7\r\n" in seen[-1].lower()
            guessed = await client.get("/mcp/files", headers={**fields, "last-event-id": "7"})
        async with world.client(token="sibling") as client:
            foreign = await client.get("/mcp/files", headers=fields)
        assert guessed.status_code == foreign.status_code == 400
        assert "event does not exist" in guessed.json()["error"]["message"]
        assert guessed.json() == foreign.json()
        assert len(seen) == 2


async def test_the_result_of_a_tool_passes_as_it_comes(tmp_path: Path) -> None:
    """It is neither read nor held back."""
    answer = _json({"content": [{"type": "text", "text": "x" * 9}]})
    async with running_gateway(_script(answer, []), tmp_path) as world:
        response = await _ask(world, modern("tools/call", name="read"))
        assert response.content == answer.partition(b"\r\n\r\n")[2]
