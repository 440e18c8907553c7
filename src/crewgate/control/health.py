"""The health of the control process: what keeps it from signing, registering and answering.

`facts` is the one list; the agent hears it once a second. See `core/health`. None of it has calls
refused: the gateway judges them without this process.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import trio

from crewgate import limits
from crewgate.audit.disk_probe import DiskProbe
from crewgate.audit.sink import AuditSink
from crewgate.core.health import ComponentHealth, HealthState, failed, ok
from crewgate.ipc.health_report_client import HealthReportClient


class ControlHealth:
    """Knows what can fail, and reports it to the agent whose state is in `state`."""

    def __init__(self, state: Path, ca: Path, sink: AuditSink) -> None:
        """`ca` is the folder of the CA."""
        self._sink = sink
        self._reporter = HealthReportClient(state, "control")
        self._troubles: dict[str, str] = {}
        self._facts: dict[
            str, tuple[list[ComponentHealth], float]
        ] = {}  # of each source, and until when
        self.disk = DiskProbe(ca)
        self.is_serving = False
        self.is_signing = False  # a machine without the CA's key may have no folder for it

    def note(self, component: str, why: str = "") -> None:
        """What became of the last attempt, which the log has; `why` is empty if it went well."""
        self._troubles[component] = why

    def set(self, source: str, facts: Sequence[ComponentHealth], seconds: float = math.inf) -> None:
        """All that a source knows, in place of what it said before; the log has not heard of it.

        Counts for so many seconds from now, on trio's clock.
        """
        wrong = [
            fact for fact in facts if fact.state is not HealthState.OK
        ]  # the rest counts as well
        self._facts[source] = wrong, trio.current_time() + seconds

    def facts(self) -> Iterator[ComponentHealth]:
        """All that this process reports."""
        if not self.is_serving:
            grace = limits.health_start_seconds
            yield failed("control", "it is starting", refuses=False, grace=grace)
        yield self._sink.health("control: audit", refuses=False)
        if self.is_signing:
            yield self.disk.fact("control: folder of the CA", refuses=False)
        for component, why in self._troubles.items():
            name = f"control: {component}"
            yield failed(name, why, refuses=False, logged=True) if why else ok(name)
        now = trio.current_time()
        for facts, until in self._facts.values():
            if now < until:
                yield from facts

    async def run(self) -> None:
        """Report once a second; until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.disk.watch)
            try:
                while True:
                    worst = sorted(self.facts(), key=lambda fact: -fact.state.rank)
                    told = worst[: limits.health_facts_max]
                    await trio.to_thread.run_sync(self._reporter.report, told)
                    await trio.sleep(limits.health_report_seconds)
            finally:
                self._reporter.close()
