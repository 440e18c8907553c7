"""The measurement of the live page in a browser, in its shortest run; nothing looks at a time."""

import json
import subprocess
import sys
from pathlib import Path

from browsers import needs_chromium

ROOT = Path(__file__).parents[3]


@needs_chromium
def test_a_short_run_measures_everything(tmp_path: Path) -> None:
    output = tmp_path / "run.json"
    command = [sys.executable, "-m", "bench.live_page.rendering", "--output", str(output)]
    options = ["--branches", "200", "--seconds", "1", "--loads", "1"]
    done = subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(output.read_text())["live_page_rendering"]
    assert found["loads_milliseconds"][0]["all_branches"] > 0
    assert all(each["longest_frame"] > 0 for each in found["frames_milliseconds"].values())
    assert all(name in done.stdout for name in found["frames_milliseconds"])
