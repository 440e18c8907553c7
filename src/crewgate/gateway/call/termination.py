"""What a flight needs of its gateway, and how a client is told that its call was cut."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from crewgate._native.audit_line import AuditLines
from crewgate.core.audit import records as audit
from crewgate.core.audit.records import CallOutcome
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial, Reason
from crewgate.gateway import refusals
from crewgate.gateway.call.in_flight import InFlightCall
from crewgate.gateway.call.interfaces import DrawCallback
from crewgate.server import Exchange

_CANCEL = 8  # RFC 9113 §7: the stream is no longer wanted
_INTERNAL_ERROR = 2
_CUT = {
    CallOutcome.REVOKED: Reason.BRANCH_REVOKED,
    CallOutcome.EXPIRED: Reason.TOKEN_EXPIRED,
    CallOutcome.EXHAUSTED: Reason.CREDITS_EXHAUSTED,
    CallOutcome.UNFUNDED: Reason.BUDGET_UNAVAILABLE,
    CallOutcome.UNVOUCHED: Reason.REVOCATION_UNAVAILABLE,
}


class TerminationServices(Protocol):
    """The gateway, as a flight sees it."""

    lines: AuditLines

    def answer(
        self,
        exchange: Exchange,
        kind: refusals.ProblemType,
        request: bytes,
        *,
        denial: Denial | None = None,
    ) -> None:
        """Answer with a problem."""

    def explained(self, denial: Denial) -> Denial:
        """The same with the window that is spent, if credits come back by themselves."""

    def opened(self, record: audit.Record) -> None:
        """Write that a stream has begun."""

    def call_ended(self, call: InFlightCall, line: bytes, cost: int) -> None:
        """Forget the flight, write its line in the audit, then settle its permit at `cost`."""

    def fund(self, grant: Grant, need: int, done: DrawCallback) -> None:
        """Have credit drawn; `done` hears how that ended, None where nobody said."""

    def later(self, seconds: float, work: Callable[[], None]) -> Callable[[], None]:
        """Call `work` after so long; what is returned takes that back."""

    def overran(self, request: bytes, grant: Grant, amount: int) -> None:
        """Say that the answer of call `request` stated more than it may cost."""


class ResponseFraming(NamedTuple):
    """How an answer under way can be ended so that its client understands.

    `between_events`: a stream of events could have its next one now. `is_grpc`: it ends with a
    status in its trailers. `for_models`: its client is one of a language model. `denial` is what
    the ledger said, where credit ended.
    """

    between_events: bool = False
    is_grpc: bool = False
    for_models: bool = False
    denial: Denial | None = None


def send_termination(
    outcome: CallOutcome,
    exchange: Exchange,
    services: TerminationServices,
    request: bytes,
    manner: ResponseFraming,
) -> None:
    """Tell the client of `exchange` why its call has ended; nothing if its answer is over."""
    if exchange.done:
        return
    reason = _CUT.get(outcome)
    denial = manner.denial if outcome is CallOutcome.EXHAUSTED else None
    if reason is None:
        exchange.reset(_INTERNAL_ERROR if outcome is CallOutcome.UPSTREAM_ERROR else _CANCEL)
        return
    kind = refusals.kind_of(reason, denial)
    if not exchange.started:
        services.answer(exchange, kind, request, denial=denial)
    elif manner.between_events:
        exchange.finish(refusals.event(kind, request, denial, for_models=manner.for_models))
    elif manner.is_grpc:
        exchange.finish(b"", refusals.grpc_fields(kind, request, denial))
    else:
        exchange.reset(_CANCEL)
