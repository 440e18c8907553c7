"""The gauges of a worker: what is open and in flight now."""

from collections.abc import Iterable

from crewgate._datapath.in_flight import InFlightCalls
from crewgate.gateway.upstream_work.registry import WorkRegistry
from crewgate.gateway.worker.listeners import Listeners
from crewgate.metrics import families
from crewgate.metrics.families import MetricFamily
from crewgate.metrics.process_metrics import ProcessMetrics
from crewgate.upstream.pool import UpstreamPool


class WorkerMetrics:
    """Sets the gauges of one worker; call `note` once a second."""

    def __init__(self, metrics: ProcessMetrics) -> None:
        self._metrics = metrics
        self._shown: set[tuple[MetricFamily, str]] = set()  # each gauge with its label

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
        for family, name in self._shown - found.keys():
            self._metrics.hide(family, name)
        for (family, name), value in found.items():
            self._metrics.series(family, name).set(value)
        self._shown = set(found)
