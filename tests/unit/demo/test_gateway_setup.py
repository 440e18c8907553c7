"""The gateways are what a newcomer gets from `crewgate init`, with what the story needs besides."""

from pathlib import Path

import pytest

from crewgate.config import HostPort, load
from crewgate.core.credits import parse_credits
from crewgate.core.policy.policy import SHARED
from crewgate.core.policy.scope import within
from crewgate.demo import cluster_act, gateway_setup
from crewgate.demo.cross_crew_act import CREW as BORDER_CREW
from crewgate.demo.cross_crew_act import TOOLS as BORDER_TOOLS
from crewgate.demo.gateway_process import TOOLS_OFFSET, DemoGatewaySpec
from crewgate.demo.ports import HOST
from crewgate.demo.story import CAST, CREW, RUN_CREDITS, RUN_TOOLS, AgentRole
from crewgate.errors import DemoError


async def test_the_first_is_init_with_a_stream_and_a_border(tmp_path: Path) -> None:
    """The configuration loads, has the other tools and crews, and lets each crew do its parts."""
    stage = await gateway_setup.build(tmp_path)
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
    assert config.upstreams[0].origin.port == stage.port + TOOLS_OFFSET
    assert within(RUN_TOOLS, config.crew(CREW).tools)
    assert stage.ca.exists()


async def test_the_others_are_its_peers_with_its_tools(tmp_path: Path) -> None:
    """Each knows the two others; crews, tools and their server are the first one's."""
    first = await gateway_setup.build(tmp_path)
    await gateway_setup.create_further(first)
    stages = (first, *first.further)
    configs = [load(stage.config) for stage in stages]
    places = [HostPort(HOST, stage.port + 3) for stage in stages]
    for config, place in zip(configs, places, strict=True):
        assert config.cluster is not None
        assert config.cluster.reached_at == place
        assert {*config.cluster.peers, place} == set(places)
        assert config.cluster.staleness_quorum == "majority"
        assert config.ledger.per_machine
        assert config.tools == configs[0].tools
        assert config.upstreams == configs[0].upstreams
    assert [config.workers for config in configs] == [2, 1, 1]


@pytest.mark.parametrize(
    ("cast", "quota"), [(CAST, RUN_CREDITS), (cluster_act.CAST, cluster_act.CREDITS)]
)
def test_the_cast_fits_in_its_run(cast: tuple[AgentRole, ...], quota: str) -> None:
    """Tools and credits of the sub-agents are within the run's, as `spawn` demands."""
    assert all(within(part.tools, RUN_TOOLS) for part in cast)
    assert sum(parse_credits(part.credits) for part in cast) <= parse_credits(quota)


def test_what_init_does_not_write_is_told(tmp_path: Path) -> None:
    """Another `init` than the story's is no silent loss of what the story needs."""
    stage = DemoGatewaySpec(tmp_path, 1)
    stage.config.parent.mkdir()
    stage.config.write_text("workers = 7")
    with pytest.raises(DemoError, match="wrote no `workers = 2`, which the story needs"):
        gateway_setup._edit(stage, {"workers = 2": "workers = 1"})
    assert stage.config.read_text() == "workers = 7"
