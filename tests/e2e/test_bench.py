"""The bench suite as a person starts it, in its shortest run; nothing here looks at a time."""

import json
import math
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_short_run_measures_everything(tmp_path: Path) -> None:
    """Each verdict was what its name says, all goals are judged, the document names no machine."""
    output = tmp_path / "run.json"
    command = [sys.executable, "-m", "bench", "--rounds", "2", "--output", str(output)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    text = output.read_text()
    document = json.loads(text)
    assert len(document["goals"]) == 11
    # A difference between two times may be negative in so few rounds.
    assert all(math.isfinite(goal["measured"]) for goal in document["goals"])
    results = [result for group in document["groups"] for result in group["results"]]
    assert all(result["microseconds"]["median"] > 0 for result in results)
    assert all(result["name"] in ended.stdout for result in results)
    assert document["table_megabytes"] <= 270
    assert platform.node() not in text
    assert str(ROOT) not in text
