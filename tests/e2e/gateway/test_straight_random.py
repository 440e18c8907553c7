"""Random calls: who sees them, sees the same whether compiled code or Python carries them."""

from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from random_calls import TOKEN, RandomCall, calls
from search_depth import deep
from straight_replay import CORPUS, configured, play
from two_ways import Seen, Way, two_ways

CONNECTION_CALLS = 40  # fewer than the bad tokens after which a connection is drained


async def _ask(way: Way, call: RandomCall) -> Seen:
    fields = [(name, value.replace(TOKEN, way.token)) for name, value in call.fields]
    return await way.ask(fields, call.answer, call.body)


@pytest.mark.parametrize("http2_server", [False, True])
async def test_random_calls(http2_server: bool, tmp_path: Path) -> None:
    """Two gateways carry the same calls, one after the other."""
    asked = [0]
    async with two_ways(tmp_path, configured, http2_server=http2_server) as ways:

        async def both(call: RandomCall) -> None:
            asked[0] += 1
            if asked[0] % CONNECTION_CALLS == 0:
                for way in ways:
                    await way.close()
            found, expected = [await _ask(way, call) for way in ways]
            assert found.agrees(expected), (found, expected)

        @settings(max_examples=deep(200))
        @given(calls())
        def search(call: RandomCall) -> None:
            trio.from_thread.run(both, call)

        await trio.to_thread.run_sync(search)
        assert ways[0].counts[0] > asked[0] // 5
        assert ways[0].metrics() == ways[1].metrics()


async def test_kept_inputs(tmp_path: Path) -> None:
    """The frames that the fuzz target `straight_calls` makes of its kept inputs."""
    inputs = [path.read_bytes() for path in sorted(CORPUS.iterdir())]
    async with two_ways(tmp_path, configured) as ways:
        for data in inputs:
            await play(ways, data)
        straight, ordinary = ways
        assert straight.counts[0] > len(inputs) // 5
        assert straight.counts[1]
        assert straight.metrics() == ordinary.metrics()
