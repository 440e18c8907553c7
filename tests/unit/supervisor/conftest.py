"""A configuration with a CA."""

from pathlib import Path

import pytest

from crewgate.cli.commands.init import write_all
from crewgate.config import Config, load


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Nothing serves it."""
    return load(write_all(tmp_path / "gateway", 9000))
