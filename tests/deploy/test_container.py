"""A gateway as deploy/container runs it: a read-only root, no rights, the first process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from container import PLACE, Container, why_not
from container_play import after, before


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    if reason := why_not():
        pytest.skip(reason)
    folder = tmp_path / "gateway"
    folder.mkdir()
    found = Container(folder)
    found.run("init", PLACE, "--name", "gw-1")
    yield found
    found.close()


def test_a_gateway_in_a_container_serves_stops_and_goes_on(container: Container) -> None:
    """It needs one writable folder; SIGTERM ends it, and the next container has its state."""
    kept = before(container)
    after(container, kept)
