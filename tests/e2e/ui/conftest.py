from collections.abc import Iterator

import pytest
from browsers import CHROMIUM, REASON, chromium
from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip(REASON)
    with chromium() as found:
        yield found
