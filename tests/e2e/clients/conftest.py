"""One gateway for all clients."""

from collections.abc import Iterator

import pytest
from client_gateway import ClientWorld, client_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientWorld]:
    with client_world(tmp_path_factory.mktemp("clients")) as world:
        yield world
