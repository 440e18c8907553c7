"""The way of a request: route, judge, then refuse inline or forward.

The route is looked up first and judged last, so that without a good token an unknown path looks
like any other. What was judged is what is forwarded: the same target bytes, the same body. Does no
I/O itself; judge, sink and registry are handed over.
"""

import time
from collections.abc import Coroutine
from functools import lru_cache, partial

import trio
from msgspec import structs

from crewgate import limits
from crewgate._native.permit import Permit
from crewgate.core.audit import record_builder
from crewgate.core.audit import records as audit
from crewgate.core.audit.network_prefix import peer_network
from crewgate.core.verdict import Denial, Reason
from crewgate.errors import RequestRefusedError
from crewgate.gateway import cors, refusals
from crewgate.gateway.bad_token_limit import BadTokenLimiter
from crewgate.gateway.call.call_services import CallServices
from crewgate.gateway.call.in_flight import InFlightCalls
from crewgate.gateway.call.interfaces import (
    Authorizer,
    BackgroundTaskRunner,
    DecisionSink,
    RetryCondition,
)
from crewgate.gateway.call.metered_call import make_call
from crewgate.gateway.call.pending_call import (
    ListenerPolicy,
    PendingCall,
    extract_credentials,
    request_ids,
)
from crewgate.gateway.call.request_pricing import BodyReader
from crewgate.gateway.call.settlement_queue import LoopHooks
from crewgate.gateway.headers import IdentityHeaderCache
from crewgate.gateway.routes import RouteTable, ToolRoute
from crewgate.server import Exchange

_network = lru_cache(maxsize=4096)(peer_network)


@lru_cache(maxsize=64)
def _method(method: bytes) -> str:
    return method.decode("ascii")


class Gateway(CallServices):
    """Serves the exchanges of one listener. `policy` and `routes` may be replaced at any time."""

    wait_seconds: float = limits.credit_wait_seconds

    def __init__(
        self,
        policy: ListenerPolicy,
        routes: RouteTable,
        authorizer: Authorizer,
        in_flight: InFlightCalls,
        sink: DecisionSink,
        loop_hooks: LoopHooks,
        background_tasks: BackgroundTaskRunner,
    ) -> None:
        super().__init__(routes, authorizer, in_flight, sink, loop_hooks, background_tasks)
        self.policy = policy
        self._ids = request_ids()
        self._identities = IdentityHeaderCache()
        self._bad_tokens = BadTokenLimiter()
        self._turns = loop_hooks
        self._reader = BodyReader()

    def accept(self, exchange: Exchange) -> Coroutine[None, None, None] | None:
        """Answer inline, or return what carries the call. Is the listener's application."""
        request = exchange.request
        if request.path == refusals.METADATA_PATH and request.method in {b"GET", b"HEAD"}:
            exchange.respond(200, [(b"content-type", b"application/json")], self.routes.metadata)
            return None
        if request.method == b"OPTIONS" and self.policy.serves(request.authority):
            allowed = cors.preflight(request, self.routes.find)
            if allowed is not None:
                exchange.respond(204, allowed)
                return None
        pending = self._open(exchange)
        if pending is None:
            return None
        if exchange.upgrades:
            self._refuse_after(pending, Reason.UPGRADE)
            return None
        entry = pending.entry
        if entry is None or not (entry.judges_body or entry.tariff):
            return self._decide(pending)
        crew = self._crew_of(pending)
        if crew is None:
            return None
        if not exchange.complete and entry.reads_body:
            return self._judge_body(pending, entry, crew)
        return self._decide_priced(pending)

    def _describe(self, exchange: Exchange, entry: ToolRoute | None) -> audit.CallInfo:
        return audit.CallInfo(
            time.time_ns(),
            next(self._ids),
            self.policy.name,
            _network(exchange.peer.address),
            entry.name if entry is not None else "",
            _method(exchange.request.method),
            exchange.peer.serial_text,
        )

    def _open(self, exchange: Exchange) -> PendingCall | None:
        """Route a request and read its head; None if it has been refused already."""
        request = exchange.request
        entry = self.routes.find(request.method, request.path, request.authority)
        described = self._describe(exchange, entry)
        if not self.policy.serves(request.authority):
            self.answer(exchange, refusals.MISDIRECTED, described.id)
            return None
        found = extract_credentials(exchange, self.routes, entry, described.time_ns / 1e9)
        if isinstance(found, Reason):
            self._refuse(exchange, described, found)
            return None
        return PendingCall(exchange, self.routes, entry, *found, described)

    def _decide(self, pending: PendingCall) -> Coroutine[None, None, None] | None:
        """Ask the gate; what may be relieved is waited for in a coroutine."""
        verdict = self._ask(pending, drawn=False)
        if isinstance(verdict, Denial) and verdict.retry:
            # Begun here, and not in the task that waits for it, which others may go before.
            retry = self._judge.relieve(verdict, pending.tool, pending.price)
            return self._ask_again(pending, retry)
        self._act(pending, verdict)
        return None

    def _decide_priced(self, pending: PendingCall) -> Coroutine[None, None, None] | None:
        """Price a request whose body is there, as far as its price is read in it, then decide."""
        priced = self._price(pending)
        return None if priced is None else self._decide(priced)

    def _price(self, pending: PendingCall) -> PendingCall | None:
        """Price a request; None if it has been refused, because that cannot be done."""
        pending = pending.with_body()
        try:
            return pending.with_price()
        except RequestRefusedError as error:
            self._cannot_price(pending, str(error))
            return None

    def _cannot_price(self, pending: PendingCall, why: str) -> None:
        """Tell a caller that may use the tool why; charge nothing for a call that is observed."""
        self._refuse_after(pending, Reason.UNPRICED, f"{why[:1].upper()}{why[1:]}.", observes=True)

    def _refuse_after(
        self, pending: PendingCall, reason: Reason, detail: str = "", *, observes: bool = False
    ) -> None:
        """Refuse a call for `reason` once the gate has found nothing else against it.

        `observes`: one that is only observed goes on.
        """
        verdict = self._ask(pending, drawn=False, price=0)
        if isinstance(verdict, Denial) and (verdict.grant is None or not verdict.retry):
            self._act(pending, verdict)
            return
        if not isinstance(verdict, Denial):
            if observes and verdict.observed:
                self._act(pending, verdict)
                return
            verdict.release()
        denial = Denial(reason, verdict.grant)
        kind = refusals.PROBLEM_TYPES[reason]
        kind = structs.replace(kind, detail=detail) if detail else kind
        self.answer(pending.exchange, kind, pending.described.id)
        self.sink.write(record_builder.denied(pending.described, denial))

    def _ask(
        self, pending: PendingCall, *, drawn: bool, price: int | None = None
    ) -> Permit | Denial:
        """Ask the gate; a call that may be bounded to what is left is asked for again."""
        priced = pending.priced
        for _ in range(limits.price_lowerings_max):
            verdict = self._judge.decide(
                pending.token,
                pending.tool,
                request=pending.described.id,
                peer_crew=pending.crew,
                observe=self.policy.observe,
                drawn=drawn,
                price=pending.price if price is None else price,
                loose=priced is not None and priced.loose,
            )
            if not isinstance(verdict, Denial) or priced is None or not priced.lower_for(verdict):
                break
        return verdict

    def _act(self, pending: PendingCall, verdict: Permit | Denial) -> None:
        """Refuse, or register the call in the same breath and let it go."""
        exchange, entry = pending.exchange, pending.entry
        if isinstance(verdict, Denial):
            if pending.fields is None and verdict.reason is Reason.UNKNOWN_TOOL:
                verdict = Denial(Reason.INVALID_REQUEST, verdict.grant)
            self._refuse(exchange, pending.described, verdict.reason, verdict)
            return
        if entry is None or pending.fields is None or not self.sink.ready():
            verdict.release()
            self.answer(exchange, refusals.AUDIT_UNAVAILABLE, pending.described.id)
            return
        head = pending.head(entry, pending.fields, self._identities.of(verdict.grant))
        call = make_call(self, pending, entry, head, verdict)
        self.in_flight.add(call)
        if exchange.complete or pending.body is not None:
            call.launch()
        else:  # a small body comes with its head: then both go in one piece
            self._turns.at_end(call.launch)

    async def _ask_again(self, pending: PendingCall, retry: RetryCondition) -> None:
        """Have credit fetched, or a policy loaded, for as long as that helps and time is left."""
        current: PendingCall | None = pending
        with trio.move_on_after(self.wait_seconds) as scope:
            while True:
                asked = pending.price
                is_relieved = await retry.wait()
                current = self._renew(pending)
                if current is None:
                    return
                pending = current
                verdict = self._ask(pending, drawn=True)
                if not isinstance(verdict, Denial) or not verdict.retry:
                    break
                if not is_relieved and pending.price == asked:  # it was not bounded to what is left
                    break
                retry = self._judge.relieve(verdict, pending.tool, pending.price)
        if scope.cancelled_caught:  # what was waited for may have come in this moment
            current = self._renew(pending)
            if current is None:
                return
            pending = current
            verdict = self._ask(pending, drawn=True)
        self._act(pending, verdict)

    def _crew_of(self, pending: PendingCall) -> str | None:
        """Whose call it is; None if it has been refused, before its body is read and priced."""
        verdict = self._ask(pending, drawn=False, price=0)
        if not isinstance(verdict, Denial):
            verdict.release()
        elif not verdict.retry:
            self._act(pending, verdict)
            return None
        return verdict.grant.crew if verdict.grant is not None else ""

    async def _judge_body(self, pending: PendingCall, entry: ToolRoute, crew: str) -> None:
        """Wait for the body, or as much of it as is judged, and leave it to be forwarded."""
        exchange = pending.exchange
        if entry.tariff is not None and entry.tariff.reads_body:
            refuse = partial(self.answer, exchange, refusals.BODY_TOO_LARGE, pending.described.id)
            body = await self._reader.read(exchange, crew, refuse)
            if body is None:
                self.answer(exchange, refusals.BUSY, pending.described.id)
                return
            pending = structs.replace(pending, body=body)
        else:
            await exchange.fill(limits.judged_body_bytes_max)
        current = self._renew(pending)
        work = None if current is None else self._decide_priced(current)
        if work is not None:
            await work

    def _renew(self, pending: PendingCall) -> PendingCall | None:
        """Route again if a reload came while the case waited: tools have other numbers now."""
        if pending.routes is self.routes:
            return pending
        current = self._open(pending.exchange)
        if current is None:
            return None
        entry, body = current.entry, pending.body
        reads = entry is not None and entry.tariff is not None and entry.tariff.reads_body
        if reads and body is None and not pending.exchange.complete:
            self.answer(
                pending.exchange, refusals.BUSY, pending.described.id
            )  # to be read from its start
            return None
        return self._price(structs.replace(current, body=body))

    def _refuse(
        self,
        exchange: Exchange,
        described: audit.CallInfo,
        reason: Reason,
        denial: Denial | None = None,
    ) -> None:
        """Answer, and note it: with a record once a signature was good, else in a count."""
        if reason is Reason.INVALID_TOKEN:
            self._bad_tokens.note(exchange, time.monotonic())
        self.answer(
            exchange,
            refusals.kind_of(reason, denial),
            described.id,
            denial=denial,
            scope=described.tool,
        )
        if denial is not None and denial.grant is not None:
            self.sink.write(record_builder.denied(described, denial))
        else:
            self.sink.count(described.listener, reason, described.peer)
