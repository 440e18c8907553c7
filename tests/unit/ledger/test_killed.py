"""SIGKILL before every statement of every operation, and round every commit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from postgres import server

SUPPORT = Path(__file__).parents[2] / "support"
PLACES_MIN = 100  # statements of the whole story, each a place to be killed at


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_ledger_is_whole_wherever_it_was_killed(engine: str, tmp_path: Path) -> None:
    """All of a batch is there or none; who asks again gets the answers of one who was not killed.

    And the books add up at once, as they do in the end.
    """
    where = str(tmp_path / "ledger.db")
    if engine == "postgresql":
        where = server().new_database(f"killed-{os.getpid()}")
    script = [sys.executable, str(SUPPORT / "killed_ledger.py"), engine, where]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["troubles"] == []
    assert found["places"] > PLACES_MIN
