"""The gauges of a worker: what is open and in flight now."""

from collections.abc import Iterable

from crewgate.gateway.call.in_flight import InFlightCalls
from crewgate.gateway.worker.listeners import Listeners
from crewgate.metrics import families
from crewgate.metrics.process_metrics import ProcessMetrics
from crewgate.upstream.pool import UpstreamPool


class WorkerMetrics:
    """Sets the gauges of one worker; call `note` once a second."""

    def __init__(self, metrics: ProcessMetrics) -> None:
        self._metrics = metrics
        self._listeners: set[str] = set()  # all that have had connections

    def note(
        self, listeners: Listeners, pools: Iterable[UpstreamPool], in_flight: InFlightCalls
    ) -> None:
        """Note the present state."""
        self._metrics.series(families.CALLS_IN_FLIGHT).set(len(in_flight))
        counts = listeners.connection_counts()
        self._listeners |= counts.keys()
        for name in self._listeners:
            self._metrics.series(families.CONNECTIONS, name).set(counts.get(name, 0))
        for pool in pools:
            unavailable = self._metrics.series(families.UPSTREAM_UNAVAILABLE, pool.upstream.name)
            unavailable.set(bool(pool.unavailable_reason))
