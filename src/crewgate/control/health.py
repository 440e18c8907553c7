"""Reports the health of the control process to the agent once a second; see `core/health`.

No fact causes refusals of calls: the gateway decides calls without this process.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import trio

from crewgate import limits
from crewgate.audit.recorder import AuditRecorder
from crewgate.core.health import ComponentHealth, HealthState, failed, ok
from crewgate.ipc.health_report_client import HealthReportClient
from crewgate.runtime.folder_write_probe import FolderWriteProbe, watch_folders
from crewgate.runtime.ticks import sleep_until_tick


class ControlHealth:
    """The health of this process, reported to the agent whose state is in `state`."""

    def __init__(self, state: Path, ca: Path, sink: AuditRecorder) -> None:
        """`ca` is the folder of the CA."""
        self._sink = sink
        self._reporter = HealthReportClient(state, "control", seconds=0.0)
        self._troubles: dict[str, str] = {}  # component -> what is wrong, or ""
        # source -> its facts, and until when they count (Trio's clock)
        self._facts: dict[str, tuple[list[ComponentHealth], float]] = {}
        self.disk = FolderWriteProbe(ca)
        self.is_serving = False
        self.is_signing = False  # a machine without the CA's key may have no folder of the CA

    def note(self, component: str, why: str = "") -> None:
        """Set what is wrong with a component; "" if nothing is. The caller logs it as well."""
        self._troubles[component] = why

    def set(self, source: str, facts: Sequence[ComponentHealth], seconds: float = math.inf) -> None:
        """Replace all facts of a source; they count for `seconds`. The caller does not log them."""
        # A component without a fact counts as well.
        wrong = [fact for fact in facts if fact.state is not HealthState.OK]
        self._facts[source] = wrong, trio.current_time() + seconds

    def facts(self) -> Iterator[ComponentHealth]:
        """Yield every fact that this process reports."""
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
        """Report once a second, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch_folders, [self.disk])
            try:
                while True:
                    facts = sorted(self.facts(), key=lambda fact: -fact.state.rank)
                    worst = facts[: limits.health_facts_max]
                    self._reporter.report(worst)
                    await sleep_until_tick(
                        limits.health_report_seconds, limits.health_after_seconds
                    )
            finally:
                self._reporter.close()
