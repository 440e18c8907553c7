"""The configuration of a bench, made of what `crewgate init` writes."""

from pathlib import Path

import pytest

from bench.hop import stage
from bench.hop.envoy import Demand, configuration
from bench.hop.stage import Servers, changed, refusal, routes
from bench.hop.tools import PAGE, SWALLOW, TOOLS
from crewgate.cli.init.template import fresh_config
from crewgate.config import load

SERVERS = Servers(tools=7001, h2=7002, bulk=7003)


@pytest.mark.parametrize(("h2", "port"), [(False, 7001), (True, 7002)])
def test_what_init_writes_becomes_a_bench(tmp_path: Path, port: int, *, h2: bool) -> None:
    """One worker, all tools at their servers, HTTP/2 to them where it is asked for."""
    file = tmp_path / "crewgate.toml"
    text = changed(fresh_config(8443, "bench"), SERVERS, h2=h2)
    file.write_text(text + routes(stage.UPLOAD_BYTES))
    config = load(file)
    assert config.workers == 1
    tools = {tool.name: tool for tool in config.tools}
    assert {tool.name for tool in TOOLS} <= set(tools)
    assert tools[SWALLOW.name].body_bytes_max == stage.UPLOAD_BYTES
    upstreams = {upstream.name: upstream for upstream in config.upstreams}
    assert upstreams[PAGE.upstream].origin.port == port
    assert upstreams[PAGE.upstream].protocol == ("h2" if h2 else "http/1.1")
    assert upstreams[SWALLOW.upstream].origin.port == 7003


def test_another_configuration_ends_the_run() -> None:
    """Rather than that something else be measured than what is said."""
    text = fresh_config(8443, "bench")
    with pytest.raises(SystemExit, match="workers"):
        changed(text.replace("workers = 2", "workers = 3"), SERVERS, h2=False)
    with pytest.raises(SystemExit, match="one upstream"):
        changed(text.replace("http://127", "http://128"), SERVERS, h2=False)


def test_python_handles_every_call_of_a_configuration_that_stays_good(tmp_path: Path) -> None:
    """A version that handles all calls in Python has no key for it, and gets none."""
    place = stage.Stage(tmp_path, 8443, SERVERS, upload_bytes=1, h2=False)
    before = changed(fresh_config(8443, "bench"), SERVERS, h2=False)
    place.file.write_text(before)
    has_straight_calls = stage.take_python_way(place)
    load(place.file)
    assert place.file.read_text() == before + stage.PYTHON_WAY * has_straight_calls


def test_what_crewgate_cannot_do_has_its_reason(tmp_path: Path) -> None:
    """As the configuration says it."""
    file = tmp_path / "crewgate.toml"
    file.write_text(changed(fresh_config(8443, "bench"), SERVERS, h2=True).replace('"h2"', '"h9"'))
    assert "h9" in refusal(file)


def test_envoy_asks_for_the_claim_of_each_tool() -> None:
    """A policy and a route a tool, that of most loads first, and HTTP/2 where it is asked for."""
    demand = Demand("issuer", "audience", Path("jwks.json"))
    made = {
        h2: configuration(1, demand, Path("c"), Path("k"), tools=7001, bulk=7003, h2=h2)
        for h2 in (False, True)
    }
    for tool in TOOLS:
        assert made[False].count(f'"exact": "{tool.name}"') == 1
        assert made[False].count(f'"exact": "{tool.path}"') == 1
    assert made[False].index(f"0 {PAGE.name}") < made[False].index(f"1 {TOOLS[1].name}")
    assert "http2_protocol_options" not in made[False]
    assert "http2_protocol_options" in made[True]
    assert "require_client_certificate" not in made[False]
