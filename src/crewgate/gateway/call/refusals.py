"""Answers a call that is refused before it is forwarded, and records or counts the refusal."""

import time

from msgspec import structs

from crewgate._native.permit import Permit
from crewgate.core import problem_types
from crewgate.core.audit import records as audit
from crewgate.core.problem_types import ProblemType
from crewgate.core.problems import RefusalResponse
from crewgate.core.reasons import Reason
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial, problem_type
from crewgate.gateway import cors
from crewgate.gateway.bad_token_throttle import BadTokenThrottle
from crewgate.gateway.call.call_services import CallServices
from crewgate.gateway.call.gate_question import note_refusal
from crewgate.gateway.call.problem_response import respond_with_problem
from crewgate.gateway.call.undecided_call import UndecidedCall
from crewgate.gateway.endpoint import JudgedRequest
from crewgate.gateway.routes import RouteTable
from crewgate.gateway.tool_route import ToolRoute
from crewgate.server.exchange import Exchange

# Each costs a signature, which its sender never made.
_COSTLY = {Reason.INVALID_TOKEN, Reason.INVALID_PROOF, Reason.PROOF_REPLAYED}
_MANY_STREAMS = structs.replace(
    problem_types.BUSY,
    title="Too many open streams",
    detail="This branch or its crew has too many open streams at this server. Close one, or call "
    "without a stream.",
)


class Refusals:
    """The refusals of one listener."""

    def __init__(self, services: CallServices) -> None:
        self._services = services
        self._bad_tokens = BadTokenThrottle()

    def refuse(
        self,
        exchange: Exchange,
        routes: RouteTable,
        info: audit.CallInfo,
        reason: Reason,
        denial: Denial | None = None,
    ) -> None:
        """Answer with the problem. Record it if the token's signature was good, else count it."""
        if reason in _COSTLY:
            self._bad_tokens.note(exchange, time.monotonic())
        kind = problem_types.PROBLEM_TYPES[reason] if denial is None else problem_type(denial)
        exchange.watcher = None  # it refers to the call, whose body takes memory
        respond_with_problem(exchange, routes, kind, info.id, denial, info.tool)
        if denial is not None and denial.grant is not None:
            self._services.record_refusal(info, denial)
        else:
            self._services.sink.count(info.listener, reason, info.peer)

    def refuse_with(
        self,
        exchange: Exchange,
        routes: RouteTable,
        info: audit.CallInfo,
        answer: ProblemType | RefusalResponse,
        denial: Denial,
    ) -> None:
        """Answer with a problem that says more than its reason, or with a response; record it."""
        exchange.watcher = None
        if isinstance(answer, ProblemType):
            respond_with_problem(exchange, routes, answer, info.id, denial)
        else:
            status, headers, body = answer
            headers = cors.shared_refusal(exchange.request, routes.find, headers)
            exchange.respond(status, headers, body)
        self._services.record_refusal(info, denial)

    def refuses_message(self, pending: UndecidedCall, entry: ToolRoute, permit: Permit) -> bool:
        """Refuse a permitted call for its tool, its arguments, or for what else its message uses.

        Return False if they permit it. In observe mode, the permit notes why it would
        be refused, and the call goes on. A stream that stays open is counted, until it has ended.
        """
        message = pending.message
        if message is None:
            return False
        objection = self._objection(message, permit)
        if objection is not None and self._objects(objection, pending, permit):
            return True
        if not message.stays_open:
            return False
        if self._services.open_streams.take(entry.pool.upstream, permit.grant):
            return False
        permit.release()
        self.refuse_unrecorded(
            pending.exchange, pending.routes, pending.described, _MANY_STREAMS, permit.grant
        )
        return True

    def _objects(
        self, objection: tuple[Reason, str], pending: UndecidedCall, permit: Permit
    ) -> bool:
        """Refuse a call for an objection; return False in observe mode, which only notes it."""
        reason, detail = objection
        if permit.in_observe_mode:
            permit.note_observed(reason)
            return False
        permit.release()
        kind = problem_types.PROBLEM_TYPES[reason]
        answer = structs.replace(kind, detail=detail or kind.detail)
        denial = Denial(reason, permit.grant)
        note_refusal(self._services.authorizer, pending, denial, observe=False)
        self.refuse_with(pending.exchange, pending.routes, pending.described, answer, denial)
        return True

    def _objection(self, message: JudgedRequest, permit: Permit) -> tuple[Reason, str] | None:
        """Return the reason to refuse a message, and its detail if there is one."""
        if message.also and not all(map(permit.allows, message.also)):
            return Reason.TOOL_NOT_ALLOWED, ""
        reason = message.pin_refusal(self._services.pins)
        if reason is not None:
            return reason, ""
        detail = message.refused_arguments()
        return (Reason.ARGUMENTS_NOT_ALLOWED, detail) if detail else None

    def refuse_unrecorded(
        self,
        exchange: Exchange,
        routes: RouteTable,
        info: audit.CallInfo,
        kind: ProblemType,
        grant: Grant | None = None,
    ) -> None:
        """Answer with a problem, and only count it: the audit has no record of it."""
        exchange.watcher = None
        respond_with_problem(exchange, routes, kind, info.id, grant=grant)
        self._services.call_metrics.count_unrecorded(info.listener, kind.slug)
