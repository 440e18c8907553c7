from collections.abc import Iterator

import pytest
from browsers import CHROMIUM, REASON, chromium
from installation import Installation
from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip(REASON)
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A gateway that serves."""
    site = Installation(tmp_path_factory.mktemp("page"), workers=1)
    try:
        site.serve()
        yield site
    finally:
        site.end()
