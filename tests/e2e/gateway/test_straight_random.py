"""Random calls: who sees them, sees the same whether compiled code or Python carries them."""

from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from msgspec import structs
from random_calls import TOKEN, RandomCall, calls
from search_depth import deep
from two_ways import Seen, Way, two_ways

from crewgate.config import Config, ToolConfig

CONNECTION_CALLS = 40  # fewer than the bad tokens after which a connection is drained


def _configured(config: Config) -> Config:
    """Tools of all methods, so cheap that the credits of a branch last."""
    more = (
        ToolConfig("search.put", "PUT", "/notes", "tools", 1),
        ToolConfig("search.drop", "DELETE", "/notes", "tools", 1),
        ToolConfig("search.small", "POST", "/small", "tools", 1, body_bytes_max=4),
    )
    cheap = tuple(structs.replace(tool, price=1) for tool in config.tools)
    return structs.replace(config, tools=cheap + more)


async def _ask(way: Way, call: RandomCall) -> Seen:
    fields = [(name, value.replace(TOKEN, way.token)) for name, value in call.fields]
    return await way.ask(fields, call.answer, call.body)


@pytest.mark.parametrize("http2_server", [False, True])
async def test_random_calls(http2_server: bool, tmp_path: Path) -> None:
    """Two gateways carry the same calls, one after the other."""
    asked = [0]
    async with two_ways(tmp_path, _configured, http2_server=http2_server) as ways:

        async def both(call: RandomCall) -> None:
            asked[0] += 1
            if asked[0] % CONNECTION_CALLS == 0:
                for way in ways:
                    await way.close()
            found, expected = [await _ask(way, call) for way in ways]
            assert found == expected

        @settings(max_examples=deep(200))
        @given(calls())
        def search(call: RandomCall) -> None:
            trio.from_thread.run(both, call)

        await trio.to_thread.run_sync(search)
        assert ways[0].counts[0] > asked[0] // 5
