from pathlib import Path

import pytest
from signed_audit import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "audit")
