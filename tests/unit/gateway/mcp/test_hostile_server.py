"""An MCP server that breaks the protocol: a clear error, a bound, and other calls unaffected."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from gateway_world import World, running_gateway
from mcp_messages import encoded, headers, modern
from scripted_server import read_request

from crewgate import limits
from crewgate.gateway.mcp import responses

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n\r\n"
JSON, STREAM = _HEAD % b"application/json", _HEAD % b"text/event-stream"
NOTE = b'data: {"jsonrpc":"2.0","method":"notifications/message","params":{}}\n\n'
FOREIGN = b'data: {"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"secret"}]}}\n\n'
# The server's answer to a list with this cursor, and a part that it repeats for as long as it can.
ANSWERS = {
    "endless body": (JSON + b'{"jsonrpc":"2.0","id":1,"result":{"tools":["', b"secret " * 500),
    "endless event": (STREAM + NOTE + b"data: ", b"secret " * 500),
    "foreign id": (STREAM + NOTE + FOREIGN, b""),
    "no JSON-RPC": (STREAM + NOTE + b'data: {"secret":1}\n\n', b""),
    "half a body": (JSON + b'{"jsonrpc":"2.0",', b""),
}


async def _script(stream: trio.SocketStream, number: int) -> None:
    """Answer lists as `ANSWERS` says, and tools well; hostile answers have no end of their own."""
    while request := await read_request(stream):
        message = json.loads(request.partition(b"\r\n\r\n")[2])
        if message["method"] == "tools/call":
            body = b'{"jsonrpc":"2.0","id":1,"result":{}}'
            await stream.send_all(_HEAD[:-2] % b"application/json" + b"Content-Length: %d\r\n\r\n%b"
                                  % (len(body), body))  # fmt: skip
            continue
        start, more = ANSWERS[message["params"]["kind"]]
        await stream.send_all(start)
        while more:
            await stream.send_all(more)
        await trio.sleep_forever()


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(limits, "mcp_message_bytes_max", 50_000)
    async with running_gateway(_script, tmp_path) as running:
        yield running


async def _list(world: World, kind: str) -> Any:
    message = modern("tools/list", kind=kind)
    async with world.client() as client:
        return await client.post("/mcp/files", content=encoded(message), headers=headers(message))


async def _calls_a_tool(world: World) -> bool:
    message = modern("tools/call", name="read")
    async with world.client(token="sibling") as client:
        answer = await client.post("/mcp/files", content=encoded(message), headers=headers(message))
    return bool(answer.json() == {"jsonrpc": "2.0", "id": 1, "result": {}})


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("endless body", "above 50000 bytes"),
        ("endless event", "above 50000 bytes"),
        ("foreign id", "the response to another request"),
        ("no JSON-RPC", "it is not JSON-RPC"),
    ],
)
async def test_a_hostile_response_ends_in_an_error(world: World, kind: str, why: str) -> None:
    """With the id of the request, nothing of the server's answer, and nothing kept."""
    response = await _list(world, kind)
    text = response.text
    if "event" in response.headers["content-type"]:
        *notes, text = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
        assert [json.loads(note)["method"] for note in notes] == ["notifications/message"]
    assert json.loads(text)["id"] == 1
    assert why in json.loads(text)["error"]["message"]
    assert "secret" not in response.text
    assert await _calls_a_tool(world)
    await world.settled()
    assert responses._room.taken == 0


async def test_what_a_client_leaves_behind_is_dropped(world: World) -> None:
    """Half of a body, which was held back for a client that has gone."""
    with trio.move_on_after(10) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_list, world, "half a body")
            while not responses._room.taken:
                await trio.lowlevel.checkpoint()
            assert await _calls_a_tool(world)
            nursery.cancel_scope.cancel()
    assert not scope.cancelled_caught
    await world.settled()
    assert responses._room.taken == 0


async def test_a_call_that_is_cut_in_the_middle_of_an_event_has_an_answer(tmp_path: Path) -> None:
    """The half is ended, so that clients skip it and read why the call ends."""

    async def script(stream: trio.SocketStream, number: int) -> None:
        await read_request(stream)
        await stream.send_all(STREAM + NOTE + b'data: {"half')
        await trio.sleep_forever()

    message = modern("tools/call", 7, name="read")
    async with running_gateway(script, tmp_path) as world, world.client() as client:
        request = client.stream(
            "POST", "/mcp/files", content=encoded(message), headers=headers(message)
        )
        text = ""
        async with request as response:
            async for piece in response.aiter_text():
                text += piece
                if text.endswith("half"):
                    world.live.terminate([world.judge.permits[-1].grant.branch_key])
    assert text.startswith(NOTE.decode() + 'data: {"half\n\nevent: message\n')
    last = json.loads(text.rpartition("data: ")[2])
    assert (last["id"], last["result"]["isError"]) == (7, True)
    assert "Do not repeat the call" in last["result"]["content"][0]["text"]
