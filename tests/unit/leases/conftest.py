from functools import partial

import pytest
from lease_world import Machine


@pytest.fixture(params=[False, True], ids=["model", "native"])
def new_machine(request: pytest.FixtureRequest) -> partial[Machine]:
    """Machines on the slow model of the table, and the same on the native table and gate."""
    return partial(Machine, native=request.param)
