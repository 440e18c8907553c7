"""Tasks and sessions at an endpoint: whose they are, which of them run, and who may end them."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from gateway_world import World, running_gateway
from mcp_messages import encoded, headers, legacy, modern
from scripted_server import read_request

from crewgate import limits
from crewgate.core.sealed_ids import IdKind

TASK = "786512e2-9e0d-44bd-8f29-789f320fe840"
TASKS = {"io.modelcontextprotocol/clientCapabilities": {
    "extensions": {"io.modelcontextprotocol/tasks": {}}
}}  # fmt: skip


def _answer(*messages: dict[str, Any], more: str = "") -> bytes:
    """One message as JSON, several as a stream of events."""
    texts = [json.dumps({"jsonrpc": "2.0", **message}) for message in messages]
    kind, body = "application/json", texts[0]
    if len(texts) > 1:
        kind, body = "text/event-stream", "".join(f"data: {text}\n\n" for text in texts)
    length = f"Content-Length: {len(body)}\r\n"
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{more}{length}\r\n{body}".encode()


class Server:
    """Answers each request with the next of `answers`, and keeps what it was sent."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.seen: list[Any] = []

    async def __call__(self, stream: trio.SocketStream, number: int) -> None:
        while request := await read_request(stream):
            body = request.partition(b"\r\n\r\n")[2]
            self.seen.append(json.loads(body) if body else request)
            await stream.send_all(self.answers.pop(0))


async def _ask(
    world: World,
    message: dict[str, Any],
    token: str = "good",
    path: str = "/mcp/files",
    **fields: str,
) -> Any:
    is_modern = "io.modelcontextprotocol/protocolVersion" in message["params"].get("_meta", {})
    known = headers(message) if is_modern else {}
    async with world.client(token=token) as client:
        return await client.post(path, content=encoded(message), headers={**known, **fields})


def running(world: World) -> list[tuple[IdKind, str]]:
    """The work that the worker would cancel in a revocation."""
    registry = world.gateway._services.work
    return sorted((key.kind, key.id) for each in registry._by_branch.values() for key in each)


def status_of(status: str) -> dict[str, Any]:
    return {"id": 1, "result": {"resultType": "complete", "taskId": TASK, "status": status}}


def related(task: str) -> dict[str, Any]:
    return {"_meta": {"io.modelcontextprotocol/related-task": {"taskId": task}}}


async def test_a_task_is_of_the_branch_that_began_it(tmp_path: Path) -> None:
    """Another one gets the same error as for an id that does not exist, and no server is asked."""
    begun = {"id": 1, "result": {"resultType": "task", "taskId": TASK, "status": "working"}}
    server = Server(_answer(begun), _answer(status_of("working")), _answer(status_of("completed")))
    async with running_gateway(server, tmp_path) as world:
        response = await _ask(world, modern("tools/call", name="read", meta=TASKS))
        task = response.json()["result"]["taskId"]
        assert TASK not in response.text
        assert running(world) == [(IdKind.MCP_TASK, TASK)]
        errors = []
        for token, wanted in (("sibling", task), ("good", TASK), ("good", "none")):
            refused = await _ask(world, modern("tasks/get", taskId=wanted, meta=TASKS), token)
            errors.append((refused.status_code, refused.json()["error"]))
        assert errors == [(400, {"code": -32602, "message": "The task does not exist."})] * 3
        assert len(server.seen) == 1
        polled = await _ask(world, modern("tasks/get", taskId=task, meta=TASKS))
        assert polled.json()["result"]["taskId"] == task
        assert server.seen[-1]["params"]["taskId"] == TASK
        assert running(world) == [(IdKind.MCP_TASK, TASK)]
        await _ask(world, modern("tasks/get", taskId=task, meta=TASKS))
        assert running(world) == []


async def test_a_legacy_task_is_sealed_too(tmp_path: Path) -> None:
    """And in messages about it, which a server may send on the stream of any call."""
    begun = {"id": 1, "result": {"task": {"taskId": TASK, "status": "working", "ttl": 60_000}}}
    note = {"method": "notifications/progress", "params": {"progress": 1, **related(TASK)}}
    result = {"id": 1, "result": {"content": []}}
    server = Server(_answer(note, begun), _answer(result), _answer(note, result))
    async with running_gateway(server, tmp_path) as world:
        response = await _ask(world, legacy("tools/call", name="read", task={"ttl": 60_000}))
        assert TASK not in response.text
        text = response.text.rpartition("data: ")[2]
        task = json.loads(text)["result"]["task"]["taskId"]
        assert running(world) == [(IdKind.MCP_TASK, TASK)]
        await _ask(world, legacy("tasks/get", taskId=task, **related(task)))
        assert server.seen[-1]["params"] == {"taskId": TASK, **related(TASK)}
        foreign = await _ask(world, legacy("tools/call", name="read", **related(TASK)))
        assert foreign.json()["error"]["code"] == -32602
        malformed = await _ask(world, legacy("tools/call", name="read", **related(5)))  # type: ignore[arg-type]
        assert malformed.json()["error"]["code"] == -32602
        other = await _ask(world, legacy("tools/call", name="read"))
        assert TASK not in other.text
        assert len(server.seen) == 3


async def test_a_session_runs_until_its_end(tmp_path: Path) -> None:
    """Its client or its server ends it; the latest token counts in a revocation."""
    first = _answer({"id": 1, "result": {}}, more="Mcp-Session-Id: s\r\n")
    gone = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    ended = b"HTTP/1.1 204 No Content\r\n\r\n"
    server = Server(first, _answer({"id": 1, "result": {}}), ended, first, gone)
    async with running_gateway(server, tmp_path) as world:
        begin = legacy("initialize", protocolVersion="2025-11-25")
        session = {"mcp-session-id": (await _ask(world, begin)).headers["mcp-session-id"]}
        session["mcp-protocol-version"] = "2025-11-25"
        assert running(world) == [(IdKind.MCP_SESSION, "s")]
        await _ask(world, legacy("ping"), **session)
        ((work,),) = [each.values() for each in world.gateway._services.work._by_branch.values()]
        assert work.request.method == b"DELETE"
        assert (b"mcp-session-id", b"s") in work.request.fields
        assert (b"mcp-protocol-version", b"2025-11-25") in work.request.fields
        assert work.permit is world.judge.permits[-1]
        async with world.client() as client:
            await client.delete("/mcp/files", headers=session)
        assert running(world) == []
        await _ask(world, begin)
        assert running(world) == [(IdKind.MCP_SESSION, "s")]
        await _ask(world, legacy("ping"), **session)
        assert running(world) == []


async def test_a_session_with_an_unusable_id_is_not_remembered(tmp_path: Path) -> None:
    """Each would take memory for a day, and no client could use it."""
    answers = [
        _answer({"id": 1, "result": {}}, more=f"Mcp-Session-Id: {session}\r\n")
        for session in ("s" * 1025, "\u00e9")
    ]
    async with running_gateway(Server(*answers), tmp_path) as world:
        for _ in answers:
            response = await _ask(world, legacy("initialize", protocolVersion="2025-11-25"))
            assert "an id that cannot be sealed" in response.json()["error"]["message"]
            assert "mcp-session-id" not in response.headers
        await world.settled()
        assert running(world) == []


class Slow:
    """A server that answers when it is let, and notes whether its client has gone before."""

    def __init__(self, answer: bytes) -> None:
        self.arrived, self.lets, self.gone = trio.Event(), trio.Event(), trio.Event()
        self._answer = answer

    async def __call__(self, stream: trio.SocketStream, number: int) -> None:
        await read_request(stream)
        self.arrived.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, stream)
            await self.lets.wait()
            with suppress(trio.BrokenResourceError):
                await stream.send_all(self._answer)

    async def _watch(self, stream: trio.SocketStream) -> None:
        try:
            if not await stream.receive_some():
                self.gone.set()
        except trio.BrokenResourceError:
            self.gone.set()


async def _hang_up(
    world: World, server: Slow, message: dict[str, Any], path: str = "/mcp/files"
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_ask, world, message, "good", path)
        await server.arrived.wait()
        nursery.cancel_scope.cancel()


LATE = _answer({"id": 1, "result": {"task": {"taskId": TASK, "status": "working"}}})


async def test_a_legacy_client_that_hangs_up_does_not_cancel(tmp_path: Path) -> None:
    """The gateway reads on, and so it knows the task that a revocation has to cancel."""
    server = Slow(LATE)
    async with running_gateway(server, tmp_path) as world:
        await _hang_up(world, server, legacy("tools/call", name="read", task={}))
        while not world.gateway._services.detached.taken:
            await trio.lowlevel.checkpoint()
        assert len(world.live) == 1
        assert not server.gone.is_set()
        server.lets.set()
        await world.settled()
        assert running(world) == [(IdKind.MCP_TASK, TASK)]
        assert world.gateway._services.detached.taken == 0
        assert world.judge.permits[-1].ended == "settled"


async def test_a_response_that_is_read_for_its_price_is_read_for_its_tasks(tmp_path: Path) -> None:
    """Also if the client has gone, in either revision."""
    result = {"resultType": "task", "taskId": TASK, "status": "working"}
    server = Slow(_answer({"id": 1, "result": {**result, "structuredContent": {"pages": 2}}}))
    async with running_gateway(server, tmp_path) as world:
        call = modern("tools/call", name="drain", arguments={"copies": 1}, meta=TASKS)
        await _hang_up(world, server, call, "/mcp/priced")
        server.lets.set()
        await world.settled()
        assert world.judge.permits[-1].cost == 211
        assert [key.id for key in world.gateway._services.work._by_crew["article"]] == [TASK]


def _modern() -> dict[str, Any]:
    return modern("tools/call", name="read", meta=TASKS)


def _notification() -> dict[str, Any]:
    message = legacy("notifications/initialized")
    del message["id"]
    return message


@pytest.mark.parametrize(
    ("message", "places"),
    [
        (_modern, limits.detached_calls_max),
        (_notification, limits.detached_calls_max),
        (lambda: legacy("tools/call", name="read", task={}), 0),
    ],
    ids=["modern", "notification", "no room"],
)
async def test_another_client_that_hangs_up_closes_the_request(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    message: Callable[[], dict[str, Any]],
    places: int,
) -> None:
    """2026-07-28: that cancels it. Nor does the gateway keep more calls than it has room for."""
    monkeypatch.setattr(limits, "detached_calls_max", places)
    server = Slow(LATE)
    async with running_gateway(server, tmp_path) as world:
        await _hang_up(world, server, message())
        await server.gone.wait()
        await world.settled()
        assert running(world) == []


@pytest.mark.parametrize("bound", ["seconds", "bytes", "revocation"])
async def test_a_call_without_its_client_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """In time and size, and it ends in a revocation as every call."""
    if bound == "seconds":
        monkeypatch.setattr(limits, "detached_call_seconds_max", 0.01)
    monkeypatch.setattr(limits, "detached_call_bytes_max", 10)
    server = Slow(_answer({"id": 1, "result": {"content": ["x" * 100_000]}})[:-1])
    async with running_gateway(server, tmp_path) as world:
        await _hang_up(world, server, legacy("tools/call", name="read"))
        while not (world.gateway._services.detached.taken or bound == "seconds"):
            await trio.lowlevel.checkpoint()
        if bound == "bytes":
            server.lets.set()
        elif bound == "revocation":
            world.judge.permits[-1].revoked = True
            assert world.live.terminate_revoked() == 1
        await world.settled()
        await server.gone.wait()
        assert world.gateway._services.detached.taken == 0
        server.lets.set()
