"""The long groups of the hop's bench, in its smallest run; nothing here looks at a time."""

import json
import tempfile
from pathlib import Path
from typing import Any

from hop_bench import measure, needs_h2load, processes_of


@needs_h2load
def test_mcp_is_measured_in_both_revisions(tmp_path: Path) -> None:
    cases = [result["case"] for result in _measured("mcp_gateways", tmp_path)["results"]]
    assert len(cases) == 4
    assert any(case.startswith("2025-11-25 over HTTP/1.1") for case in cases)


@needs_h2load
def test_a_normal_client_is_measured_beside_uploads(tmp_path: Path) -> None:
    _, beside = _measured("fairness", tmp_path)["results"]
    assert beside["uploads"]["median"] >= 1
    assert beside["resident_megabytes"]["median"] > 0


@needs_h2load
def test_hostile_peers_are_measured_by_name(tmp_path: Path) -> None:
    flooded = _measured("floods", tmp_path)["results"]
    assert [result["case"] for result in flooded] == ["resets later"] * 2
    assert all(result["flood_connections"]["median"] >= 8 for result in flooded)


@needs_h2load
def test_the_memory_of_a_worker_is_measured(tmp_path: Path) -> None:
    group = _measured("memory", tmp_path)
    assert group["results"][-1]["case"] == "after 5,000 requests"
    assert all(result["resident_megabytes"]["median"] > 0 for result in group["results"])
    assert len(group["goals"]) == 2


@needs_h2load
def test_idle_connections_are_measured(tmp_path: Path) -> None:
    results = _measured("idle", tmp_path)["results"]
    assert results[1]["case"] == "beside 400 idle connections"
    assert all(result["resident_megabytes"]["median"] > 0 for result in results)


def _measured(name: str, folder: Path) -> Any:
    """Measure one group and return its figures, as the file of the run has them."""
    output = folder / "run.json"
    with tempfile.TemporaryDirectory(prefix="hop-") as place:
        ended, _ = measure(place, output, name)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert not processes_of(place)
    groups = json.loads(output.read_text())["hop"]["groups"]
    assert groups.keys() == {name}
    return groups[name]
