"""The long groups of the hop's bench, in its smallest run; nothing here looks at a time."""

import json
import tempfile
from pathlib import Path

from hop_bench import measure, needs_h2load, processes_of

LONG = ("mcp_gateways", "fairness", "floods", "memory", "idle")


@needs_h2load
def test_the_long_groups_are_measured_by_name(tmp_path: Path) -> None:
    """MCP in both revisions, idle connections, hostile peers, and a worker's memory."""
    output = tmp_path / "run.json"
    with tempfile.TemporaryDirectory(prefix="hop-") as place:
        ended, _ = measure(place, output, *LONG)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert not processes_of(place)
    groups = json.loads(output.read_text())["hop"]["groups"]
    assert groups.keys() == set(LONG)
    calls = [result["case"] for result in groups.pop("mcp_gateways")["results"]]
    assert len(calls) == 4
    assert any(case.startswith("2025-11-25 over HTTP/1.1") for case in calls)
    flooded = groups.pop("floods")["results"]
    assert [result["case"] for result in flooded] == ["resets later"] * 2
    assert all(result["flood_connections"]["median"] >= 8 for result in flooded)
    results = [result for group in groups.values() for result in group["results"]]
    assert all(result["resident_megabytes"]["median"] > 0 for result in results)
    assert groups["idle"]["results"][1]["case"] == "beside 400 idle connections"
    beside = groups["fairness"]["results"][1]
    assert beside["uploads"]["median"] >= 1
    assert groups["memory"]["results"][-1]["case"] == "after 5,000 requests"
    assert len(groups["memory"]["goals"]) == 2
