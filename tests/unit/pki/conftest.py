"""A CA in a folder, as `crewgate ca init` makes one."""

from datetime import datetime
from pathlib import Path

import pytest
from ca_folder import NOW, ca_in

from crewgate.config import CA
from crewgate.pki.authority import create


@pytest.fixture
def now() -> datetime:
    """When everything happens."""
    return NOW


@pytest.fixture
def ca(tmp_path: Path) -> CA:
    """One that was made."""
    ca = ca_in(tmp_path)
    create(ca, NOW)
    return ca
