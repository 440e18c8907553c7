"""The gauges of a worker."""

from collections.abc import ItemsView
from dataclasses import dataclass, field
from types import SimpleNamespace

from crewgate.gateway.worker.worker_metrics import WorkerMetrics
from crewgate.metrics import families
from crewgate.metrics.exposition import Exposition
from crewgate.metrics.memory import MetricsMemory

ENDS = ("straight", "ordinary")


@dataclass
class FakeListeners:
    """The counts of connections, and the dates of the certificates, of each listener."""

    connections: dict[str, int] = field(default_factory=dict)
    dates: dict[str, tuple[int, int] | None] = field(default_factory=dict)
    straight: dict[str, SimpleNamespace] = field(default_factory=dict)

    def straight_listeners(self) -> ItemsView[str, SimpleNamespace]:
        return self.straight.items()

    def connection_counts(self) -> dict[str, int]:
        return self.connections

    def prepared(self) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(section=SimpleNamespace(name=name), dates=dates)
            for name, dates in self.dates.items()
        ]


def test_straight_calls_are_counted_once() -> None:
    """The counts of a listener are totals; one that was opened anew begins with 0 again."""
    metrics = MetricsMemory(2).own
    worker, listeners = WorkerMetrics(metrics), FakeListeners()
    series = [metrics.series(families.STRAIGHT_CALLS, "agents", end) for end in ENDS]
    for done, given_up, expected in (
        (3, 1, [3, 1]),
        (3, 1, [3, 1]),
        (5, 1, [5, 1]),
        (2, 0, [7, 1]),
    ):
        listeners.straight = {"agents": SimpleNamespace(done=done, given_up=given_up)}
        worker.note(listeners, [], [], [])  # type: ignore[arg-type]
        assert [each.value for each in series] == expected


def test_what_the_configuration_has_no_more_is_shown_no_more() -> None:
    """An upstream that was unavailable when it was removed would stay so; it may come back."""
    memory = MetricsMemory(2)
    metrics = memory.own
    worker = WorkerMetrics(metrics)
    listeners = FakeListeners({"agents": 3}, {"agents": (1, 2_000_000_000), "crews": None})
    tools = SimpleNamespace(upstream=SimpleNamespace(name="tools"), unavailable_reason="refused")
    shown = [
        'crewgate_connections{listener="agents"} 3',
        'crewgate_upstream_unavailable{upstream="tools"} 1',
        'crewgate_certificate_expiry_timestamp_seconds{listener="agents"} 2000000000',
    ]
    for connections, pools, expected in (
        (listeners, [tools], shown),
        (FakeListeners(), [], []),
        (listeners, [tools], shown),
    ):
        worker.note(connections, pools, [None] * 4, [None] * 5)  # type: ignore[arg-type]
        text = Exposition(memory.descriptor).read()[0].decode().splitlines()
        found = [line for line in text if "{" in line and line[0] != "#"]
        assert found == expected
        assert {"crewgate_calls_in_flight 4", "crewgate_upstream_work 5"} < set(text)
    assert metrics.series(families.CONNECTIONS, "agents").value == 3
