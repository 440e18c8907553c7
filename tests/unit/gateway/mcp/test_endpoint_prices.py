"""The prices of calls at an MCP endpoint: by arguments, by results, and for several rounds."""

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

QUESTION = {"resultType": "input_required", "inputRequests": {}, "requestState": "s"}


def done(pages: object = None, **result: object) -> dict[str, Any]:
    """A complete result, which may state a number of pages."""
    stated = {} if pages is None else {"structuredContent": {"pages": pages}}
    return {"resultType": "complete", "content": [], **stated, **result}


def response(result: dict[str, Any]) -> bytes:
    """A JSON response, or a stream if the result has a progress to report."""
    message = encoded({"jsonrpc": "2.0", "id": 1, "result": result})
    kind = b"application/json"
    if result.pop("streams", False):
        progress = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {}}
        message = b"data: %b\n\ndata: %b\n\n" % (encoded(progress), message)
        kind = b"text/event-stream"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
    return head % (kind, len(message)) + message


class PricedSite:
    """A gateway before a server that gives one prepared result after another."""

    def __init__(self, world: World, results: list[dict[str, Any]]) -> None:
        self.world = world
        self.results = results

    async def costs(self, tool: str, *results: dict[str, Any], **arguments: Any) -> list[int]:
        """Call a tool once for each result; return what each call has cost."""
        self.world.sink.records.clear()
        self.results += results
        message = modern("tools/call", name=tool, arguments=arguments)
        async with self.world.client() as client:
            for result in results:
                answer = await client.post(
                    "/mcp/priced", content=encoded(message), headers=headers(message)
                )
                assert json.dumps(result)[1:-1] in answer.text
        await self.world.settled()
        return [record.cost_micro for record in self.world.sink.records]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[PricedSite]:
    results: list[dict[str, Any]] = []

    async def script(stream: trio.SocketStream, number: int) -> None:
        while await read_request(stream):
            await stream.send_all(response(dict(results.pop(0))))

    async with running_gateway(script, tmp_path) as world:
        yield PricedSite(world, results)


async def test_arguments_and_results_state_the_cost(site: PricedSite) -> None:
    """A number in the arguments and one in the result, as JSON or in a stream."""
    assert await site.costs("scan", done(3), copies=2) == [1 + 2 * 10 + 3 * 100]
    assert await site.costs("scan", done(3, streams=True), copies=2) == [321]
    assert await site.costs("scan", done(), copies=2) == [10_000]  # no number: all of `max`
    assert await site.costs("scan", done(isError=True), copies=2) == [21]


async def test_a_model_reads_why_arguments_have_no_price(site: PricedSite) -> None:
    """The server sees nothing of such a call."""
    message = modern("tools/call", name="scan", arguments={"copies": "2"})
    async with site.world.client() as client:
        answer = await client.post(
            "/mcp/priced", content=encoded(message), headers=headers(message)
        )
    result = answer.json()["result"]
    assert result["isError"]
    assert "/params/arguments/copies" in result["content"][0]["text"]


async def test_a_call_of_several_rounds_is_charged_once(site: PricedSite) -> None:
    """Only its last round is complete; a tool that charges rounds charges each."""
    rounds = [QUESTION, QUESTION, done()]
    assert await site.costs("ask", *rounds) == [0, 0, 500]
    assert await site.costs("ask", {**QUESTION, "streams": True}, done()) == [0, 500]
    assert await site.costs("scan", QUESTION, done(1), copies=1) == [11, 111]


async def test_rounds_without_an_end_are_not_free_for_ever(site: PricedSite) -> None:
    """A branch that never completes a call pays after a number of rounds."""
    most = limits.unfinished_calls_max
    assert await site.costs("ask", *[QUESTION] * (most + 2)) == [0] * most + [500] * 2
    assert await site.costs("ask", done(), QUESTION) == [500, 0]
