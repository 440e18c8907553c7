"""Each figure names its processor, and two processors are compared by ratios only."""

from typing import Any

from bench import processor
from bench.compare import UNKNOWN, compared
from bench.hop.figures import CPU, P99

X86 = """\
processor\t: 0
cpu family\t: 6
model\t\t: 143
model name\t: Some CPU @ 2 GHz
stepping\t: 8
cache size\t: 4096 KB
siblings\t: 4
cpu cores\t: 2

processor\t: 1
model name\t: Another
"""
ARM = "processor\t: 0\nCPU architecture: 8\nCPU part\t: 0xd4f\nCPU revision\t: 0\n"


def test_a_processor_behind_a_hypervisor_is_known_by_its_numbers() -> None:
    """Its name may be `Intel(R) Xeon(R) Processor`, whichever it is."""
    found = processor.describe(X86)
    assert (found["cpu"], found["family"], found["model"]) == ("Some CPU @ 2 GHz", "6", "143")
    assert found["threads_per_core"] == 2
    text = processor.line({**found, "cores": 4, "system": "Linux", "kernel": "6.1", "python": "3"})
    assert text == (
        "Some CPU @ 2 GHz (family 6, model 143, stepping 8, cache 4096 KB); "
        "4 cores, SMT on; Linux 6.1; Python 3"
    )


def test_a_processor_of_another_kind_has_what_the_kernel_says() -> None:
    """No name and no siblings on ARM; a result of an earlier version has neither."""
    found = processor.describe(ARM)
    assert (found["model"], found["threads_per_core"]) == ("0xd4f", None)
    assert "SMT" not in processor.line(found)
    earlier = {"cpu": "AMD EPYC", "cores": 2, "system": "Linux", "python": "3.11.7"}
    assert processor.line(earlier) == "AMD EPYC; 2 cores; Linux; Python 3.11.7"


def document(cpu: str | None, case: str, **ratios: float) -> dict[str, Any]:
    over = {name: {"median": ratio} for name, ratio in ratios.items()}
    results = [{"case": case, "name": "Crewgate", "crewgate_over": {}}]
    results += [{"case": case, "name": "Envoy", "crewgate_over": over}]
    group: dict[str, Any] = {"title": "HTTP/2", "results": results}
    if cpu:
        group["machine"] = {"cpu": cpu, "cores": 2, "system": "Linux", "python": "3"}
    return {"hop": {"groups": {"streams": group}}}


def test_two_processors_stand_side_by_side() -> None:
    """A point that one of them lacks stays empty there."""
    columns, (block,) = compared(
        [
            document("old", "16 × 8", cpu_microseconds=0.77),
            document(None, "16 × 8", cpu_microseconds=0.94, p99_milliseconds=1.2),
        ]
    )
    assert columns == ["old; 2 cores; Linux; Python 3", UNKNOWN]
    assert block.title == "streams: HTTP/2"
    assert block.columns == [
        {("16 × 8: Envoy", CPU.ratio): 0.77},
        {("16 × 8: Envoy", CPU.ratio): 0.94, ("16 × 8: Envoy", P99.ratio): 1.2},
    ]


def test_a_run_without_a_peer_has_no_ratio() -> None:
    """And so no table."""
    assert compared([document("old", "16 × 8")])[1] == []
