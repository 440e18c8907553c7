"""An agent is killed at any moment while it draws: the ledger and the table agree."""

import json
import subprocess
import sys
from pathlib import Path

from search_depth import deep

SUPPORT = Path(__file__).parents[2] / "support"
KILLS = deep(100)


def test_what_is_granted_in_the_table_is_granted_in_the_ledger(tmp_path: Path) -> None:
    """SIGKILL between sending, reply, applying and the next draw: each grant counts once.

    The lease that the table was granted, and what it gave back, is what the ledger knows; nothing
    is burned, and the books add up.
    """
    script = [sys.executable, str(SUPPORT / "killed_agent.py"), str(tmp_path), str(KILLS)]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout)
    assert found["troubles"] == []
    assert found["granted_micro"] > KILLS
