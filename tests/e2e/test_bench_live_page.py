"""The bench of the live page in its shortest run; nothing here looks at a time."""

import json
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHORTEST = ("--branches", "3", "--calls", "10", "--seconds", "2", "--settle", "0")


def test_a_short_run_measures_the_page_and_the_agents(tmp_path: Path) -> None:
    """The page sends updates of three machines, and the rest of the results stays."""
    output = tmp_path / "run.json"
    output.write_text('{"goals": []}')
    command = [sys.executable, "-m", "bench.live_page", *SHORTEST, "--output", str(output)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    text = output.read_text()
    document = json.loads(text)
    assert document["goals"] == []
    (shares,) = document["live_page"]["shares"]
    assert shares["calls"] == 10
    assert shares["page_ms"] > 0
    assert document["live_page"]["goals"] == []  # they are about 10,000 branches
    assert platform.node() not in text
    assert str(ROOT) not in text
