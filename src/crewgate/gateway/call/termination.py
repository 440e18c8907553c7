"""What a flight needs of its gateway, and how a client is told that its call was cut."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from crewgate._native.call_line import CallLines
from crewgate.core.audit import records as audit
from crewgate.core.audit.records import Outcome
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial, Reason
from crewgate.gateway import refusals
from crewgate.gateway.call.in_flight import Flight
from crewgate.gateway.call.interfaces import Told
from crewgate.server import Exchange

_CANCEL = 8  # RFC 9113 §7: the stream is no longer wanted
_INTERNAL_ERROR = 2
_CUT = {
    Outcome.REVOKED: Reason.BRANCH_REVOKED,
    Outcome.EXPIRED: Reason.TOKEN_EXPIRED,
    Outcome.EXHAUSTED: Reason.CREDITS_EXHAUSTED,
    Outcome.UNFUNDED: Reason.BUDGET_UNAVAILABLE,
    Outcome.UNVOUCHED: Reason.REVOCATION_UNAVAILABLE,
}


class Tower(Protocol):
    """The gateway, as a flight sees it."""

    lines: CallLines

    def answer(
        self,
        exchange: Exchange,
        kind: refusals.Kind,
        request: bytes,
        *,
        denial: Denial | None = None,
    ) -> None:
        """Answer with a problem."""

    def explained(self, denial: Denial) -> Denial:
        """The same with the window that is spent, if credits come back by themselves."""

    def opened(self, record: audit.Record) -> None:
        """Write that a stream has begun."""

    def landed(self, flight: Flight, line: bytes, cost: int) -> None:
        """Forget the flight, write its line in the audit, then settle its permit at `cost`."""

    def fund(self, grant: Grant, need: int, done: Told) -> None:
        """Have credit drawn; `done` hears how that ended, None where nobody said."""

    def later(self, seconds: float, work: Callable[[], None]) -> Callable[[], None]:
        """Call `work` after so long; what is returned takes that back."""

    def overran(self, request: bytes, grant: Grant, amount: int) -> None:
        """Say that the answer of call `request` stated more than it may cost."""


class Manner(NamedTuple):
    """How an answer under way can be ended so that its client understands.

    `between_events`: a stream of events could have its next one now. `is_grpc`: it ends with a
    status in its trailers. `for_models`: its client is one of a language model. `denial` is what
    the ledger said, where credit ended.
    """

    between_events: bool = False
    is_grpc: bool = False
    for_models: bool = False
    denial: Denial | None = None


def say_why(
    outcome: Outcome, exchange: Exchange, tower: Tower, request: bytes, manner: Manner
) -> None:
    """Tell the client of `exchange` why its call has ended; nothing if its answer is over."""
    if exchange.done:
        return
    reason = _CUT.get(outcome)
    denial = manner.denial if outcome is Outcome.EXHAUSTED else None
    if reason is None:
        exchange.reset(_INTERNAL_ERROR if outcome is Outcome.UPSTREAM_ERROR else _CANCEL)
        return
    kind = refusals.kind_of(reason, denial)
    if not exchange.started:
        tower.answer(exchange, kind, request, denial=denial)
    elif manner.between_events:
        exchange.finish(refusals.event(kind, request, denial, for_models=manner.for_models))
    elif manner.is_grpc:
        exchange.finish(b"", refusals.grpc_fields(kind, request, denial))
    else:
        exchange.reset(_CANCEL)
