"""How often a process has started again, as the memory of the metrics counts it."""

from crewgate.metrics.memory import MetricsMemory
from crewgate.metrics.restart_counts import RestartCounts


def test_only_ends_that_nobody_asked_for_count() -> None:
    """By the name of the process; other metrics are left out."""
    memory = MetricsMemory()
    counts = RestartCounts(memory.descriptor, "serve")
    assert counts.read() == {}
    for name, was_lost in (("agent", False), ("worker 0", False), ("worker 0", True)):
        memory.started(name, was_lost=was_lost)
    assert counts.read() == {"agent": 0, "worker-0": 1}
    memory.started("worker 0", was_lost=True)
    assert counts.read()["worker-0"] == 2
    assert counts.serve == "serve"
