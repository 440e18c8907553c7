"""A permitted call on its way: to the tool's server, back to the client, to its end and its record.

Whatever happens, the permit is settled or released exactly once, the carrier released, and one
record written. A call is charged as soon as one byte of it has reached the kernel's socket to the
tool, and only then. It has no task: client, tool and registry call it, and it ends in `_end`.
Judges nothing.
"""

import time
from collections.abc import Sequence

from crewgate._native.permit import Permit
from crewgate.core.audit import record_builder
from crewgate.core.audit import records as audit
from crewgate.core.audit.records import CallOutcome
from crewgate.core.credits import format_credits
from crewgate.core.grpc_status import is_native
from crewgate.core.http import HeaderField
from crewgate.core.pricing import sse
from crewgate.core.verdict import Denial, Reason
from crewgate.errors import ClientError, UpstreamError
from crewgate.gateway import refusals
from crewgate.gateway.call.request_body import RequestBodyPump
from crewgate.gateway.call.termination import ResponseFraming, TerminationServices, send_termination
from crewgate.gateway.cors import shared
from crewgate.gateway.headers import LEFT, USED, downstream_headers, trailer_fields
from crewgate.gateway.routes import ToolRoute
from crewgate.server import Exchange
from crewgate.upstream import RequestHead, RequestStream, Response, ReuseKey

_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})  # RFC 9110 §9.2.2


class ProxiedCall(RequestBodyPump):
    """One call. Is the exchange's `AddressObserver` and the upstream's `Caller`."""

    __slots__ = (
        "_between_events",
        "_bytes_out",
        "_head",
        "_is_grpc",
        "_request",
        "_seen",
        "_services",
        "_started_ns",
        "_status",
        "attempts",
        "extend_after_ns",
        "peer",
        "permit",
        "reuse_key",
    )  # fmt: skip

    def __init__(
        self,
        services: TerminationServices,
        exchange: Exchange,
        entry: ToolRoute,
        head: RequestHead,
        permit: Permit,
        request: audit.CallInfo,
    ) -> None:
        """`head` is what goes upstream."""
        super().__init__(exchange, entry)
        self.permit = permit
        self.peer = exchange.peer
        self.attempts = 0
        self.reuse_key: ReuseKey = ""
        self.extend_after_ns = 0
        self._services = services
        self._head = head
        self._request = request
        self._seen = False  # by a server whose carrier is gone,
        self._status = 0  # and what that one answered
        self._bytes_out = 0
        self._between_events: bool | None = None  # None: this is no stream of events
        self._is_grpc = False
        self._started_ns = time.monotonic_ns()
        exchange.watcher = self

    def launch(self) -> None:
        """Go; an error of ours, which others tell of, is the end of the call as well."""
        try:
            self.start()
        except BaseException:
            self.end(CallOutcome.UPSTREAM_ERROR)
            raise

    def start(self) -> None:
        """Go, unless the call is over or the client has gone meanwhile."""
        exchange = self._exchange
        if self._outcome is not None:
            return
        if exchange.done:
            self._end(CallOutcome.CLIENT_GONE)
            return
        if max(self._head.length or 0, exchange.bytes_in) > exchange.body_bytes_max:
            self._refuse(refusals.BODY_TOO_LARGE)
            return
        taken = self.body is not None
        self._uploading = not taken and (not exchange.complete or bool(exchange.trailers))
        if not self._uploading:
            self._body = self.body if self.body is not None else exchange.take()
        elif exchange.complete and self._trailers() is None:
            self._refuse(refusals.PROBLEM_TYPES[Reason.INVALID_REQUEST])
            return
        self._entry.pool.start(self.permit, self)

    def end(self, outcome: CallOutcome) -> bool:
        """End the call now, because of `outcome`. False if it was over."""
        ended = self._outcome is None
        self._end(outcome)
        return ended

    # The upstream's side.

    @property
    def over(self) -> bool:
        """Whether nothing is wanted any more."""
        return self._outcome is not None

    @property
    def wait_turn(self) -> tuple[ReuseKey, ...]:
        """Whose turn it takes where calls wait."""
        grant = self.permit.grant
        return grant.caller, grant.branch_key

    @property
    def repeatable(self) -> bool:
        """Whether nothing of the body is used up, and nothing of an answer."""
        return not (self._began or self._exchange.started)

    @property
    def idempotent(self) -> bool:
        """Whether the server may see the request twice."""
        return self._head.method in _IDEMPOTENT

    def begun(self, stream: RequestStream) -> None:
        """Send the request on this carrier."""
        self._carrier = stream
        if stream.begin(self._head, self._body, ends=not self._uploading) and self._uploading:
            self._upload()

    def again(self) -> None:
        """Keep what comes of the body until there is another carrier."""
        stream, self._carrier, self._full = self._carrier, None, False
        self._seen = self._seen or (stream is not None and stream.touched)

    def progressed(self) -> None:
        """Bring on what has come of the answer."""
        try:
            self._download()
        except ClientError:
            self._gone()

    def failed(self, error: UpstreamError) -> None:
        """Tell the client that there is no answer, or no more of it."""
        self._entry.pool.log_failure(error, time.monotonic())
        self._answer(refusals.failed(error))
        self._end(CallOutcome.UPSTREAM_ERROR)

    # The client's side.

    def drained(self) -> None:
        """Read on: the client has read."""
        if self._carrier is not None:
            self._carrier.resume()
            self.progressed()

    def too_large(self) -> None:
        """Refuse: more of the body has come than the tool takes."""
        self._refuse(refusals.BODY_TOO_LARGE)

    def lost(self) -> None:
        """Go on without the client, or not."""
        self._gone()

    def _refuse(self, kind: refusals.ProblemType) -> None:
        """End a call that would not have begun, had all of it been known."""
        self._answer(kind)
        self._end(CallOutcome.REFUSED)

    # Down.

    def _download(self) -> None:
        stream, exchange = self._carrier, self._exchange
        if stream is None or self._outcome is not None:
            return
        answer = stream.answer
        data = b""
        if not exchange.started:
            if answer.informed:
                for status, fields in answer.take_informational():
                    exchange.inform(status, downstream_headers(fields, status))
            if not answer.status:
                return
            data = self._take(answer)
            ends = self._is_whole(answer) and not (data or answer.trailers)
            self._begin_answer(answer, ends=ends)
        data = data or self._take(answer)
        self._bytes_out += len(data)
        if self._is_whole(answer):
            self._leave()
            exchange.finish(data, [*trailer_fields(answer.trailers), *self._last_fields()])
            self._end(CallOutcome.DONE)
        elif data:
            if self._between_events is not None:
                self._between_events = data.endswith(sse.ENDS)
            if not exchange.push(data):
                stream.pause()

    def _take(self, answer: Response) -> bytes:
        """What has come of the body, and may go on."""
        return answer.take()

    def _is_whole(self, answer: Response) -> bool:
        """Whether no more follows what `_take` gave."""
        return answer.complete

    def _passed_fields(self, headers: list[HeaderField]) -> list[HeaderField]:
        """What goes on of the answer's fields."""
        return headers

    def _first_fields(self) -> list[HeaderField]:
        """What the gateway says of the call at the head of its answer."""
        return [
            (USED, format_credits(self.permit.price).encode()),
            (LEFT, format_credits(self.permit.left).encode()),
        ]

    def _last_fields(self) -> list[HeaderField]:
        """The same at its end, instead where the head is all of it."""
        return []

    def _gone(self) -> None:
        """The client has gone."""
        self._end(CallOutcome.CLIENT_GONE)

    def _begin_answer(self, answer: Response, *, ends: bool) -> None:
        entry, exchange = self._entry, self._exchange
        passed = downstream_headers(answer.headers, answer.status, version=entry.version)
        headers = self._passed_fields(passed)
        if entry.cors is not None:
            headers = shared(entry.cors, exchange.request, headers)
        headers += (self._last_fields() if ends else []) or self._first_fields()
        if not answer.complete:
            self._note_opening(answer.status, headers)
        exchange.start(answer.status, headers, ends=ends)

    def _note_opening(self, status: int, headers: Sequence[HeaderField]) -> None:
        """See whether this is a stream: it gets an opening record, and events a last one."""
        fields = dict(headers)
        if b"content-length" in fields:
            return
        if sse.is_stream(fields):
            self._between_events = True
        self._is_grpc = is_native(fields.get(b"content-type", b""))
        grant, price, would = self.permit.grant, self.permit.price, self.permit.would
        record = record_builder.opened(self._request, grant, price, status=status, would=would)
        self._services.opened(record)

    # The end.

    def _leave(self) -> None:
        """Hear nothing more of the client, because the rest is said to him now."""
        self._exchange.watcher = None

    def _answer(self, kind: refusals.ProblemType) -> None:
        """Say what the problem is, if it can still be said."""
        self._leave()
        if not self._exchange.started:
            self._services.answer(self._exchange, kind, self._request.id)
        elif self._is_grpc:
            self._exchange.finish(b"", refusals.grpc_fields(kind, self._request.id))

    def _end(self, outcome: CallOutcome) -> None:
        """End: the first reason counts."""
        if self._outcome is not None:
            return
        self._outcome = outcome
        self._leave()
        self._let_go()
        if outcome is not CallOutcome.DONE:
            between, for_models = self._between_events is True, self._entry.serves_models
            manner = ResponseFraming(between, self._is_grpc, for_models, self._denial())
            send_termination(outcome, self._exchange, self._services, self._request.id, manner)
        cost = self._cost(outcome) if self._seen else 0
        told = cost if self.permit.held or not self.permit.price else 0
        self._services.call_ended(self, self._line(outcome, self._status, told), cost)

    def _let_go(self) -> None:
        """Want nothing more of the tool's server, and remember what it has seen and said."""
        stream, self._carrier = self._carrier, None
        if stream is not None:
            self._seen, self._status = self._seen or stream.touched, stream.answer.status
            stream.release()

    def _lasted_us(self) -> int:
        return (time.monotonic_ns() - self._started_ns) // 1000

    def _denial(self) -> Denial | None:
        """What the ledger said, where credit ended."""
        return None

    def _cost(self, outcome: CallOutcome) -> int:  # noqa: ARG002 - a fixed price is paid in any case
        """What a call costs that the tool may have seen."""
        return self.permit.price

    def _line(self, outcome: CallOutcome, status: int, cost: int) -> bytes:
        """Say how it ended; no cost where the agent has burned it, with a record of its own."""
        permit, request = self.permit, self._request
        return self._services.lines.line(request, permit.grant).end(
            request.time_ns,
            request.id,
            outcome,
            cost,
            permit.remaining,
            self._lasted_us(),
            status,
            self._exchange.bytes_in,
            self._bytes_out,
            permit.would,
            request.certificate,
        )
