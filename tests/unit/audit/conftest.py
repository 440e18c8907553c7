"""A clock that stands and a disk with room, for each test its own."""

import pytest
from audit_fakes import Clock, Disk


@pytest.fixture
def clock() -> Clock:
    """A clock that moves when told."""
    return Clock()


@pytest.fixture
def disk() -> Disk:
    """A disk that fills when told."""
    return Disk()
