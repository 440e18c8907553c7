"""The cluster's bench in its shortest run; nothing here looks at a time."""

import json
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHORTEST = ("--revocations", "2", "--calls", "6", "--seconds", "0.2", "--storm", "1000")


def test_a_short_run_measures_three_machines_and_a_storm(tmp_path: Path) -> None:
    """Each revocation came to all, each storm was held and handed on, and the rest stays."""
    output = tmp_path / "run.json"
    output.write_text('{"goals": []}')
    command = [sys.executable, "-m", "bench.cluster", *SHORTEST, "--output", str(output)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    text = output.read_text()
    document = json.loads(text)
    assert document["goals"] == []
    cluster = document["cluster"]
    assert len(cluster["goals"]) == 3  # a storm's are those of a million
    assert all(goal["measured"] > 0 for goal in cluster["goals"])
    names = {times["name"] for times in cluster["times"]}
    assert names >= {"receipt: local", "receipt: quorum", "receipt: all"}
    assert any(name.startswith("6 straight calls of one branch end") for name in names)
    assert all(times["median"] <= times["p99"] for times in cluster["times"])
    assert all(cost["what"] in ended.stdout for cost in cluster["costs"])
    assert {storm["entries"] for storm in cluster["storms"]} == {1, 24}
    assert all(storm["fresh_megabytes"] > 0 for storm in cluster["storms"])
    assert all(name in ended.stdout for name in names)
    assert platform.node() not in text
    assert str(ROOT) not in text
