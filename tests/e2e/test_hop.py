"""The hop's bench in its smallest run, Crewgate alone; nothing here looks at a time."""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GROUPS = ("streams", "http1")


def running() -> list[bytes]:
    """The command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes())
    return found


def measure(place: str, output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """A run of Crewgate alone, in its shortest form; its files are in `place`."""
    shortest = ["--rounds", "1", "--requests", "1000", "--peer", "none", "--output", str(output)]
    return subprocess.run(
        [sys.executable, "-m", "bench.hop", *shortest, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": place},
    )


@pytest.mark.skipif(shutil.which("h2load") is None, reason="no h2load (Debian: nghttp2-client)")
def test_a_hop_through_the_gateway_is_measured(tmp_path: Path) -> None:
    """All that is asked for is answered and charged, the rest stays, nothing is left behind."""
    output = tmp_path / "run.json"
    output.write_text('{"goals": [], "hop": {"groups": {"memory": "of a run before"}}}')
    # Short, since the agent's socket lies in it.
    with tempfile.TemporaryDirectory(prefix="hop-") as place:
        ended = measure(place, output, "--group", "streams", "--group", "http1")
        assert (ended.returncode, ended.stderr) == (0, "")
        assert not list(Path(place).iterdir())
        assert not [words for words in running() if place.encode() in words]
    text = output.read_text()
    document = json.loads(text)
    assert document["goals"] == []
    groups = document["hop"]["groups"]
    assert groups["memory"] == "of a run before"
    cases = {name: [each["case"] for each in groups[name]["results"]] for name in GROUPS}
    assert cases == {
        "streams": ["16 × 8", "16 × 32", "16 × 1", "1 × 1"],
        "http1": ["16 × 1", "128 × 1"],
    }
    for result in (result for name in GROUPS for result in groups[name]["results"]):
        assert result["name"] == "Crewgate"
        assert result["cpu_microseconds"]["median"] > 0
        assert result["per_second"]["median"] > 0
        assert 0 < result["p50_milliseconds"]["median"] <= result["p99_milliseconds"]["median"]
    assert platform.node() not in text
    assert str(ROOT) not in text
