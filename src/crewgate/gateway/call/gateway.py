"""One call through the gateway, as a sequence of five steps.

1. Authorize: find the tool and the token (`undecided_call`), and ask the gate (`authorizer`).
2. Reserve: the gate takes the price out of the branch's lease together with its verdict. If credit
   is missing, the call waits while it is drawn.
3. Forward: the request to the tool, the response to the client (`proxied_call`,
   `request_body_upload`). If the price is read in the response, it is paid for as it arrives
   (`response_metering`).
4. Settle: at the call's end its cost is known, and the rest of the reservation returns.
5. Record: one line in the audit (`call_audit_line`), written before the settlement
   (`_datapath.ended_calls`), so that no settled call lacks one.

The route is looked up first and checked last: without a good token an unknown path looks like any
other. The gateway forwards what it has authorized: the same bytes of the target, the same body.
"""

from collections.abc import Coroutine
from functools import partial

import trio
from msgspec import structs

from crewgate import limits
from crewgate._datapath.grant_cache import GrantCache
from crewgate._datapath.straight_routes import RoutedListener
from crewgate._native.permit import Permit
from crewgate._native.request_id import RequestIds
from crewgate.core import problem_types
from crewgate.core.audit import records as audit
from crewgate.core.problem_types import ProblemType
from crewgate.core.problems import RefusalResponse
from crewgate.core.reasons import Reason
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial
from crewgate.errors import InvalidRequestError
from crewgate.gateway.call.authorizer import RetryCondition
from crewgate.gateway.call.call_description import describe
from crewgate.gateway.call.call_services import CallServices
from crewgate.gateway.call.gate_question import ask_gate, needs_body, note_refusal
from crewgate.gateway.call.own_answers import answers_itself
from crewgate.gateway.call.proxied_call import ProxiedCall
from crewgate.gateway.call.refusals import Refusals
from crewgate.gateway.call.request_pricing import BodyReader, BodyTooLargeHandler
from crewgate.gateway.call.straight_support import straight_calls
from crewgate.gateway.call.undecided_call import (
    ListenerPolicy,
    UndecidedCall,
    extract_credentials,
)
from crewgate.gateway.endpoint import UnservedRequestError
from crewgate.gateway.headers import identity_headers
from crewgate.gateway.mcp_group.call_pipeline import CallPipeline
from crewgate.gateway.mcp_group.group_handler import GroupHandler
from crewgate.gateway.routes import RouteTable
from crewgate.gateway.tool_route import ToolRoute
from crewgate.gateway.trace_propagation import trace_of
from crewgate.server.exchange import Exchange


class Gateway(RoutedListener):
    """Serves the exchanges of one listener. `policy` and `routes` may be replaced at any time."""

    def __init__(self, policy: ListenerPolicy, routes: RouteTable, services: CallServices) -> None:
        self.policy = policy
        self.routes = routes
        self._services = services
        self._authorizer = services.authorizer
        self._ids = RequestIds()
        self._identities = GrantCache(identity_headers)
        # Takes the requests for which no exchange is needed.
        self.straight = straight_calls(self, services, self._identities, self._ids)
        self._refusals = Refusals(services)
        self._body_reader = BodyReader()
        pipeline = CallPipeline(
            self._ask_gate,
            self._forward_or_refuse,
            self._refuse_after,
            lambda pending: self._price_and_authorize(pending, pending.grant),
            lambda pending: pending.routes is not self.routes,
        )
        self._groups = GroupHandler(services, self._refusals, self._body_reader, pipeline)

    def accept(self, exchange: Exchange) -> Coroutine[None, None, None] | None:
        """Take an exchange through all steps, or return the coroutine that does so after a wait.

        Most calls wait for nothing between their arrival and their way upstream.
        """
        if answers_itself(exchange, self.policy, self.routes):
            return None
        pending = self._read(exchange)
        if pending is None:
            return None
        entry = pending.entry
        if entry is not None and entry.is_group:
            return self._groups.serve(pending, pending.routes.groups[entry.name])
        if exchange.upgrades:
            self._refuse_after(pending, Reason.UPGRADE)
        elif max(exchange.request.length or 0, exchange.bytes_in) > exchange.body_bytes_max:
            self._refuse_large_body(pending)
        elif entry is None or not (entry.tariff or needs_body(self._authorizer, exchange, entry)):
            return self._authorize(pending)
        elif exchange.complete or not needs_body(self._authorizer, exchange, entry):
            return self._authorize_by_body(pending, entry)
        else:  # a small body arrives in the same turn, and then needs no task
            self._watch_body(pending)
            work = partial(self._authorize_by_body, pending, entry)
            self._services.poller.at_end(partial(exchange.proceed, work))
        return None

    def _authorize(self, pending: UndecidedCall) -> Coroutine[None, None, None] | None:
        """Ask the gate, whose permit has reserved the price; then forward the call, or refuse it.

        If credit or a policy is missing, return the coroutine that waits for it.
        """
        verdict = self._ask_gate(pending, drawn=False)
        if isinstance(verdict, Denial) and verdict.retry:
            # The draw begins here and not in the coroutine, whose task may start after others.
            self._watch_body(pending)
            retry = self._authorizer.relieve(verdict, pending.tool, pending.price)
            return self._authorize_after_draw(pending, retry)
        self._forward_or_refuse(pending, verdict)
        return None

    def _forward_or_refuse(self, pending: UndecidedCall, verdict: Permit | Denial) -> None:
        """Forward a permitted call. It settles and records itself when it ends."""
        exchange, entry, services = pending.exchange, pending.entry, self._services
        if isinstance(verdict, Denial):
            if pending.fields is None and verdict.reason is Reason.UNKNOWN_TOOL:
                verdict = Denial(Reason.INVALID_REQUEST, verdict.grant)
            note_refusal(self._authorizer, pending, verdict, observe=self.policy.observe)
            self._refusals.refuse(exchange, self.routes, pending.described, verdict.reason, verdict)
            return
        # If the routes were replaced while the call waited, its message has not been judged.
        is_unjudged = entry is not None and entry.endpoint is not None and pending.message is None
        if entry is None or pending.fields is None or is_unjudged or not services.sink.ready():
            verdict.release()
            kind = problem_types.BUSY if is_unjudged else problem_types.AUDIT_UNAVAILABLE
            self._refuse_unrecorded(exchange, pending.described, kind, verdict.grant)
            return
        if self._refusals.refuses_message(pending, entry, verdict):
            return
        identity = self._identities.of(verdict.grant)
        budget = () if pending.message is None else pending.message.budget_fields(verdict)
        head = pending.head(entry, pending.fields, identity, budget)
        call = ProxiedCall(services, pending, entry, head, verdict)
        services.in_flight.add(call)  # before anything can revoke it unseen
        if exchange.complete or pending.body is not None:
            call.start()
        else:  # a small body arrives in the same turn: head and body are sent upstream together
            services.poller.at_end(call.start)

    # Step 1: the request.

    def _read(self, exchange: Exchange) -> UndecidedCall | None:
        """Find a request's tool and its token; None if it has been refused."""
        request = exchange.request
        entry = self.routes.find(request.method, request.path, request.authority)
        trace = trace_of(request.headers, self.routes.trace_sample)
        tool = "" if entry is None else entry.name
        info = describe(exchange, self.policy.name, self._ids, tool, trace)
        if not self.policy.serves(request.authority):
            self._refuse_unrecorded(exchange, info, problem_types.MISDIRECTED)
            return None
        if entry is not None and entry.endpoint is not None:
            exchange.problem_format = entry.endpoint.problem_format_of(request)
            if (problem := entry.endpoint.http_problem(request, entry.cors)) is not None:
                self._refuse_unrecorded(exchange, info, problem)
                return None
        found = extract_credentials(exchange, self.policy, self.routes, entry, info.time_ns / 1e9)
        if isinstance(found, Reason):
            self._refusals.refuse(exchange, self.routes, info, found)
            return None
        return UndecidedCall(exchange, self.routes, entry, *found, info, trace)

    def _read_again(self, pending: UndecidedCall) -> UndecidedCall | None:
        """Find the tool again if the routes were replaced while the call waited.

        None if the call has been refused, or if its client has left. If that happens in the turn
        that ends the wait, it is too late to cancel the coroutine.
        """
        exchange = pending.exchange
        if exchange.done:
            return None
        if pending.routes is self.routes:
            return pending
        current = self._read(exchange)
        if current is None:
            return None
        entry, body = current.entry, pending.body
        if pending.rewritten is not None:  # it would have to find its endpoint again
            self._refuse_unrecorded(exchange, pending.described, problem_types.BUSY, pending.grant)
            return None
        if entry is not None and entry.reads_whole_body and body is None and not exchange.complete:
            # The new tariff reads the body from its start, which may be gone already.
            self._refuse_unrecorded(exchange, pending.described, problem_types.BUSY)
            return None
        return self._with_price(structs.replace(current, body=body), pending.grant)

    # Step 1: the gate. Step 2: the gate's permit holds the reservation.

    def _ask_gate(
        self,
        pending: UndecidedCall,
        *,
        drawn: bool,
        price: int | None = None,
        counts: bool = True,
    ) -> Permit | Denial:
        """Without `counts`, no limit on calls applies: the call does not go on with a permit."""
        return ask_gate(
            self._authorizer,
            pending,
            observe=self.policy.observe,
            drawn=drawn,
            price=price,
            counts=counts,
        )

    async def _authorize_after_draw(self, pending: UndecidedCall, retry: RetryCondition) -> None:
        """Wait while credit is drawn or a policy is loaded, then ask the gate again.

        As often as that may help, for at most `services.wait_seconds`.
        """
        current: UndecidedCall | None = pending
        with trio.move_on_after(self._services.wait_seconds) as scope:
            while True:
                asked = pending.price
                may_help = await retry.wait()
                current = self._read_again(pending)
                if current is None:
                    return
                pending = current
                verdict = self._ask_gate(pending, drawn=True)
                if not isinstance(verdict, Denial) or not verdict.retry:
                    break
                if not may_help and pending.price == asked:
                    break
                retry = self._authorizer.relieve(verdict, pending.tool, pending.price)
        if scope.cancelled_caught:  # the credit may have come at this very moment
            current = self._read_again(pending)
            if current is None:
                return
            pending = current
            verdict = self._ask_gate(pending, drawn=True)
        self._forward_or_refuse(pending, verdict)

    # Prices that are read in the body, and tools that are authorized by their body.

    def _verdict_without_price(self, pending: UndecidedCall) -> Permit | Denial | None:
        """Ask the gate before the body is read; None if the call has been refused."""
        verdict = self._ask_gate(pending, drawn=False, price=0, counts=False)
        if not isinstance(verdict, Denial):
            verdict.release()
        elif not verdict.retry:
            self._forward_or_refuse(pending, verdict)
            return None
        return verdict

    def _authorize_by_body(
        self, pending: UndecidedCall, entry: ToolRoute
    ) -> Coroutine[None, None, None] | None:
        """Authorize a call whose body may have arrived in the same turn as its head."""
        exchange = pending.exchange
        if exchange.done:
            return None
        if pending.routes is not self.routes:
            return self.accept(exchange)
        if entry.endpoint is not None and exchange.complete:
            # The usual message needs one verdict, which is about what it uses.
            grant = self._authorizer.grant_for(pending.token, pending.tool, pending.presenter)
            if grant is not None:
                return self._price_and_authorize(pending, grant)
        verdict = self._verdict_without_price(pending)
        return None if verdict is None else self._authorize_after(pending, entry, verdict)

    def _authorize_after(
        self, pending: UndecidedCall, entry: ToolRoute, verdict: Permit | Denial
    ) -> Coroutine[None, None, None] | None:
        """Go on with a call whose verdict without a price is not final."""
        grant, exchange = verdict.grant, pending.exchange
        if entry.endpoint is not None and grant is None:
            self._watch_body(pending)
            return self._authorize_when_fresh(pending, verdict)
        if needs_body(self._authorizer, exchange, entry) and not exchange.complete:
            return self._authorize_with_body(pending, entry, grant)
        return self._price_and_authorize(pending, grant)

    async def _authorize_when_fresh(self, pending: UndecidedCall, verdict: Permit | Denial) -> None:
        """Wait until the gate can verify tokens: what a message names depends on its branch."""
        if isinstance(verdict, Denial):
            with trio.move_on_after(self._services.wait_seconds):
                await self._authorizer.relieve(verdict, pending.tool).wait()
        current = self._read_again(pending)
        found = None if current is None else self._verdict_without_price(current)
        if current is None or current.entry is None or found is None:
            return
        if isinstance(found, Denial) and found.grant is None:
            self._forward_or_refuse(current, found)
            return
        work = self._authorize_after(current, current.entry, found)
        if work is not None:
            await work

    async def _authorize_with_body(
        self, pending: UndecidedCall, entry: ToolRoute, grant: Grant | None
    ) -> None:
        """Wait for the body, or for as much of it as is judged; then go on."""
        exchange = pending.exchange
        if entry.reads_whole_body:
            crew = grant.crew if grant is not None else ""
            too_large = partial(self._refuse_large_body, pending)
            body = await self._body_reader.read(exchange, crew, too_large)
            if body is None:
                self._refuse_unrecorded(exchange, pending.described, problem_types.BUSY, grant)
                return
            pending = structs.replace(pending, body=body, grant=grant)
        else:
            await exchange.fill(limits.judged_body_bytes_max)
        current = self._read_again(pending)
        work = None if current is None else self._price_and_authorize(current, grant)
        if work is not None:
            await work

    def _price_and_authorize(
        self, pending: UndecidedCall, grant: Grant | None
    ) -> Coroutine[None, None, None] | None:
        current = self._with_price(pending, grant)
        return None if current is None else self._authorize(current)

    def _with_price(self, pending: UndecidedCall, grant: Grant | None) -> UndecidedCall | None:
        """Return the call with what its body uses and costs; None if it has been refused.

        `grant` is that of its token, which an endpoint needs.
        """
        try:
            pending = pending.judged(grant)
        except UnservedRequestError as error:
            self._refuse_after(pending, Reason.INVALID_REQUEST, error.response)
            return None
        if pending.message is not None:
            pending.exchange.problem_format = pending.message.problem_format
        try:
            return pending.with_price()
        except InvalidRequestError as error:
            why = str(error)
            kind = structs.replace(
                problem_types.PROBLEM_TYPES[Reason.UNPRICED],
                detail=f"{why[:1].upper()}{why[1:]}.",
            )
            self._refuse_after(pending, Reason.UNPRICED, kind, may_observe=True)
            return None

    # Refusals.

    def _watch_body(self, pending: UndecidedCall) -> None:
        """Have the call refused if its body grows too large while the call waits for a verdict."""
        refuse = partial(self._refuse_large_body, pending)
        pending.exchange.watcher = BodyTooLargeHandler(pending.exchange, refuse)

    def _refuse_large_body(self, pending: UndecidedCall) -> None:
        self._refuse_after(pending, Reason.BODY_TOO_LARGE)

    def _refuse_after(
        self,
        pending: UndecidedCall,
        reason: Reason,
        answer: ProblemType | RefusalResponse | None = None,
        *,
        may_observe: bool = False,
    ) -> None:
        """Refuse a call for `reason`, but only if the gate finds nothing else against it.

        `answer` is what its client gets, if that is not the problem of the reason. `may_observe`:
        in observe mode the call goes on, and costs nothing.
        """
        verdict = self._ask_gate(pending, drawn=False, price=0, counts=False)
        if isinstance(verdict, Denial) and (verdict.grant is None or not verdict.retry):
            self._forward_or_refuse(pending, verdict)
            return
        if not isinstance(verdict, Denial):
            if may_observe and verdict.in_observe_mode:
                self._forward_or_refuse(pending, verdict)
                return
            verdict.release()
        self._refusals.refuse_with(
            pending.exchange,
            self.routes,
            pending.described,
            answer or problem_types.PROBLEM_TYPES[reason],
            Denial(reason, verdict.grant),
        )

    def _refuse_unrecorded(
        self,
        exchange: Exchange,
        info: audit.CallInfo,
        kind: ProblemType,
        grant: Grant | None = None,
    ) -> None:
        self._refusals.refuse_unrecorded(exchange, self.routes, info, kind, grant)
