"""The stage is what a newcomer gets from `crewgate init`, with what the story needs besides."""

import socket
from pathlib import Path

import pytest

from crewgate.config import load
from crewgate.core.credits import parse_credits
from crewgate.core.policy import SHARED
from crewgate.core.scope import within
from crewgate.demo import stage as stages
from crewgate.demo.border import CREW as BORDER_CREW
from crewgate.demo.border import TOOLS as BORDER_TOOLS
from crewgate.demo.story import CAST, CREW, RUN_CREDITS, RUN_TOOLS
from crewgate.errors import StoryError


async def test_the_stage_is_init_with_a_stream_and_a_border(tmp_path: Path) -> None:
    """The configuration loads, has the other tools and crews, and lets each crew do its parts."""
    stage = await stages.build(tmp_path)
    config = load(stage.config)
    assert [tool.name for tool in config.tools] == [
        "search.web",
        "embeddings.create",
        "publish.post",
        "summary.stream",
        "finance.balance",
        "finance.statement",
    ]
    assert {tool.owner for tool in config.tools} == {SHARED, "finance"}
    assert within(BORDER_TOOLS, config.crew(BORDER_CREW).tools)
    assert {listener.port for listener in config.listeners} == {stage.port, stage.port + 1}
    assert config.workers == 2
    assert config.listeners[0].port == stage.port
    assert config.upstreams[0].origin.port == stage.port + stages.TOOLS_OFFSET
    assert within(RUN_TOOLS, config.crew(CREW).tools)
    assert stage.ca.exists()


def test_the_cast_fits_in_its_run() -> None:
    """Tools and credits of the sub-agents are within the run's, as `spawn` demands."""
    assert all(within(part.tools, RUN_TOOLS) for part in CAST)
    assert sum(parse_credits(part.credits) for part in CAST) <= parse_credits(RUN_CREDITS)


async def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    """The one line that a person would see is in the error."""
    stage = await stages.build(tmp_path)
    with pytest.raises(StoryError, match=r"crewgate audit failed \(2\): .*write 30s, 10m"):
        await stage.command("audit", "--since", "yesterday")


def test_both_ports_are_free() -> None:
    """The gateway's and the tool server's."""
    port = stages._free_port()
    for number in (port, port + stages.TOOLS_OFFSET):
        with socket.create_server((stages.HOST, number)):
            pass
