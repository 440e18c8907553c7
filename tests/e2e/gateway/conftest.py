"""One gateway for all tests of upstreams that run in one process, and one for a single test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from upstream_fleet import Standing


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """It is started by the first test that needs it."""
    found = Standing(tmp_path_factory.mktemp("standing"))
    yield found
    found.end()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Standing]:
    """For a test whose gateway has an environment of its own."""
    found = Standing(tmp_path)
    yield found
    found.end()
