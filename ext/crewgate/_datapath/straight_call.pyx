"""Carries straight calls from their permit to their audit record, by compiled code alone.

`straight_routes` says which requests are straight. This module takes such a request through the
five steps of gateway/call/gateway.py, with the same parts: the gate, the field filters, the
connections to the tool's servers, the audit lines, the metrics and the settlement.

It knows only calls that go as usual. If the answer to a call is unusual, fails or is late, if the
client leaves, if the call is revoked or expires, or if the worker shuts down, the call becomes an
ordinary one (`become_ordinary`), and the Python way goes on with it. No function here answers with
a problem, sends a request twice, or ends a call otherwise than with the outcome "done".
"""

from ngh2 import NGH2Error

from crewgate.core.audit.records import CallInfo, CallOutcome
from crewgate.errors import UpstreamError

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcmp

from crewgate._datapath.ended_calls cimport EndedCallQueue
from crewgate._datapath.http1_connection cimport HTTP1Connection
from crewgate._datapath.http2_message cimport HTTP2Message
from crewgate._datapath.http2_protocol cimport HTTP2Protocol, RequestTaker
from crewgate._datapath.http2_stream cimport HTTP2Stream
from crewgate._datapath.in_flight cimport InFlightCall
from crewgate._datapath.straight_answer cimport send_answer
from crewgate._datapath.straight_request cimport after_host, context_of, http2_head, with_host
from crewgate._datapath.straight_routes cimport (
    RoutedListener, StraightRoute, StraightRoutes, body_size, straight_route_of,
)
from crewgate._datapath.whole_answer cimport WholeAnswer
from crewgate._native.audit_line cimport (
    AuditLines, AuditLineTemplate, CallTimes, Ending, serial_of, slug_of,
    trace_of as trace_text_of,
)
from crewgate._native.bearer cimport bearer_search, proof_of
from crewgate._native.fields cimport SLICES_USUAL, message_field
from crewgate._native.gate cimport Gate
from crewgate._native.permit cimport Permit, grant_of
from crewgate._native.presenter cimport Presenter
from crewgate._native.proof cimport Proof
from crewgate._native.request_id cimport RequestIds

from crewgate._native.fields import written

cdef extern from "clock.h" nogil:
    const int CLOCK_MONOTONIC, CLOCK_REALTIME
    uint64_t cg_clock_ns(int clock)

cdef object DONE = CallOutcome.DONE
cdef bytes DONE_TEXT = DONE.value.encode()


cdef inline bytes slice_of(const unsigned char *text, size_t size):
    return PyBytes_FromStringAndSize(<const char *>text, size)


cdef class StraightCalls:
    """See the stub."""

    def __init__(self, RoutedListener gateway not None, services, support,
                 RequestIds request_ids not None):
        self.gateway = gateway
        self.services = services
        self.audit = services.sink
        self.support = support
        self.identities = support.identities
        self.in_flight = services.in_flight
        self.ended = services.settlements
        self.audit_lines = services.audit_lines
        self.request_ids = request_ids

    cdef StraightRoutes current_routes(self):
        """Return the routes in force; a reload replaces them."""
        policy, table = self.gateway.policy, self.gateway.routes
        if self.routes is None or self.routes.table is not table or (
                self.routes.policy is not policy):
            self.routes = StraightRoutes(
                policy, table, self.support.via_of, self.services.authorizer.digests)
        return self.routes

    def taker(self, peer):
        return StraightRequestTaker(self, peer)


cdef class StraightRequestTaker(RequestTaker):
    """See the stub."""

    def __init__(self, StraightCalls calls not None, peer):
        self.calls = calls
        self.peer = peer
        self.serial = peer.serial_text
        if peer.crew is not None:
            self.presenter = Presenter(
                peer.crew, peer.certificate_digest, branch=peer.branch_key)
        self.network = calls.support.network_of(peer.address)

    cdef bint take(self, HTTP2Protocol protocol, HTTP2Message request) except -1:
        """Carry a request as a straight call; return False, with nothing changed, if it is none."""
        cdef StraightRoute route
        cdef StraightCall call
        if request.authority == NULL:
            return False
        self.look_up(request.authority)
        if self.served is None:
            return False
        route = straight_route_of(self.served, request)
        if route is None:
            return False
        call = permitted_call(self, protocol, request, route)
        if call is None:
            return False
        call.begin()
        return True

    cdef int look_up(self, const message_field *field) except -1:
        """Find what follows from the authority of a request, unless it is that of the last one."""
        cdef StraightRoutes routes = self.calls.current_routes()
        if (self.routes is routes and self.authority is not None
                and <size_t>PyBytes_GET_SIZE(self.authority) == field.value_size
                and memcmp(PyBytes_AS_STRING(self.authority), field.value, field.value_size) == 0):
            return 0
        self.authority = slice_of(field.value, field.value_size)
        self.routes = routes
        self.served = routes.served_at(self.authority)
        if self.served is not None:
            origin = self.peer.address, self.authority, "2"
            self.origin_lines = self.calls.support.origin_lines(*origin)
            self.origin_fields = self.calls.support.origin_fields(*origin)
            self.proof_origin = routes.policy.proof_origin(self.authority)
        return 0

    cdef Presenter presenter_of(self, HTTP2Message request, StraightRoute route,
                                const bearer_search *search):
        """Return what the client shows beside its token. A proof is kept with its request: if
        Python answers that, the gate must know it as the same one, and no replay."""
        cdef bytes path
        if not search.is_dpop:
            return self.presenter
        if request.presenter is None:
            path = slice_of(request.path.value, route.path_size)
            request.presenter = self.routes.policy.presenter(
                self.peer, Proof(proof_of(search), route.method_text, self.proof_origin, path))
        return request.presenter


cdef StraightCall permitted_call(
        StraightRequestTaker taker, HTTP2Protocol protocol, HTTP2Message request,
        StraightRoute route):
    """Return the call of a straight request, with its permit; None if Python must answer the
    request. Then nothing has changed: the function has given back what it had reserved."""
    cdef StraightCalls calls = taker.calls
    cdef const message_field *fields = request.block.fields
    cdef const message_field *target = request.path
    cdef size_t count = request.block.field_count
    cdef size_t query_begin = min(route.path_size + 1, target.value_size)
    cdef bearer_search search
    cdef const message_field *kept[SLICES_USUAL]
    cdef Py_ssize_t kept_count
    cdef StraightCall call
    cdef Permit permit
    if not route.tokens.search(fields, count, target.value + query_begin,
                               target.value_size - query_begin, &search):
        return None
    # A target that is shorter than the token cannot show it to the tool.
    if search.token == NULL or target.value_size >= search.size:
        return None
    kept_count = route.filter.select(
        fields + request.pseudo_count, count - request.pseudo_count, search.token, search.size,
        kept)
    if kept_count < 0 or not calls.audit.can_record():
        return None
    call = StraightCall.__new__(StraightCall)
    call.taker = taker
    call.protocol = protocol
    call.route = route
    call.routes = taker.routes
    call.request = request
    call.peer = taker.peer
    call.token = slice_of(search.token, search.size)
    call.presenter = taker.presenter_of(request, route, &search)
    call.request_id = request.request_id = calls.request_ids.make()
    call.arrived_wall_ns = <int64_t>cg_clock_ns(CLOCK_REALTIME)
    call.arrived_ns = <int64_t>cg_clock_ns(CLOCK_MONOTONIC)
    cdef Gate gate = calls.services.authorizer.gate
    verdict = gate.verdict(
        call.token, route.tool, call.request_id, call.presenter, call.routes.observe,
        False, -1, False, None, route.digest_of(gate.table.t.header.proof_key, request), True)
    if type(verdict) is not Permit:
        return None
    permit = verdict
    call.permit = permit
    # Only the answer of an ordinary call can have a nonce. The client may have closed the stream.
    cdef bint has_nonce = call.presenter is not None and call.presenter.next_nonce is not None
    # A rule that only warns changes nothing but a field of the answer.
    cdef bint is_observed = permit.observed_reason is not None and (
        permit.finding is None or permit.in_observe_mode)
    if has_nonce or is_observed or not protocol.engine.own(request.stream, call):
        permit.undo()  # Python asks the gate again about this call
        return None
    call.trace = context_of(calls.support, request, route.trace_sample)
    call.body_size = body_size(request)
    identity = calls.identities.value_of(permit.granted())
    trace = [] if call.trace is None else call.trace.headers(call.token)
    if route.is_http2:
        call.outgoing_head = http2_head(
            route, request, kept, <size_t>kept_count, taker.origin_fields, identity.fields, trace,
            call.request_id, call.body_size)
    else:
        call.outgoing = after_host(
            route, request, kept, <size_t>kept_count, taker.origin_lines, identity.lines,
            written(trace) if trace else b"", call.request_id, call.body_size)
    return call


cdef class StraightCall(InFlightCall):
    """See the stub."""

    cdef int begin(self) except -1:
        """Send the request on a free stream, or wait for a connection in the pool's queue."""
        self.taker.calls.in_flight.add_call(self)  # so that each revocation finds it
        self.started_ns = <int64_t>cg_clock_ns(CLOCK_MONOTONIC)
        stream = self.route.idle_stream(self.permit)
        if stream is None:
            self.route.entry.pool.start(self.permit, self)
        else:
            self.send(stream)
        return 0

    cdef int send(self, object stream) except -1:
        cdef HTTP1Connection connection
        cdef HTTP2Stream http2_stream
        cdef bytes request
        self.stream = stream
        self.sent_ns = <int64_t>cg_clock_ns(CLOCK_MONOTONIC)
        if self.route.is_http2:
            http2_stream = stream
            http2_stream.begin_straight(self, self.outgoing_head, self.request.body)
        else:
            connection = stream
            request = with_host(self.route, self.request, connection.authority, self.outgoing)
            connection.begin_straight(self, request, len(request) - self.body_size,
                                      self.route.is_head)
        self.outgoing = self.outgoing_head = None
        return 0

    # `CallObserver`, for the pool, while the call waits for a connection.

    @property
    def over(self):
        return self.is_over

    @property
    def wait_turn(self):
        grant = self.permit.grant
        return grant.caller, grant.branch_key

    @property
    def repeatable(self):
        return True

    @property
    def idempotent(self):
        return self.route.is_idempotent

    def begun(self, stream not None):
        self.send(stream)

    def again(self):
        """Do nothing: the call goes on waiting, since no connection has carried it."""

    def failed(self, error):
        self.make_ordinary(None).failed(error)

    # The stream to the server, the client's stream and the registry call these.

    cpdef answered(self, stream, WholeAnswer answer):
        """Pass the whole answer on, and end the call."""
        cdef int64_t now = <int64_t>cg_clock_ns(CLOCK_MONOTONIC)
        cdef Py_ssize_t bytes_out = answer.body_bytes()
        cdef int status = answer.status_code()
        try:
            is_usual = send_answer(
                self.protocol, self.request.stream, self.route, self.permit, answer)
        except NGH2Error:  # the client has reset it, or the connection ends
            is_usual = False
        if not is_usual:
            stream.continue_with(self.make_ordinary(stream))
            return
        self.is_over = True
        self.taker.calls.done += 1
        if self.route.is_http2:
            (<HTTP2Stream?>stream).release()
        else:
            (<HTTP1Connection?>stream).release()
        self.taker.calls.in_flight.remove_call(self)
        self.record(status, now, bytes_out)
        self.stream = None

    cdef int stream_closed(self, int32_t stream, uint32_t code) except -1:
        """End the call, because the client has left; do nothing if the call was answered."""
        if not self.is_over:
            self.become_ordinary()
        if self.ordinary is not None:
            self.ordinary.lost()
        return 0

    def end(self, outcome):
        if self.is_over:
            return False
        return self.become_ordinary().end(outcome)

    cpdef make_ordinary(self, stream):
        """Return the ordinary call that goes on in place of this one."""
        exchange = self.protocol.exchange_of(self.request)
        if exchange is None:  # the client has closed the stream
            exchange = self.protocol.closed_exchange(self.request)
        self.is_over = True
        self.taker.calls.given_up += 1
        self.ordinary = self.taker.calls.support.ordinary_call(self, exchange, stream)
        self.stream = None
        return self.ordinary

    cdef object become_ordinary(self):
        """Make the ordinary call, give it what has arrived of the answer, and return it."""
        stream = self.stream
        ordinary = self.make_ordinary(stream)
        if stream is None:
            return ordinary
        try:
            stream.continue_with(ordinary)
        except UpstreamError as error:
            stream.failed(error)
        return ordinary

    cdef int record(self, int status, int64_t answered_ns, Py_ssize_t bytes_out) except -1:
        """Record, count and settle the call, as `call_audit_line.record_end` does."""
        cdef StraightCalls calls = self.taker.calls
        cdef Permit permit = self.permit
        cdef uint64_t price = permit.price_micro
        cdef AuditLineTemplate template = self.template()
        cdef Ending ending
        cdef CallTimes times
        times.arrived, times.started, times.sent = self.arrived_ns, self.started_ns, self.sent_ns
        times.answered = answered_ns
        times.ended = <int64_t>cg_clock_ns(CLOCK_MONOTONIC)
        ending.time_ns = self.arrived_wall_ns
        ending.cost_micro = price if permit.holds_credit() or not price else 0
        ending.remaining_micro = permit.lease_remaining_micro
        ending.has_remaining = True
        ending.duration_us = (times.ended - times.started) // 1000
        ending.status = status
        ending.bytes_in = self.body_size
        ending.bytes_out = bytes_out
        ending.id = <const unsigned char *>PyBytes_AS_STRING(self.request_id)
        ending.outcome = PyBytes_AS_STRING(DONE_TEXT)
        ending.outcome_size = len(DONE_TEXT)
        cdef bytes would = slug_of(permit.observed_reason)
        ending.would, ending.would_size = PyBytes_AS_STRING(would), PyBytes_GET_SIZE(would)
        ending.call, ending.answer = permit.answered.call, permit.answered.answer
        ending.retry_seconds = <int64_t>permit.answered.retry_seconds
        ending.failed = False
        ending.certificate_size = serial_of(self.taker.serial, &ending.certificate)
        trace = "" if self.trace is None else self.trace.text
        ending.trace_size = trace_text_of(trace, &ending.trace)
        cdef bytes line = template.written(&ending)
        cdef EndedCallQueue ended = calls.ended
        ended.add_ended(line, permit, price)
        if not template.count_call(ended.calls, DONE, status, len(line), &times, price,
                                   ending.cost_micro):
            series = calls.services.call_metrics.series_of(
                self.info, permit.grant.caller, DONE, "", status)
            template.remember(series, DONE, status)
            template.count_call(ended.calls, DONE, status, len(line), &times, price,
                                ending.cost_micro)
        if trace:
            calls.support.add_exemplar(ended.calls, trace)
        return 0

    cdef AuditLineTemplate template(self):
        """Return the part of the record that the calls of a token have in common."""
        cdef AuditLines lines = self.taker.calls.audit_lines
        grant = grant_of(self.permit)
        found = lines.find(
            grant, self.route.name, self.route.method, self.routes.listener, self.taker.network)
        return lines.line(self.info, grant) if found is None else found

    @property
    def body(self):
        return self.request.body or b""

    @property
    def info(self):
        """The CallInfo, as `call_description.describe` makes it."""
        return CallInfo(
            self.arrived_wall_ns, self.request_id, self.routes.listener, self.taker.network,
            self.route.name, self.route.method, self.peer.serial_text,
            "" if self.trace is None else self.trace.text, self.arrived_ns)
