"""A site for each test, whose processes end with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_process import Site

from crewgate import Verifier


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A folder with a configuration; nothing runs yet."""
    site = Site(tmp_path)
    yield site
    site.end()


@pytest.fixture
def verifier(site: Site) -> Iterator[Verifier]:
    """A verifier that is attached to a running agent."""
    site.agent()
    with Verifier.from_config(site.file) as verifier:
        yield verifier
