"""The flights' side of a gateway: what calls in flight need of it until they have landed."""

from collections.abc import Callable
from functools import partial

from crewgate._native.call_line import CallLines
from crewgate.core import record as audit
from crewgate.core.grant import Grant
from crewgate.gateway.books import Books, Turns
from crewgate.gateway.live import Flight, Live
from crewgate.gateway.parties import Errands, Judge, Sink


class Landing:
    """Registry, records and errands of the calls in flight."""

    def __init__(
        self, judge: Judge, live: Live, sink: Sink, turns: Turns, errands: Errands
    ) -> None:
        self.live = live
        self.sink = sink
        self.lines = CallLines()
        self._judge = judge
        self._errands = errands
        self._books = Books(sink, turns)

    def opened(self, record: audit.Record) -> None:
        """Write that a stream has begun."""
        self.sink.write(record)

    def landed(self, flight: Flight, line: bytes, cost: int) -> None:
        """Forget a flight, and have it recorded and settled at the end of this turn."""
        self.live.remove(flight)
        self._books.enter(line, flight.permit, cost)

    def fund(self, grant: Grant, need: int, done: Callable[[bool], None]) -> None:
        """Have credit drawn for a call that goes on; `done` hears whether there is any."""
        self._errands.draw(partial(self._judge.draw, grant, need), done)

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Call `work` after so long."""
        self._errands.later(seconds, work)

    def overran(self, grant: Grant, amount: int) -> None:
        """Say that an answer stated more than its call may cost."""
        self._errands.overran(grant, amount)
