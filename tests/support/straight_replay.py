"""Plays an input of the fuzz target `straight_calls` on two gateways, which must do the same."""

from pathlib import Path

from msgspec import structs
from random_calls import TOKEN
from straight_frames import FuzzedCall, calls
from two_ways import Seen, Way

from crewgate.config import Config, ToolConfig

CORPUS = Path(__file__).parents[2] / "fuzz" / "corpus" / "straight_calls"


def configured(config: Config) -> Config:
    """Tools of all methods, so cheap that the credits of a branch last."""
    more = (
        ToolConfig("search.put", "PUT", "/notes", "tools", 1),
        ToolConfig("search.drop", "DELETE", "/notes", "tools", 1),
        ToolConfig("search.small", "POST", "/small", "tools", 1, body_bytes_max=4),
    )
    cheap = tuple(structs.replace(tool, price=1) for tool in config.tools)
    return structs.replace(config, tools=cheap + more)


class DifferenceError(AssertionError):
    """The two ways did not do the same with a call."""


async def play(ways: tuple[Way, Way], data: bytes) -> list[tuple[Seen, tuple[int, int]]]:
    """Play the calls of an input both ways.

    Returns what each call caused, and by how much the counts of straight calls rose. Raises
    DifferenceError.
    """
    played = []
    for way in ways:
        await way.close()
    for call in calls(data):
        before = ways[0].counts
        found, expected = [await _ask(way, call) for way in ways]
        if not found.agrees(expected):
            raise DifferenceError(f"{call}\n{found}\n{expected}")
        done, given_up = ways[0].counts
        played.append((found, (done - before[0], given_up - before[1])))
    return played


async def _ask(way: Way, call: FuzzedCall) -> Seen:
    fields = [(name, value.replace(TOKEN, way.token)) for name, value in call.fields]
    way.site.stays = call.stays
    return await way.ask(fields, call.answer, call.body)
