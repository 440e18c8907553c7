"""The metrics of a worker that are noted once a second: mostly what is open and in flight."""

from collections.abc import Iterable

from crewgate._datapath.in_flight import InFlightCalls
from crewgate.gateway.upstream_work.registry import WorkRegistry
from crewgate.gateway.worker.listeners import Listeners
from crewgate.metrics import families
from crewgate.metrics.metric_family import MetricFamily
from crewgate.metrics.process_metrics import ProcessMetrics
from crewgate.upstream.pool import UpstreamPool


class WorkerMetrics:
    """Sets the gauges of one worker, and counts its straight calls; call `note` once a second."""

    def __init__(self, metrics: ProcessMetrics) -> None:
        self._metrics = metrics
        self._shown: set[tuple[MetricFamily, str]] = set()  # each gauge with its label
        self._counted: dict[tuple[str, str], int] = {}  # straight calls, by listener and end

    def note(
        self,
        listeners: Listeners,
        pools: Iterable[UpstreamPool],
        in_flight: InFlightCalls,
        work: WorkRegistry,
    ) -> None:
        """Note the present state. The gauges of what the configuration has no more are hidden."""
        self._metrics.series(families.CALLS_IN_FLIGHT).set(len(in_flight))
        self._metrics.series(families.UPSTREAM_WORK).set(len(work))
        found: dict[tuple[MetricFamily, str], int] = {}
        for name, count in listeners.connection_counts().items():
            found[families.CONNECTIONS, name] = count
        for prepared in listeners.prepared():
            if prepared.dates is not None:
                found[families.CERTIFICATE_EXPIRY, prepared.section.name] = prepared.dates[1]
        for pool in pools:
            unavailable = bool(pool.unavailable_reason)
            found[families.UPSTREAM_UNAVAILABLE, pool.upstream.name] = unavailable
        for name, straight in listeners.straight_listeners():
            self._count(name, "ordinary", straight.given_up)
            self._count(name, "straight", straight.done)
        for family, name in self._shown - found.keys():
            self._metrics.hide(family, name)
        for (family, name), value in found.items():
            self._metrics.series(family, name).set(value)
        self._shown = set(found)

    def _count(self, listener: str, end: str, total: int) -> None:
        """Count the straight calls of a listener beyond those that were counted before."""
        before = self._counted.get((listener, end), 0)
        more = total - before if total >= before else total  # a new listener of this name
        if more:
            self._metrics.series(families.STRAIGHT_CALLS, listener, end).add(more)
        self._counted[listener, end] = total
