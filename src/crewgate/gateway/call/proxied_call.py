"""Forwards a call that was permitted, and ends it: settles its permit once, writes one record.

A call has no task. The client's exchange, the upstream pool and the registry of calls in flight
call its methods. Whichever of them ends the call first decides its outcome.

The call is charged as soon as one byte of it has reached the kernel's socket to the tool, and only
then.
"""

import logging
import time

from crewgate import errors
from crewgate._datapath.in_flight import InFlightCall
from crewgate._native.permit import Permit
from crewgate.core import problem_types
from crewgate.core.audit.records import CallOutcome
from crewgate.core.http_types import IDEMPOTENT_METHODS
from crewgate.core.problems import grpc_fields
from crewgate.core.rules.activity import EXEMPT
from crewgate.gateway.call import call_audit_line
from crewgate.gateway.call.call_digests import AnswerBody
from crewgate.gateway.call.call_services import CallServices
from crewgate.gateway.call.detached_response import DetachedResponse
from crewgate.gateway.call.problem_response import respond_with_problem, upstream_problem
from crewgate.gateway.call.request_body_upload import RequestBodyUpload
from crewgate.gateway.call.response_metering import ResponseMetering
from crewgate.gateway.call.response_relay import ResponseRelay
from crewgate.gateway.call.termination import finish_events, send_termination
from crewgate.gateway.call.undecided_call import UndecidedCall
from crewgate.gateway.tool_route import ToolRoute
from crewgate.upstream.interfaces import RequestHead, RequestStream, ReuseKey

_log = logging.getLogger(__name__)


class ProxiedCall(InFlightCall):
    """One call: an `ExchangeCallbacks` and an upstream `CallObserver` too.

    `outcome` is None until the call has ended. `is_touched`: a server may have seen the call.
    `status` is what that server answered, 0 for nothing. The pool sets `attempts` and `reuse_key`,
    the registry sets `extend_after_ns`. On the monotonic clock: `started_ns` is when the call was
    permitted, `sent_ns` when its request went upstream, `ended_ns` when it ended. `response` passes
    the response on.
    """

    __slots__ = (
        "_body",
        "_detached",
        "_entry",
        "_head",
        "_metering",
        "_outlives_client",
        "_routes",
        "_services",
        "_stays_open",
        "_upload",
        "attempts",
        "ended_ns",
        "exchange",
        "info",
        "is_touched",
        "outcome",
        "response",
        "reuse_key",
        "sent_ns",
        "started_ns",
        "status",
        "stream",
    )

    def __init__(
        self,
        services: CallServices,
        pending: UndecidedCall,
        entry: ToolRoute,
        head: RequestHead,
        permit: Permit,
    ) -> None:
        """`head` is the request's, as the tool gets it."""
        priced = pending.priced
        self.permit = permit
        self.exchange = pending.exchange
        self.peer = pending.exchange.peer
        self.info = pending.described
        self.outcome: CallOutcome | None = None
        self.stream: RequestStream | None = None
        self.is_touched = False
        self.status = 0
        self.attempts = 0
        self.reuse_key: ReuseKey = ""
        self._services = services
        self._routes = pending.routes
        self._entry = entry
        self._head = head
        self._body = pending.upstream_body  # None: it is in the exchange
        self._upload: RequestBodyUpload | None = None  # for a body that is still arriving
        self._metering: ResponseMetering | None = None
        if priced is not None:
            self._metering = ResponseMetering(
                services, permit, priced.meter, pending.body, pending.described.tool
            )
        message, rewriter = pending.message, None
        if message is not None:
            target = head.target.partition(b"?")[0]
            rewriter = message.response(permit, services.work, services.pins, target)
        compares = permit.call_digest > EXEMPT
        self.response = ResponseRelay(
            services,
            entry,
            self._metering,
            rewriter,
            straight=pending.routes.straight,
            answer=AnswerBody(is_message=message is not None) if compares else None,
        )
        self._detached: DetachedResponse | None = None  # set once its client has left
        self._outlives_client = message is not None and message.outlives_client
        self._stays_open = message is not None and message.stays_open
        self.ended_ns = 0
        self.started_ns = self.sent_ns = time.monotonic_ns()
        pending.exchange.watcher = self

    def start(self) -> None:
        """Send the call to the pool. If the gateway itself fails at that, the call ends too."""
        try:
            self._start()
        except BaseException:
            self.end(CallOutcome.UPSTREAM_ERROR)
            raise

    def take_over(
        self, stream: RequestStream | None, started_ns: int, sent_ns: int, body: bytes
    ) -> None:
        """Go on in place of a straight call, whose whole request `stream` carries, if any does."""
        self._body = body
        self.started_ns, self.sent_ns = started_ns, sent_ns
        self.stream = stream
        self.reuse_key = self._entry.pool.reuse_key(self.permit)

    def _start(self) -> None:
        exchange = self.exchange
        if self.outcome is not None:
            return
        if exchange.done:
            self._end(CallOutcome.CLIENT_GONE)
            return
        if max(self._head.length or 0, exchange.bytes_in) > exchange.body_bytes_max:
            self._refuse(problem_types.BODY_TOO_LARGE)
            return
        if self._body is None and (not exchange.complete or exchange.trailers):
            self._body = b""
            self._upload = RequestBodyUpload(exchange, self._entry)
            if exchange.complete and not self._has_good_trailers(self._upload):
                return
        elif self._body is None:
            self._body = exchange.take()
        self._entry.pool.start(self.permit, self)

    def end(self, outcome: CallOutcome) -> bool:
        """End the call because of `outcome`; False if it had ended."""
        is_first = self.outcome is None
        self._end(outcome)
        return is_first

    # Called by the pool and by the stream that carries the call upstream.

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return self.outcome is not None

    @property
    def wait_turn(self) -> tuple[ReuseKey, ...]:
        """The crew and the branch for which the call waits in a queue."""
        grant = self.permit.grant
        return grant.caller, grant.branch_key

    @property
    def repeatable(self) -> bool:
        """Whether another stream can still carry the call from its start."""
        has_sent = self._upload is not None and self._upload.has_sent
        return not (has_sent or self.exchange.started)

    @property
    def idempotent(self) -> bool:
        """Whether the server may see the request twice (RFC 9110 §9.2.2)."""
        return self._head.method in IDEMPOTENT_METHODS

    def begun(self, stream: RequestStream) -> None:
        """Send the request on this stream."""
        self.stream = stream
        self.sent_ns = time.monotonic_ns()
        has_begun = stream.begin(self._head, self._body or b"", ends=self._upload is None)
        if has_begun and self._upload is not None:
            self._send_body()

    def again(self) -> None:
        """Wait for another stream: the one before is lost, and the call is tried again."""
        stream, self.stream = self.stream, None
        if self._upload is not None:
            self._upload.is_blocked = False
        self.is_touched = self.is_touched or (stream is not None and stream.touched)

    def progressed(self) -> None:
        """Pass on what has arrived of the response."""
        if self._detached is not None:
            self._detached.read()
            return
        try:
            if self._metering is None:
                self.response.relay(self)
            else:
                self._metering.relay(self)
        except errors.PeerError:
            self.lost()
        except errors.UnusableResponseError as error:
            self.failed(error)

    def writable(self) -> None:
        """Send more of the body."""
        if self._upload is not None:
            self._upload.is_blocked = False
            self._send_body()

    def failed(self, error: errors.UpstreamError) -> None:
        """Tell the client that there is no response, or no more of it."""
        self.release_stream()
        # The pool logs it when it gives a server up.
        if not isinstance(error, errors.UpstreamCircuitOpenError):
            name = self._entry.pool.upstream.name
            _log.warning("upstream %s: a call failed: %s", name, error, extra={"subject": name})
        self._respond(upstream_problem(error, is_touched=self.is_touched))
        self._end(CallOutcome.UPSTREAM_ERROR)

    # Called by the client's exchange.

    def body_arrived(self) -> None:
        """Send what has arrived of the body."""
        self._send_body()

    def drained(self) -> None:
        """Read on upstream: the client has read what was sent, and what follows is paid for."""
        if self.stream is not None and not (self._metering and self._metering.holds_back):
            self.stream.resume()
            self.progressed()

    def too_large(self) -> None:
        """Refuse the call: its body is larger than the tool accepts."""
        self._refuse(problem_types.BODY_TOO_LARGE)

    def lost(self) -> None:
        """End the call, or go on without its client."""
        metering = self._metering
        if not (self._detach() if metering is None else metering.reads_on(self)):
            self._end(CallOutcome.CLIENT_GONE)

    def _detach(self) -> bool:
        """Go on without the client, if its leaving is no cancellation; False to end the call."""
        crew, stream = self.permit.grant.caller, self.stream
        if not self._outlives_client or self.over or stream is None or self._detached is not None:
            return False
        if not self._services.detached.take(1, crew):
            return False
        self.ignore_client()
        self._detached = DetachedResponse(self._services, crew, self._drop, self._give_up)
        stream.resume()
        self._detached.read()
        return True

    def _drop(self) -> tuple[int, bool]:
        """Drop what has arrived of the response; return its size, and whether it is all."""
        if self.stream is None or self.over or not self.stream.answer.status:
            return 0, False
        return self.response.drop(self, self.stream)

    def _give_up(self) -> None:
        self._end(CallOutcome.CLIENT_GONE)

    # The request.

    @property
    def is_uploading(self) -> bool:
        """Whether some of the request has still to be sent."""
        return self._upload is not None and not self._upload.is_over

    def _send_body(self) -> None:
        upload, stream = self._upload, self.stream
        if upload is None or stream is None or self.outcome is not None:
            return
        try:
            upload.send(stream)
        except errors.PeerError:
            self.lost()
        except errors.InvalidRequestError:
            self._refuse(problem_types.INVALID_REQUEST)

    def _has_good_trailers(self, upload: RequestBodyUpload) -> bool:
        """Return whether the trailers may go upstream; refuse the call if not."""
        try:
            upload.trailers()
        except errors.InvalidRequestError:
            self._refuse(problem_types.INVALID_REQUEST)
            return False
        return True

    # The end.

    def ignore_client(self) -> None:
        """Stop observing the exchange: nothing that the client does matters any more."""
        self.response.body.close()
        self.exchange.watcher = None

    def release_body(self) -> None:
        """Drop the request's body, because the call is not tried again."""
        self._body = b""

    def release_stream(self) -> None:
        """Let go of the stream upstream, and remember what its server has seen and answered."""
        stream, self.stream = self.stream, None
        if stream is not None:
            self.is_touched = self.is_touched or stream.touched
            self.status = stream.answer.status
            stream.release()

    @property
    def lasted_us(self) -> int:
        """How long the call has lasted until its end, in microseconds."""
        return (self.ended_ns - self.started_ns) // 1000

    def _refuse(self, kind: problem_types.ProblemType) -> None:
        """Refuse a call for a reason that was not known when it was authorized."""
        self._respond(kind)
        self._end(CallOutcome.REFUSED)

    def _respond(self, kind: problem_types.ProblemType) -> None:
        between_events = self.response.body.between_events
        self.ignore_client()
        if not self.exchange.started:
            grant = self.permit.grant
            respond_with_problem(
                self.exchange,
                self._routes,
                kind,
                self.info.id,
                grant=grant,
                is_running=self.is_touched,
            )
        elif between_events is not None and self.exchange.problem_format is not None:
            last = self.exchange.problem_format.event(kind, self.info.id)
            finish_events(self.exchange, last, is_between=between_events)
        elif self.response.is_grpc:
            self.exchange.finish(b"", grpc_fields(kind, self.info.id, grant=self.permit.grant))

    def _end(self, outcome: CallOutcome) -> None:
        """End the call; the first outcome counts. A metered call may have to pay a rest first."""
        if self.outcome is not None:
            return
        if self._metering is None:
            self.finish(outcome)
        else:
            self._metering.end(self, outcome)

    def finish(self, outcome: CallOutcome) -> None:
        """Tell the client, then settle the call and record it."""
        metering, permit = self._metering, self.permit
        self.outcome = outcome
        self.ended_ns = time.monotonic_ns()
        self.ignore_client()
        self.release_stream()
        self.response.close()
        if self._stays_open:
            self._services.open_streams.free(self._entry.pool.upstream, permit.grant)
        if outcome is not CallOutcome.DONE:
            denial = metering.denial if metering and outcome is CallOutcome.EXHAUSTED else None
            if denial is not None:
                self._services.work.cancel_branch(permit.grant.branch_key)
            send_termination(
                outcome,
                self.exchange,
                self._routes,
                self.info.id,
                permit.grant if denial is None else denial,
                is_touched=self.is_touched,
                between_events=self.response.body.between_events,
                is_grpc=self.response.is_grpc,
            )
        cost = permit.price_micro if self.is_touched else 0
        if self.is_touched and metering is not None:
            cost = metering.final_cost(self.info.id, outcome)
        if self._detached is not None:
            self._detached.close()
        self._services.in_flight.remove(self)
        if self.is_touched:
            self.response.note_answer(permit, outcome, self.status, cost)
        call_audit_line.record_end(self._services, self, metering, outcome, cost)
