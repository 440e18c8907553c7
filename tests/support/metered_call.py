"""The permit and the services of a call that is paid for as its answer comes, without a worker."""

import json
from collections.abc import Callable

from gateway_world import FakePermit, drawn, grant_of

from crewgate._native.audit_line import AuditLines
from crewgate._native.metrics import CallBatch
from crewgate.core.audit import records as audit
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial
from crewgate.gateway.call.authorizer import DrawCallback
from crewgate.gateway.call.call_metrics import CallMetrics
from crewgate.gateway.call.proxied_call import ProxiedCall
from crewgate.gateway.upstream_work.registry import WorkRegistry
from crewgate.metrics.process_metrics import ProcessMetrics


class Permit(FakePermit):
    """Grows as long as there is credit in `lease` and somebody vouches for it."""

    def __init__(self) -> None:
        super().__init__(grant_of(), 0)
        self.price_micro, self.lease, self.in_observe_mode = 0, 0, False

    def grow(self, more_micro: int) -> bool:
        if more_micro > self.lease or not self.is_current:
            return False
        self.lease -= more_micro
        self.price_micro += more_micro
        return True


class Services:
    """The services of a call, which keep what they are asked for.

    What is to be done `later` is done when the test does it.
    """

    def __init__(self) -> None:
        self.authorizer = self.background_tasks = self.in_flight = self.settlements = self.sink = (
            self
        )
        self.needs: list[int] = []
        self.done: Callable[..., None] = lambda _: None
        self.pauses: list[Callable[[], None]] = []
        self.landings: list[int] = []
        self.lines: list[dict[str, object]] = []
        self.overruns: list[tuple[bytes, int]] = []
        self.call_metrics, self.calls = CallMetrics(ProcessMetrics.unshared()), CallBatch()
        self.audit_lines = AuditLines()
        self.work = WorkRegistry(lambda _: None)

    def draw(self, grant: Grant, need: int, done: DrawCallback) -> None:
        self.needs.append(need)
        self.done = lambda status, **said: done(drawn(status, **said))

    def later(self, seconds: float, work: Callable[[], None]) -> Callable[[], None]:
        self.pauses.append(work)
        return lambda: self.pauses.remove(work)

    def explained(self, denial: Denial) -> Denial:
        return denial

    def report_overrun(self, request: bytes, grant: Grant, amount: int) -> None:
        self.overruns.append((request, amount))

    def write(self, record: audit.Record) -> None:
        pass

    def remove(self, call: ProxiedCall) -> None:
        pass

    def add(self, line: bytes, permit: object, cost: int) -> None:
        self.landings.append(cost)
        self.lines.append(json.loads(line))
