"""One gateway with its control API for the tests of a module that leave it as it was."""

from collections.abc import Iterator

import pytest
from control_site import ControlSite, control_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlSite]:
    """It serves."""
    with control_site(tmp_path_factory.mktemp("control"), workers=1, price="0.01") as found:
        yield found
