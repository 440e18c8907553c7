"""Reports the health of the page's process to the agent once a second; see `core/health`.

No fact causes refusals of calls: the gateway decides calls without this process.
"""

from collections.abc import Iterator
from pathlib import Path

from crewgate import limits
from crewgate.audit.recorder import AuditRecorder
from crewgate.core.health import ComponentHealth, degraded, ok
from crewgate.ipc.health_report_client import HealthReportClient
from crewgate.runtime.ticks import sleep_until_tick
from crewgate.ui.login.login_service import LoginService


class PageHealth:
    """The health of this process, reported to the agent whose state is in `state`."""

    def __init__(self, state: Path, login: LoginService, sink: AuditRecorder) -> None:
        self._login = login
        self._sink = sink
        self._reporter = HealthReportClient(state, "ui", seconds=0.0)

    def facts(self) -> Iterator[ComponentHealth]:
        """Yield every fact that this process reports."""
        yield ok("ui")
        yield self._sink.health("ui: audit", refuses=False)
        problem = self._login.sessions.problem
        why = f"the sessions cannot be stored, so nobody can log in or out: {problem}"
        yield degraded("ui: sessions", why, logged=True) if problem else ok("ui: sessions")
        provider = self._login.provider
        trouble = None if provider is None else provider.problem
        if trouble is None:
            yield ok("ui: login")
        else:
            why = f"nobody can log in to the live page: {trouble.why}"
            yield degraded("ui: login", why, trouble.mend)

    async def run(self) -> None:
        """Report once a second, until cancelled."""
        try:
            while True:
                self._reporter.report([*self.facts()])
                await sleep_until_tick(limits.health_report_seconds, limits.health_after_seconds)
        finally:
            self._reporter.close()
