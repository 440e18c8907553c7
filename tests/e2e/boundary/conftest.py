"""One gateway for the tests of a module that only look."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mtls_gateway import Boundary, bounded


@pytest.fixture(scope="module")
def boundary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boundary]:
    """It serves, and ends with the module."""
    folder: Path = tmp_path_factory.mktemp("boundary")
    with bounded(folder, price="0.01") as boundary:
        yield boundary
