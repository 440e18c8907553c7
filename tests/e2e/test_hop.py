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
ATTEMPTS = 4
DESCRIPTORS = 1640  # of each process: what does not fit into that is to be measured smaller
LONG = ("mcp_gateways", "fairness", "memory", "idle")
PASSING = ("choose another port", "answered with 200", "not every request")  # another run helps


def running() -> list[bytes]:
    """The command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes())
    return found


def measure(
    place: str, output: Path, requests: int, *options: str
) -> subprocess.CompletedProcess[str]:
    """A run of Crewgate alone, in its shortest form; its files are in `place`."""
    shortest = ["--rounds", "1", "--requests", str(requests), "--peer", "none"]
    words = [sys.executable, "-m", "bench.hop", *shortest, "--output", str(output), *options]
    # Its ports were free when they were chosen, and other tests choose as well; they also keep the
    # machine busy, and a call whose draw takes long is asked to come again, which no bench does.
    for _ in range(ATTEMPTS):
        done = _run(place, words)
        if not any(text in done.stderr for text in PASSING):
            break
    return done


def _run(place: str, words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", 'ulimit -n "$1" && shift && exec "$@"', "-", str(DESCRIPTORS), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": place},
    )


@pytest.mark.skipif(shutil.which("h2load") is None, reason="no h2load (Debian: nghttp2-client)")
def test_a_hop_through_the_gateway_is_measured(tmp_path: Path) -> None:
    """Every usual case is answered and charged, the rest stays, nothing is left behind."""
    output = tmp_path / "run.json"
    output.write_text('{"goals": [], "hop": {"groups": {"memory": "of a run before"}}}')
    # Short, since the agent's socket lies in it.
    with tempfile.TemporaryDirectory(prefix="hop-") as place:
        ended = measure(place, output, 200)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert not list(Path(place).iterdir())
        assert not [words for words in running() if place.encode() in words]
    text = output.read_text()
    document = json.loads(text)
    assert document["goals"] == []
    groups = document["hop"]["groups"]
    assert groups.pop("memory") == "of a run before"
    # In any order: what a run could not measure, the next attempt adds.
    assert groups.keys() == {
        *("streams", "http1", "upstreams", "share", "bodies", "mcp", "refusals", "rates"),
        "branches",
    }
    for result in (result for group in groups.values() for result in group["results"]):
        assert result["name"] in ended.stdout
        assert result["cpu_microseconds"]["median"] > 0
        assert result["per_second"]["median"] > 0
        assert result["p99_milliseconds"]["median"] > 0
    assert [result["name"] for result in groups["share"]["results"][:4]] == [
        *("Crewgate", "without verdict", "without audit", "without verdict and audit")
    ]
    assert platform.node() not in text
    assert str(ROOT) not in text


@pytest.mark.skipif(shutil.which("h2load") is None, reason="no h2load (Debian: nghttp2-client)")
def test_the_long_groups_are_measured_by_name(tmp_path: Path) -> None:
    """MCP in both revisions, idle connections, hostile peers, and a worker's memory."""
    output = tmp_path / "run.json"
    with tempfile.TemporaryDirectory(prefix="hop-") as place:
        named = [word for name in LONG for word in ("--group", name)]
        ended = measure(place, output, 200, *named)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert not [words for words in running() if place.encode() in words]
    groups = json.loads(output.read_text())["hop"]["groups"]
    assert groups.keys() == set(LONG)
    calls = [result["case"] for result in groups.pop("mcp_gateways")["results"]]
    assert len(calls) == 4
    assert any(case.startswith("2025-11-25 over HTTP/1.1") for case in calls)
    results = [result for group in groups.values() for result in group["results"]]
    assert all(result["resident_megabytes"]["median"] > 0 for result in results)
    assert groups["idle"]["results"][1]["case"] == "beside 400 idle connections"
    beside = groups["fairness"]["results"][1]
    assert beside["uploads"]["median"] >= 1
    assert groups["memory"]["results"][-1]["case"] == "after 10,000 requests"
    assert len(groups["memory"]["goals"]) == 2
