"""One configuration with its CA, and a table in place of an agent."""

from pathlib import Path

import pytest
from control_world import Machine, written

from crewgate.config import Config


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Crews article, bd, finance and keyless; a CA."""
    return written(tmp_path)


@pytest.fixture
def machine(config: Config, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """What stands in for the agent of that configuration."""
    return Machine(config, monkeypatch)
