"""What the agent's tests share: a small table of this process, two clocks that a test sets."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from crewgate._native.owner import OwnedTable
from crewgate._native.table import Geometry
from crewgate.agent import registry as registry_
from crewgate.agent.journal import Journal
from crewgate.agent.registry import Registry

GEOMETRY = Geometry(branches=256, revocations=64, reservations=128, attachments=8)


@pytest.fixture
def table() -> Iterator[OwnedTable]:
    """A private table with room for 64 revocations and 8 attachments."""
    table = OwnedTable.private(GEOMETRY)
    yield table
    table.close()


@pytest.fixture
def said() -> list[str]:
    """What the agent would have said on standard error."""
    return []


@pytest.fixture
def registry(tmp_path: Path, said: list[str]) -> Iterator[Registry]:
    """An empty registry with its journal."""
    journal = Journal(tmp_path / "registry", registry_.Entry, said.append)
    journal.rewrite([])
    yield Registry(journal, GEOMETRY.branches)
    journal.close()
