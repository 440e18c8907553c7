"""How a client is told that its call was cut, in whatever way is still open."""

from typing import Protocol

from crewgate.core.record import Outcome
from crewgate.core.verdict import Reason
from crewgate.gateway import refusals
from crewgate.server import Exchange

_CANCEL = 8  # RFC 9113 §7: the stream is no longer wanted
_INTERNAL_ERROR = 2
_CUT = {Outcome.REVOKED: Reason.BRANCH_REVOKED, Outcome.EXPIRED: Reason.TOKEN_EXPIRED}


class Desk(Protocol):
    """Who can answer with a problem."""

    def answer(self, exchange: Exchange, kind: refusals.Kind, request: bytes) -> None:
        """Answer with a problem."""


def say_why(
    outcome: Outcome, exchange: Exchange, desk: Desk, request: bytes, *, between_events: bool | None
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
        desk.answer(exchange, refusals.KINDS[reason], request)
    elif between_events:
        exchange.finish(refusals.event(refusals.KINDS[reason], request))
    else:
        exchange.reset(_CANCEL)
