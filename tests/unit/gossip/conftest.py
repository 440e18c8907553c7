from pathlib import Path

import pytest
from gossip_members import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """One CA."""
    return Authority(tmp_path)
