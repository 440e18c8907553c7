"""What a flight needs of its gateway, and how a client is told that its call was cut."""

from typing import Protocol

from crewgate._native.call_line import CallLines
from crewgate.core import record as audit
from crewgate.core.record import Outcome
from crewgate.core.verdict import Reason
from crewgate.gateway import refusals
from crewgate.gateway.live import Flight
from crewgate.server import Exchange

_CANCEL = 8  # RFC 9113 §7: the stream is no longer wanted
_INTERNAL_ERROR = 2
_CUT = {Outcome.REVOKED: Reason.BRANCH_REVOKED, Outcome.EXPIRED: Reason.TOKEN_EXPIRED}


class Tower(Protocol):
    """The gateway, as a flight sees it."""

    lines: CallLines

    def answer(self, exchange: Exchange, kind: refusals.Kind, request: bytes) -> None:
        """Answer with a problem."""

    def opened(self, record: audit.Record) -> None:
        """Write that a stream has begun."""

    def landed(self, flight: Flight, line: bytes, *, charged: bool) -> None:
        """Forget the flight, write its line in the audit, then settle or release its permit."""


def say_why(
    outcome: Outcome,
    exchange: Exchange,
    tower: Tower,
    request: bytes,
    *,
    between_events: bool | None,
) -> None:
    """Tell the client of `exchange` why its call has ended; nothing if its answer is over.

    `between_events`: an event stream could have its next event now; None for other answers.
    """
    if exchange.done:
        return
    reason = _CUT.get(outcome)
    if reason is None:
        exchange.reset(_INTERNAL_ERROR if outcome is Outcome.UPSTREAM_ERROR else _CANCEL)
    elif not exchange.started:
        tower.answer(exchange, refusals.KINDS[reason], request)
    elif between_events:
        exchange.finish(refusals.event(refusals.KINDS[reason], request))
    else:
        exchange.reset(_CANCEL)
