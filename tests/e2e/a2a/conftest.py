"""One gateway in front of one A2A agent for all clients."""

from collections.abc import Iterator

import pytest
from a2a_gateway import A2AGateway, a2a_gateway

KEYS = """
list_all_contexts = true
push_origins = ["https://hooks.example"]
well_known = true
aauth_budget = true
"""


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[A2AGateway]:
    with a2a_gateway(tmp_path_factory.mktemp("a2a"), KEYS) as gateway:
        yield gateway
