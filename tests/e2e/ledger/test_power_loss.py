"""The power fails at any write of a ledger in a file: what was answered is on the disk."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[2] / "support"


@pytest.mark.parametrize("seed", range(3))
def test_no_credit_is_granted_twice_after_a_loss_of_power(tmp_path: Path, seed: int) -> None:
    """Unsynced writes are dropped, torn or reordered; the ledger stands as after a whole batch.

    So a grant that was answered is known for ever, and its credit granted to nobody else.
    """
    script = [sys.executable, str(SUPPORT / "power_cut_ledger.py"), str(tmp_path), str(seed)]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout)
    assert found["troubles"] == []
    assert found["losses"] > 60
