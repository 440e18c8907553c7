"""How many descriptors a configuration needs, and what `check` says if there are fewer."""

import resource
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from crewgate import limits
from crewgate.cli.check.error_and_warning_checks import find_errors
from crewgate.config import Config, file_descriptor_needs, load
from crewgate.errors import ConfigurationError
from crewgate.runtime.descriptor_limit import raise_to
from crewgate.supervisor.serve import Supervisor

TEXT = """
audience = "here"
[[listener]]
name = "agents"
address = "127.0.0.1"
port = 8443
certificate = "gateway.pem"
key = "gateway.key"
[[listener]]
name = "others"
address = "127.0.0.1"
port = 8444
certificate = "gateway.pem"
key = "gateway.key"
[upstream.one]
url = "http://127.0.0.1:9000"
connections = 100
[upstream.two]
url = "http://127.0.0.1:9001"
"""


@pytest.fixture
def config(write: Callable[[str], Path]) -> Config:
    """Two listeners, and two upstreams of 100 and 256 connections."""
    return load(write(TEXT))


def test_a_worker_needs_its_listeners_and_its_upstreams(config: Config) -> None:
    """As many connections as the file says; where it says nothing, the least and what is left."""
    upstreams = sum(each.connections for each in config.upstreams)
    count = len(config.listeners)
    need = file_descriptor_needs.worker(config)
    assert need.least == count * limits.connections_min + upstreams + limits.descriptors_spare
    assert need.wanted - need.least == count * (limits.connections_max - limits.connections_min)
    assert file_descriptor_needs.listener_connections(config, need.least + 10 * count) == (
        limits.connections_min + 10
    )
    assert file_descriptor_needs.listener_connections(config, 2**31) == limits.connections_max
    stated = msgspec.structs.replace(
        config, limits=msgspec.structs.replace(config.limits, connections_max=5000)
    )
    assert file_descriptor_needs.worker(stated).least == file_descriptor_needs.worker(stated).wanted


def test_what_is_lacking_is_said_with_what_mends_it(config: Config) -> None:
    """Each process by itself; nothing where the limit is enough."""
    least = max(
        need.least
        for need in (
            file_descriptor_needs.worker(config), file_descriptor_needs.agent(config),
            file_descriptor_needs.control(config)
        )
    )  # fmt: skip
    assert not list(file_descriptor_needs.lacking(config, least))
    said = "\n".join(file_descriptor_needs.lacking(config, 64))
    for word in ("the agent needs", "a worker needs", "LimitNOFILE=", "ulimit", "is 64 here"):
        assert word in said
    assert "[limits] connections_max" in said


@pytest.mark.parametrize("enough", [False, True])
def test_serve_and_check_say_it_before_anything_starts(
    config: Config, monkeypatch: pytest.MonkeyPatch, enough: bool
) -> None:
    """A problem of `check` is what `serve` refuses."""
    hard = 2**20 if enough else 100
    monkeypatch.setattr("crewgate.policy.serve_config_checks.most", lambda: hard)
    monkeypatch.setattr("crewgate.cli.check.error_and_warning_checks.most", lambda: hard)
    found = [text for text in find_errors(config) if "descriptors" in text]
    if enough:
        assert not found
        Supervisor(config.path)
        return
    assert "a worker needs" in "\n".join(found)
    with pytest.raises(ConfigurationError, match="a worker needs"):
        Supervisor(config.path)


def test_the_soft_limit_is_raised_as_far_as_it_may() -> None:
    """To what is wanted, or to the hard limit; never lowered."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
        assert raise_to(600) == 600
        assert raise_to(300) == 600
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 600
        assert hard == resource.RLIM_INFINITY or raise_to(hard + 1) == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
