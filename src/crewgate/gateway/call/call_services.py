"""The flights' side of a gateway: what calls in flight need of it until they have landed.

And how the gateway itself answers, with problems.
"""

from collections.abc import Callable
from functools import partial

from crewgate._native.audit_line import AuditLines
from crewgate.core.audit import records as audit
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial
from crewgate.gateway import cors, refusals
from crewgate.gateway.call.in_flight import InFlightCall, InFlightCalls
from crewgate.gateway.call.interfaces import (
    Authorizer,
    BackgroundTaskRunner,
    DecisionSink,
    DrawCallback,
)
from crewgate.gateway.call.settlement_queue import LoopHooks, SettlementQueue
from crewgate.gateway.routes import RouteTable
from crewgate.server import Exchange, Request


class CallServices:
    """Registry, records and errands of the calls in flight."""

    def __init__(
        self,
        routes: RouteTable,
        authorizer: Authorizer,
        in_flight: InFlightCalls,
        sink: DecisionSink,
        loop_hooks: LoopHooks,
        background_tasks: BackgroundTaskRunner,
    ) -> None:
        self.routes = routes
        self.in_flight = in_flight
        self.sink = sink
        self.lines = AuditLines()
        self._judge = authorizer
        self._background_tasks = background_tasks
        self._settlement_queue = SettlementQueue(sink, loop_hooks)

    def answer(
        self,
        exchange: Exchange,
        kind: refusals.ProblemType,
        request: bytes,
        *,
        denial: Denial | None = None,
        scope: str = "",
    ) -> None:
        """Answer with a problem document, or for gRPC with trailers."""
        asked = exchange.request
        status, fields, body = refusals.refusal(
            kind,
            request,
            denial,
            authority=asked.authority,
            asked=asked.headers,
            scope=scope,
            for_models=self._is_for_models(asked),
        )
        exchange.respond(status, cors.shared_refusal(asked, self.routes.find, fields), body)

    def _is_for_models(self, asked: Request) -> bool:
        if not self.routes.serves_models:
            return False
        entry = self.routes.find(asked.method, asked.path, asked.authority)
        return entry is not None and entry.serves_models

    def explained(self, denial: Denial) -> Denial:
        """The same with the window that is spent, if credits come back by themselves."""
        return self._judge.explained(denial)

    def opened(self, record: audit.Record) -> None:
        """Write that a stream has begun."""
        self.sink.write(record)

    def call_ended(self, call: InFlightCall, line: bytes, cost: int) -> None:
        """Forget a flight, and have it recorded and settled at the end of this turn."""
        self.in_flight.remove(call)
        self._settlement_queue.enter(line, call.permit, cost)

    def fund(self, grant: Grant, need: int, done: DrawCallback) -> None:
        """Have credit drawn for a call that goes on; `done` hears how that ended."""
        self._background_tasks.draw(partial(self._judge.draw, grant, need), done)

    def later(self, seconds: float, work: Callable[[], None]) -> Callable[[], None]:
        """Call `work` after so long; what is returned takes that back."""
        return self._background_tasks.later(seconds, work)

    def overran(self, request: bytes, grant: Grant, amount: int) -> None:
        """Say that the answer of call `request` stated more than it may cost."""
        self._background_tasks.overran(request, grant, amount)
