"""Tells the client of a call under way why the gateway ends it."""

from crewgate.core.audit.records import CallOutcome
from crewgate.core.problems import event, grpc_fields, of_running_call
from crewgate.core.reasons import Reason
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial, problem_type
from crewgate.gateway.call.problem_response import is_for_models, respond_with_problem
from crewgate.gateway.routes import RouteTable
from crewgate.server.exchange import Exchange

_CANCEL = 8  # RFC 9113 §7: the stream is no longer wanted
_INTERNAL_ERROR = 2
_REASONS = {
    CallOutcome.REVOKED: Reason.BRANCH_REVOKED,
    CallOutcome.EXPIRED: Reason.TOKEN_EXPIRED,
    CallOutcome.EXHAUSTED: Reason.CREDITS_EXHAUSTED,
    CallOutcome.UNFUNDED: Reason.BUDGET_UNAVAILABLE,
    CallOutcome.UNVOUCHED: Reason.REVOCATION_UNAVAILABLE,
}


def send_termination(
    outcome: CallOutcome,
    exchange: Exchange,
    routes: RouteTable,
    request_id: bytes,
    cause: Denial | Grant,
    *,
    is_touched: bool,
    between_events: bool | None = None,
    is_grpc: bool = False,
) -> None:
    """Tell the client of `exchange` why its call ends; nothing if its response is over.

    `cause` is the ledger's denial if credit is exhausted, else the call's grant. `is_touched`: the
    tool's server may have seen the call. `between_events`: whether the last server-sent event of
    the response was complete; None if it is no stream of events. `is_grpc`: it ends with a status
    in its trailers.
    """
    if exchange.done:
        return
    reason, form = _REASONS.get(outcome), exchange.problem_format
    if reason is None:
        exchange.reset(_INTERNAL_ERROR if outcome is CallOutcome.UPSTREAM_ERROR else _CANCEL)
        return
    denial = cause if isinstance(cause, Denial) else Denial(reason, cause)
    kind = problem_type(denial)
    if is_touched:
        kind = of_running_call(kind)
    if not exchange.started:
        respond_with_problem(exchange, routes, kind, request_id, denial, is_running=is_touched)
    elif between_events is not None and form is not None:
        last = form.event(kind, request_id, denial)
        finish_events(exchange, last, is_between=between_events)
    elif between_events:
        for_models = is_for_models(exchange.request, routes)
        exchange.finish(event(kind, request_id, denial, for_models=for_models))
    elif is_grpc:
        exchange.finish(b"", grpc_fields(kind, request_id, denial))
    else:
        exchange.reset(_CANCEL)


def finish_events(exchange: Exchange, last: bytes | None, *, is_between: bool) -> None:
    """End a stream of events with a last one that says why.

    Unless it `is_between` two events, the half of one is ended before. Its client skips that, and
    without the last event would wait for an answer that never comes.
    """
    exchange.finish((b"" if is_between else b"\n\n") + (last or b""))
