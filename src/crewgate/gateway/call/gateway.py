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
from crewgate.gateway.bad_token_limit import Strangers
from crewgate.gateway.call.call_services import Landing
from crewgate.gateway.call.in_flight import Live
from crewgate.gateway.call.interfaces import Errands, Judge, Relief, Sink
from crewgate.gateway.call.metered_call import flight_of
from crewgate.gateway.call.pending_call import Case, Door, read_head, request_ids
from crewgate.gateway.call.request_pricing import Reader
from crewgate.gateway.call.settlement_queue import Turns
from crewgate.gateway.headers import Identities
from crewgate.gateway.routes import Entry, Site
from crewgate.server import Exchange

_network = lru_cache(maxsize=4096)(peer_network)


@lru_cache(maxsize=64)
def _method(method: bytes) -> str:
    return method.decode("ascii")


class Gateway(Landing):
    """Serves the exchanges of one listener. `door` and `site` may be replaced at any time."""

    wait_seconds: float = limits.credit_wait_seconds

    def __init__(
        self,
        door: Door,
        site: Site,
        judge: Judge,
        live: Live,
        sink: Sink,
        turns: Turns,
        errands: Errands,
    ) -> None:
        super().__init__(site, judge, live, sink, turns, errands)
        self.door = door
        self._ids = request_ids()
        self._identities = Identities()
        self._strangers = Strangers()
        self._turns = turns
        self._reader = Reader()

    def accept(self, exchange: Exchange) -> Coroutine[None, None, None] | None:
        """Answer inline, or return what carries the call. Is the listener's application."""
        request = exchange.request
        if request.path == refusals.METADATA_PATH and request.method in {b"GET", b"HEAD"}:
            exchange.respond(200, [(b"content-type", b"application/json")], self.site.metadata)
            return None
        if request.method == b"OPTIONS" and self.door.serves(request.authority):
            allowed = cors.preflight(request, self.site.find)
            if allowed is not None:
                exchange.respond(204, allowed)
                return None
        case = self._open(exchange)
        if case is None:
            return None
        if exchange.upgrades:
            self._refuse_after(case, Reason.UPGRADE)
            return None
        entry = case.entry
        if entry is None or not (entry.judges_body or entry.tariff):
            return self._decide(case)
        crew = self._crew_of(case)
        if crew is None:
            return None
        if not exchange.complete and entry.reads_body:
            return self._judge_body(case, entry, crew)
        return self._decide_priced(case)

    # Inside.

    def _describe(self, exchange: Exchange, entry: Entry | None) -> audit.Request:
        return audit.Request(
            time.time_ns(),
            next(self._ids),
            self.door.name,
            _network(exchange.peer.address),
            entry.name if entry is not None else "",
            _method(exchange.request.method),
            exchange.peer.serial_text,
        )

    def _open(self, exchange: Exchange) -> Case | None:
        """Route a request and read its head; None if it has been refused already."""
        request = exchange.request
        entry = self.site.find(request.method, request.path, request.authority)
        described = self._describe(exchange, entry)
        if not self.door.serves(request.authority):
            self.answer(exchange, refusals.MISDIRECTED, described.id)
            return None
        found = read_head(exchange, self.site, entry, described.time_ns / 1e9)
        if isinstance(found, Reason):
            self._refuse(exchange, described, found)
            return None
        return Case(exchange, self.site, entry, *found, described)

    def _decide(self, case: Case) -> Coroutine[None, None, None] | None:
        """Ask the gate; what may be relieved is waited for in a coroutine."""
        verdict = self._ask(case, drawn=False)
        if isinstance(verdict, Denial) and verdict.retry:
            # Begun here, and not in the task that waits for it, which others may go before.
            relief = self._judge.relieve(verdict, case.tool, case.price)
            return self._ask_again(case, relief)
        self._act(case, verdict)
        return None

    def _decide_priced(self, case: Case) -> Coroutine[None, None, None] | None:
        """Price a request whose body is there, as far as its price is read in it, then decide."""
        priced = self._price(case)
        return None if priced is None else self._decide(priced)

    def _price(self, case: Case) -> Case | None:
        """Price a request; None if it has been refused, because that cannot be done."""
        case = case.with_body()
        try:
            return case.with_price()
        except RequestRefusedError as error:
            self._cannot_price(case, str(error))
            return None

    def _cannot_price(self, case: Case, why: str) -> None:
        """Tell a caller that may use the tool why; charge nothing for a call that is observed."""
        self._refuse_after(case, Reason.UNPRICED, f"{why[:1].upper()}{why[1:]}.", observes=True)

    def _refuse_after(
        self, case: Case, reason: Reason, detail: str = "", *, observes: bool = False
    ) -> None:
        """Refuse a call for `reason` once the gate has found nothing else against it.

        `observes`: one that is only observed goes on.
        """
        verdict = self._ask(case, drawn=False, price=0)
        if isinstance(verdict, Denial) and (verdict.grant is None or not verdict.retry):
            self._act(case, verdict)
            return
        if not isinstance(verdict, Denial):
            if observes and verdict.observed:
                self._act(case, verdict)
                return
            verdict.release()
        denial = Denial(reason, verdict.grant)
        kind = refusals.KINDS[reason]
        kind = structs.replace(kind, detail=detail) if detail else kind
        self.answer(case.exchange, kind, case.described.id)
        self.sink.write(record_builder.denied(case.described, denial))

    def _ask(self, case: Case, *, drawn: bool, price: int | None = None) -> Permit | Denial:
        """Ask the gate; a call that may be bounded to what is left is asked for again."""
        priced = case.priced
        for _ in range(limits.price_lowerings_max):
            verdict = self._judge.decide(
                case.token,
                case.tool,
                request=case.described.id,
                peer_crew=case.crew,
                observe=self.door.observe,
                drawn=drawn,
                price=case.price if price is None else price,
                loose=priced is not None and priced.loose,
            )
            if not isinstance(verdict, Denial) or priced is None or not priced.lower_for(verdict):
                break
        return verdict

    def _act(self, case: Case, verdict: Permit | Denial) -> None:
        """Refuse, or register the call in the same breath and let it go."""
        exchange, entry = case.exchange, case.entry
        if isinstance(verdict, Denial):
            if case.fields is None and verdict.reason is Reason.UNKNOWN_TOOL:
                verdict = Denial(Reason.INVALID_REQUEST, verdict.grant)
            self._refuse(exchange, case.described, verdict.reason, verdict)
            return
        if entry is None or case.fields is None or not self.sink.ready():
            verdict.release()
            self.answer(exchange, refusals.AUDIT_UNAVAILABLE, case.described.id)
            return
        head = case.head(entry, case.fields, self._identities.of(verdict.grant))
        flight = flight_of(self, case, entry, head, verdict)
        self.live.add(flight)
        if exchange.complete or case.body is not None:
            flight.launch()
        else:  # a small body comes with its head: then both go in one piece
            self._turns.at_end(flight.launch)

    async def _ask_again(self, case: Case, relief: Relief) -> None:
        """Have credit fetched, or a policy loaded, for as long as that helps and time is left."""
        current: Case | None = case
        with trio.move_on_after(self.wait_seconds) as scope:
            while True:
                asked = case.price
                is_relieved = await relief.wait()
                current = self._renew(case)
                if current is None:
                    return
                case = current
                verdict = self._ask(case, drawn=True)
                if not isinstance(verdict, Denial) or not verdict.retry:
                    break
                if not is_relieved and case.price == asked:  # it was not bounded to what is left
                    break
                relief = self._judge.relieve(verdict, case.tool, case.price)
        if scope.cancelled_caught:  # what was waited for may have come in this moment
            current = self._renew(case)
            if current is None:
                return
            case = current
            verdict = self._ask(case, drawn=True)
        self._act(case, verdict)

    def _crew_of(self, case: Case) -> str | None:
        """Whose call it is; None if it has been refused, before its body is read and priced."""
        verdict = self._ask(case, drawn=False, price=0)
        if not isinstance(verdict, Denial):
            verdict.release()
        elif not verdict.retry:
            self._act(case, verdict)
            return None
        return verdict.grant.crew if verdict.grant is not None else ""

    async def _judge_body(self, case: Case, entry: Entry, crew: str) -> None:
        """Wait for the body, or as much of it as is judged, and leave it to be forwarded."""
        exchange = case.exchange
        if entry.tariff is not None and entry.tariff.reads_body:
            refuse = partial(self.answer, exchange, refusals.BODY_TOO_LARGE, case.described.id)
            body = await self._reader.read(exchange, crew, refuse)
            if body is None:
                self.answer(exchange, refusals.BUSY, case.described.id)
                return
            case = structs.replace(case, body=body)
        else:
            await exchange.fill(limits.judged_body_bytes_max)
        current = self._renew(case)
        work = None if current is None else self._decide_priced(current)
        if work is not None:
            await work

    def _renew(self, case: Case) -> Case | None:
        """Route again if a reload came while the case waited: tools have other numbers now."""
        if case.site is self.site:
            return case
        current = self._open(case.exchange)
        if current is None:
            return None
        entry, body = current.entry, case.body
        reads = entry is not None and entry.tariff is not None and entry.tariff.reads_body
        if reads and body is None and not case.exchange.complete:
            self.answer(
                case.exchange, refusals.BUSY, case.described.id
            )  # to be read from its start
            return None
        return self._price(structs.replace(current, body=body))

    def _refuse(
        self,
        exchange: Exchange,
        described: audit.Request,
        reason: Reason,
        denial: Denial | None = None,
    ) -> None:
        """Answer, and note it: with a record once a signature was good, else in a count."""
        if reason is Reason.INVALID_TOKEN:
            self._strangers.note(exchange, time.monotonic())
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
