from pathlib import Path

import pytest
from company import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """One CA."""
    return Authority(tmp_path)
