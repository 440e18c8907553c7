from collections.abc import Iterator

import pytest
from engines import Engine


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def new_ledger(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """Each engine in turn."""
    engine = Engine(tmp_path_factory.mktemp("ledger"), request.param)
    yield engine
    engine.close()
