"""A configuration with a CA, and a user who is whoever runs the tests."""

import os
from pathlib import Path

import pytest

from crewgate.cli.commands.init import write_all
from crewgate.config import Config, load
from crewgate.sidecar.user import CommandUser, present


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Nothing serves it."""
    return load(write_all(tmp_path / "gateway", 9000))


@pytest.fixture
def me() -> CommandUser:
    """No user of its own."""
    assert present().uid == os.geteuid()
    return present()
