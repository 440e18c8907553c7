"""The way of a request: route, judge, then refuse inline or forward.

The route is looked up first and judged last, so that without a good token an unknown path looks
like any other. What was judged is what is forwarded: the same target bytes, the same body. Does no
I/O itself; judge, sink and registry are handed over.
"""

import time
from collections.abc import Coroutine, Sequence
from functools import lru_cache, partial
from typing import Protocol

import trio

from crewgate import limits
from crewgate._native.call_line import CallLines
from crewgate._native.permit import Permit
from crewgate.core import calls
from crewgate.core import record as audit
from crewgate.core.network import peer_network
from crewgate.core.record import Outcome
from crewgate.core.verdict import Denial, Reason
from crewgate.gateway import cors, refusals
from crewgate.gateway.books import Books, Turns
from crewgate.gateway.case import UNKNOWN, Case, Door, read_head, request_ids
from crewgate.gateway.fields import Identities
from crewgate.gateway.flight import Flight
from crewgate.gateway.live import Flight as Ended
from crewgate.gateway.live import Live
from crewgate.gateway.site import Entry, Site
from crewgate.gateway.strangers import Strangers
from crewgate.server import Exchange

_network = lru_cache(maxsize=4096)(peer_network)


@lru_cache(maxsize=64)
def _method(method: bytes) -> str:
    return method.decode("ascii")


class Judge(Protocol):
    """The gate, and how credit is fetched for it."""

    def decide(
        self,
        token: bytes,
        tool: int,
        *,
        request: bytes = b"",
        peer_crew: str | None = None,
        observe: bool = False,
        drawn: bool = False,
    ) -> Permit | Denial:
        """Return the verdict, without waiting."""

    async def relieve(self, denial: Denial, tool: int) -> bool:
        """Work on what a denial with `retry` is about; False if asking again at once is in vain.

        The caller bounds the wait.
        """


class Sink(Protocol):
    """Where records go."""

    def ready(self) -> bool:
        """Return False if calls must be refused because they could not be recorded."""

    def write(self, record: audit.Record) -> object:
        """Take a record."""

    def write_lines(self, lines: Sequence[bytes]) -> object:
        """Take records, each as its line."""

    def count(self, listener: str, reason: Reason, network: str) -> None:
        """Count a refusal before a good signature."""


class Gateway:
    """Serves the exchanges of one listener. `door` and `site` may be replaced at any time."""

    wait_seconds: float = limits.credit_wait_seconds_max

    def __init__(
        self, door: Door, site: Site, judge: Judge, live: Live, sink: Sink, turns: Turns
    ) -> None:
        self.site = site
        self.door = door
        self.live = live
        self.sink = sink
        self.lines = CallLines()
        self._ids = request_ids()
        self._identities = Identities()
        self._strangers = Strangers()
        self._books = Books(sink, turns)
        self._turns = turns
        self._judge = judge

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
        if case.entry is not None and case.entry.judges_body and not exchange.complete:
            return None if self._turns_away(case) else self._judge_body(case)
        return self._decide(case)

    def answer(
        self,
        exchange: Exchange,
        kind: refusals.Kind,
        request: bytes,
        *,
        denial: Denial | None = None,
        scope: str = "",
    ) -> None:
        """Answer with a problem."""
        asked = exchange.request
        fields = refusals.fields(kind, asked.authority, scope=scope)
        exchange.respond(
            kind.status,
            cors.shared_refusal(asked, self.site.find, fields),
            refusals.document(kind, request, denial),
        )

    # The flights' side.

    def opened(self, record: audit.Record) -> None:
        """Write that a stream has begun."""
        self.sink.write(record)

    def landed(self, flight: Ended, line: bytes, *, charged: bool) -> None:
        """Forget a flight, and have it recorded and settled at the end of this turn."""
        self.live.remove(flight)
        self._books.enter(line, flight.permit, charged=charged)

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
        entry = self.site.find(request.method, request.path)
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
            return self._ask_again(case, verdict)
        self._act(case, verdict)
        return None

    def _ask(self, case: Case, *, drawn: bool) -> Permit | Denial:
        return self._judge.decide(
            case.token,
            case.tool,
            request=case.described.id,
            peer_crew=case.crew,
            observe=self.door.observe,
            drawn=drawn,
        )

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
        flight = Flight(self, exchange, entry, head, verdict, case.described)
        self.live.add(flight)
        if exchange.complete:
            _launch(flight)
        else:  # a small body comes with its head: then both go in one piece
            self._turns.at_end(partial(_launch, flight))

    async def _ask_again(self, case: Case, verdict: Permit | Denial) -> None:
        """Have credit fetched, or a policy loaded, for as long as that helps and time is left."""
        current: Case | None = case
        with trio.move_on_after(self.wait_seconds):
            while isinstance(verdict, Denial) and verdict.retry:
                if not await self._judge.relieve(verdict, case.tool):
                    break
                current = self._renew(case)
                if current is None:
                    return
                case = current
                verdict = self._ask(case, drawn=True)
        if isinstance(verdict, Denial):
            current = self._renew(case)
            if current is None:
                return
            case = current
            verdict = self._ask(case, drawn=True)
        self._act(case, verdict)

    def _turns_away(self, case: Case) -> bool:
        """Refuse a stranger before a body is kept for him; asking for no tool reserves nothing."""
        verdict = self._judge.decide(case.token, UNKNOWN, request=case.described.id)
        if not isinstance(verdict, Denial) or verdict.grant is not None or verdict.retry:
            return False
        self._refuse(case.exchange, case.described, verdict.reason, verdict)
        return True

    async def _judge_body(self, case: Case) -> None:
        """Wait for the body, or as much of it as is judged, and leave it to be forwarded."""
        await case.exchange.fill(limits.judged_body_bytes_max)
        current = self._renew(case)
        work = None if current is None else self._decide(current)
        if work is not None:
            await work

    def _renew(self, case: Case) -> Case | None:
        """Route again if a reload came while the case waited: tools have other numbers now."""
        return case if case.site is self.site else self._open(case.exchange)

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
            refusals.KINDS[reason],
            described.id,
            denial=denial,
            scope=described.tool,
        )
        if denial is not None and denial.grant is not None:
            self.sink.write(calls.denied(described, denial))
        else:
            self.sink.count(described.listener, reason, described.peer)


def _launch(flight: Flight) -> None:
    try:
        flight.start()
    except BaseException:  # an error of ours, which others tell of: the call is over as well
        flight.end(Outcome.UPSTREAM_ERROR)
        raise
