"""One configuration with its CA, and a table in place of an agent."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ca_world import Agent, opened
from control_world import Machine, written

from crewgate.config import Config
from crewgate.control import ca_service as desk_
from crewgate.control.ca_service import CAService


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Crews article, bd, finance and keyless; a CA."""
    return written(tmp_path)


@pytest.fixture
def machine(config: Config, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """What stands in for the agent of that configuration."""
    return Machine(config, monkeypatch)


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Agent:
    """In place of the real one."""
    found = Agent()
    monkeypatch.setattr(desk_, "announce", found.announce)
    return found


@pytest.fixture
def desk(config: Config, agent: Agent) -> Iterator[CAService]:
    """The CA of the configuration at work."""
    found = opened(config)
    yield found
    found.close()
