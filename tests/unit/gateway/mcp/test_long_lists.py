"""Long lists are filtered in slices, between which the worker serves others."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from gateway_world import World, running_gateway
from mcp_messages import encoded, headers, legacy, modern
from scripted_server import read_request

from crewgate import limits

COUNT = 40
TOOLS = [{"name": f"t{number}", "inputSchema": {}} for number in range(COUNT)]


def _server(kind: str) -> Callable[[trio.SocketStream, int], Awaitable[None]]:
    """A server that answers each request with the list; its stream of events does not end."""

    async def serve(stream: trio.SocketStream, _number: int) -> None:
        while request := await read_request(stream):
            message = json.loads(request.partition(b"\r\n\r\n")[2])
            result = {"resultType": "complete", "tools": TOOLS}
            text = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result})
            body, length = f"data: {text}\n\n", ""
            if kind == "application/json":
                body, length = text, f"Content-Length: {len(text)}\r\n"
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{length}\r\n"
            await stream.send_all((head + body).encode())

    return serve


def _note_slices(world: World) -> list[int]:
    """How many calls were in flight at the end of each slice."""
    noted: list[int] = []
    tasks = world.gateway._services.background_tasks
    later = tasks.later

    def noting(seconds: float, work: Callable[[], None]) -> Callable[[], None]:
        if not seconds:
            noted.append(len(world.live))
        return later(seconds, work)

    tasks.later = noting  # type: ignore[method-assign]
    return noted


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
async def test_two_long_lists_are_filtered_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Each client gets all of its list, and neither waits for the whole list of the other."""
    monkeypatch.setattr(limits, "mcp_slice_entries", 5)
    async with running_gateway(_server(kind), tmp_path) as world:
        noted = _note_slices(world)
        found: list[list[str]] = []

        async def ask(message: dict[str, Any], path: str) -> None:
            known = headers(message) if "_meta" in message["params"] else {}
            async with world.client() as client:
                response = await client.post(path, content=encoded(message), headers=known)
            text = response.text.removeprefix("data: ")
            found.append([tool["name"] for tool in json.loads(text)["result"]["tools"]])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, modern("tools/list"), "/mcp/files")
            nursery.start_soon(ask, legacy("tools/list"), "/mcp/files")
        names = [tool["name"] for tool in TOOLS]
        assert found == [names, names]
        assert len(noted) >= 2 * COUNT / 5
        assert 2 in noted
        if kind == "application/json":
            await ask(modern("tools/list"), "/mcp/team")
            assert found[2] == [f"{server}__{name}" for server in ("files", "priced")
                                for name in names]  # fmt: skip
        await world.settled()


async def test_a_client_that_leaves_ends_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In 2025-11-25 the gateway reads on, and drops what is left, in slices too."""
    monkeypatch.setattr(limits, "mcp_slice_entries", 1)
    async with running_gateway(_server("application/json"), tmp_path) as world:
        noted = _note_slices(world)
        for message in (modern("tools/list"), legacy("tools/list")):
            before = len(noted)
            async with trio.open_nursery() as nursery, world.client() as client:
                known = headers(message) if "_meta" in message["params"] else {}
                nursery.start_soon(_post, client, encoded(message), known)
                while len(noted) < before + 3:
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            await world.settled()
            assert len(noted) >= before + 3
        assert world.gateway._services.detached.taken == 0


async def _post(client: Any, content: bytes, known: dict[str, str]) -> None:
    await client.post("/mcp/files", content=content, headers=known)
