"""The flights' side of a gateway: what calls in flight need of it until they have landed.

And how the gateway itself answers, with problems.
"""

from collections.abc import Callable
from functools import partial

from crewgate._native.call_line import CallLines
from crewgate.core.audit import records as audit
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial
from crewgate.gateway import cors, refusals
from crewgate.gateway.call.in_flight import Flight, Live
from crewgate.gateway.call.interfaces import Errands, Judge, Sink, Told
from crewgate.gateway.call.settlement_queue import Books, Turns
from crewgate.gateway.routes import Site
from crewgate.server import Exchange, Request


class Landing:
    """Registry, records and errands of the calls in flight."""

    def __init__(
        self, site: Site, judge: Judge, live: Live, sink: Sink, turns: Turns, errands: Errands
    ) -> None:
        self.site = site
        self.live = live
        self.sink = sink
        self.lines = CallLines()
        self._judge = judge
        self._errands = errands
        self._books = Books(sink, turns)

    def answer(
        self,
        exchange: Exchange,
        kind: refusals.Kind,
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
        exchange.respond(status, cors.shared_refusal(asked, self.site.find, fields), body)

    def _is_for_models(self, asked: Request) -> bool:
        if not self.site.serves_models:
            return False
        entry = self.site.find(asked.method, asked.path, asked.authority)
        return entry is not None and entry.serves_models

    def explained(self, denial: Denial) -> Denial:
        """The same with the window that is spent, if credits come back by themselves."""
        return self._judge.explained(denial)

    def opened(self, record: audit.Record) -> None:
        """Write that a stream has begun."""
        self.sink.write(record)

    def landed(self, flight: Flight, line: bytes, cost: int) -> None:
        """Forget a flight, and have it recorded and settled at the end of this turn."""
        self.live.remove(flight)
        self._books.enter(line, flight.permit, cost)

    def fund(self, grant: Grant, need: int, done: Told) -> None:
        """Have credit drawn for a call that goes on; `done` hears how that ended."""
        self._errands.draw(partial(self._judge.draw, grant, need), done)

    def later(self, seconds: float, work: Callable[[], None]) -> Callable[[], None]:
        """Call `work` after so long; what is returned takes that back."""
        return self._errands.later(seconds, work)

    def overran(self, request: bytes, grant: Grant, amount: int) -> None:
        """Say that the answer of call `request` stated more than it may cost."""
        self._errands.overran(request, grant, amount)
