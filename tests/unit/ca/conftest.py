"""A CA in a folder, as `crewgate ca init` makes one; and a configuration with one."""

from datetime import datetime
from pathlib import Path

import pytest
from ca_folder import NOW, ca_in

from crewgate.ca.authority import create
from crewgate.cli.commands.init import write_all
from crewgate.config import CAConfig, Config, load


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """As `crewgate init` writes it; nothing serves it."""
    return load(write_all(tmp_path / "gateway", 9000))


@pytest.fixture
def now() -> datetime:
    """When everything happens."""
    return NOW


@pytest.fixture
def ca(tmp_path: Path) -> CAConfig:
    """One that was made."""
    ca = ca_in(tmp_path)
    create(ca, NOW)
    return ca
