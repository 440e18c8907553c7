"""A site for each test, whose processes end with it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_process import Guest, Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A folder with a configuration; nothing runs yet."""
    site = Site(tmp_path)
    yield site
    site.end()


@pytest.fixture
def enter(site: Site) -> Iterator[Callable[..., Guest]]:
    """Attach this process to the site's agent, as often as one likes."""
    guests: list[Guest] = []

    def attach(**options: bool) -> Guest:
        guests.append(Guest(site, **options))
        return guests[-1]

    yield attach
    for guest in guests:
        guest.close()
