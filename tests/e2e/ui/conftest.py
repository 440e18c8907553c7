from collections.abc import Iterator

import page_examples
import pytest
from browsers import CHROMIUM, REASON, chromium
from fake_page_server import FakePageServer
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


@pytest.fixture
def server() -> Iterator[FakePageServer]:
    """A server with a few branches."""
    with FakePageServer(page_examples.few_rows()).running() as found:
        yield found
