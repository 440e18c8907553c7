"""The usual groups of the hop's bench, in its smallest run; nothing here looks at a time."""

import json
import platform
import tempfile
from pathlib import Path

from hop_bench import ROOT, measure, needs_h2load, processes_of


@needs_h2load
def test_a_hop_through_the_gateway_is_measured(tmp_path: Path) -> None:
    """Every usual case is answered and charged, the rest stays, nothing is left behind."""
    output = tmp_path / "run.json"
    output.write_text('{"goals": [], "hop": {"groups": {"memory": "of a run before"}}}')
    # Short, since the agent's socket lies in it.
    with tempfile.TemporaryDirectory(prefix="hop-") as place:
        ended, printed = measure(place, output)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert not list(Path(place).iterdir())
        assert not processes_of(place)
    text = output.read_text()
    document = json.loads(text)
    assert document["goals"] == []
    groups = document["hop"]["groups"]
    assert groups.pop("memory") == "of a run before"
    # In any order: what a run could not measure, the next attempt adds.
    assert groups.keys() == {
        *("streams", "http1", "upstreams", "rest", "share", "bodies", "mcp", "refusals", "rates"),
        "branches",
    }
    for result in (result for group in groups.values() for result in group["results"]):
        assert result["name"] in printed
        if result["case"].startswith("first "):
            assert result["start_milliseconds"]["median"] > 0
        else:
            assert result["cpu_microseconds"]["median"] > 0
            assert result["per_second"]["median"] > 0
        assert result["p99_milliseconds"]["median"] > 0
    assert [result["name"] for result in groups["share"]["results"][:4]] == [
        *("Crewgate", "without verdict", "without audit", "without verdict and audit")
    ]
    assert platform.node() not in text
    assert str(ROOT) not in text
