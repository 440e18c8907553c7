"""Carries one call on one stream of an HTTP/2 connection to a tool's server; see the stub.

The stream turns what the caller sends into calls of the engine, and keeps what the server sends
until the caller takes it.

A call is ordinary or straight. The stream keeps the answer to a straight call until it is whole,
and then gives it to the call. If the answer is unusual, an ordinary call goes on in place of the
straight one (`become_ordinary`). The client has got no byte of the answer by then.
"""

from ngh2 import NGH2Error

from crewgate import limits
from crewgate.core.delivery import DeliveryState
from crewgate.errors import RequestBodyTimeoutError, UpstreamError, UpstreamTimeoutError

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from libc.math cimport INFINITY
from libc.stdint cimport int64_t
from libc.string cimport memcmp, memcpy

from crewgate._datapath.body_relay cimport BodyRelay
from crewgate._datapath.connection_pool cimport monotonic
from crewgate._datapath.http2_message cimport HTTP2Message
from crewgate._datapath.http2_request_head cimport HTTP2RequestHead
from crewgate._datapath.http2_stream_host cimport HTTP2StreamHost
from crewgate._datapath.in_flight cimport InFlightCall
from crewgate._datapath.whole_answer cimport WHOLE_FIELDS_MAX, WholeAnswer
from crewgate._native.fields cimport message_field

cdef extern from "<strings.h>" nogil:
    int strncasecmp(const char *one, const char *other, size_t size)

cdef extern from "request_line.h" nogil:
    void line_prepare() noexcept
    int64_t line_length(const unsigned char *text, size_t n) noexcept

line_prepare()

cdef Py_ssize_t BUFFER_BYTES_MAX = limits.buffer_bytes_max
cdef Py_ssize_t HEAD_BYTES_MAX = limits.upstream_head_bytes_max
cdef Py_ssize_t INFORMATIONAL_MAX = limits.upstream_informational_max
cdef Py_ssize_t STRAIGHT_BYTES_MAX = limits.straight_answer_bytes_max
cdef Py_ssize_t STRAIGHT_CHUNKS_MAX = limits.straight_answer_chunks_max
cdef const char *EVENTS = b"text/event-stream"
cdef enum:
    EVENTS_BYTES = 17
    CONTINUE = 100
    SWITCHING_PROTOCOLS = 101
    RESET_CONTENT = 205
    FIELD_OVERHEAD = 32  # of a field in the size of a head (RFC 9113, section 6.5.2)


@cython.final
cdef class HTTP2Stream(WholeAnswer):
    """See the stub."""

    def __cinit__(self, *_, **__):
        self.deadline = INFINITY
        self.start_offset = -1

    def __init__(self, HTTP2StreamHost connection not None, caller not None):
        self.caller = caller
        self.connection = connection
        self.make_lists()

    cdef int make_lists(self) except -1:
        """Make the lists that an ordinary call may ask for."""
        self.headers, self.trailers, self.informational = [], [], []
        if self.chunks is None:
            self.chunks = []
        return 0

    @property
    def answer(self):
        return self

    @property
    def touched(self):
        return self.is_touched()

    cdef bint is_touched(self) noexcept:
        """Return whether the kernel took a byte of the call, and the server has not disowned it.

        The bytes that were queued before the call are sent first, so this compares with their end.
        The result may become True a moment too early, never too late.
        """
        return (self.start_offset >= 0 and not self.is_disowned
                and self.connection.transport.sent > self.start_offset)

    cdef object overdue(self):
        # If the kernel has all that the client sent of a body, the client is late.
        if self.is_sending and not self.queued() and not self.connection.transport.queued:
            self.reset = True
            return RequestBodyTimeoutError()
        return UpstreamTimeoutError("the tool's server did not respond in time")

    cdef Py_ssize_t queued(self) except -2:
        """Return the bytes of the body that the engine has not sent."""
        try:
            return self.connection.engine.queued_body_size(self.number)
        except NGH2Error:
            return 0

    cdef object fate(self):
        """Return what the server has seen of the call."""
        if not self.is_touched():
            return DeliveryState.UNSEEN
        return DeliveryState.ANSWERED if self.status or self.reset else DeliveryState.LOST

    # `RequestStream`, for the caller.

    def begin(self, head not None, body not None, *, bint ends):
        cdef HTTP2StreamHost connection = self.connection
        cdef list fields = [
            (b":method", head.method),
            (b":scheme", connection.scheme),
            (b":authority", connection.authority),
            (b":path", head.target),
        ]
        fields.extend(head.fields)
        length = len(body) if ends else head.length
        if length:
            fields.append((b"content-length", b"%d" % length))
        self.is_sending = not ends
        self.deadline = monotonic() + (
            connection.pool.first_byte_seconds if ends else connection.pool.idle_seconds)
        try:
            self.number = connection.engine.send_request(fields, end_stream=ends and not body)
            if body:
                connection.engine.send_data(self.number, bytes(body), end_stream=ends)
        except NGH2Error:
            self.is_refused = True
            return False
        self.start_offset = connection.transport.sent + connection.transport.queued
        connection.opened(self.number, self)
        return True

    def send_body(self, data not None):
        cdef HTTP2StreamHost connection = self.connection
        self.deadline = monotonic() + connection.pool.idle_seconds
        try:
            connection.engine.send_data(self.number, data)
        except NGH2Error:
            return True  # the server has closed the stream; its response says why
        connection.wake()
        if not self.is_full():
            return True
        connection.blocked.add(self)
        return False

    def end_body(self, trailers):
        cdef HTTP2StreamHost connection = self.connection
        self.is_sending = False
        if not self.status:
            self.deadline = monotonic() + connection.pool.first_byte_seconds
        try:
            if trailers:
                connection.engine.send_trailers(self.number, trailers)
            else:
                connection.engine.end_stream(self.number)
        except NGH2Error:
            return
        connection.wake()

    def pause(self):
        self.paused = True
        self.deadline = INFINITY

    cpdef resume(self):
        self.paused = False
        self.deadline = monotonic() + self.connection.pool.idle_seconds

    cpdef relay_to(self, BodyRelay relay):
        self.relay = relay

    cpdef release(self):
        self.relay = None
        self.straight = self.head = None
        self.has_news = False
        self.take()  # untaken bytes would stay counted against the connection's window
        self.connection.left(self.number, self, not self.complete or self.is_sending)

    cpdef take(self):
        cdef bytes data
        if not self.chunks:
            return b""
        data = self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)
        self.chunks.clear()
        self.connection.acknowledge(self.number, PyBytes_GET_SIZE(data))
        return data

    def take_informational(self):
        taken, self.informational, self.informed = self.informational, [], False
        return taken

    # For the connection.

    cdef int progressed(self) except -1:
        cdef Py_ssize_t size = 0
        cdef bytes data
        self.has_news = False
        if self.straight is not None:
            if self.complete:
                self.straight.answered(self, self)
                return 0
            if self.may_wait():
                return 0
            self.become_ordinary()
        if self.relay is None or self.complete:
            self.caller.progressed()
            return 0
        for data in self.chunks:
            size += PyBytes_GET_SIZE(data)
        if not self.relay.pass_on(self.chunks):
            self.caller.progressed()
        elif size:
            self.connection.acknowledge(self.number, size)
        return 0

    cdef int hand_over(self) except -1:
        if self.straight is not None:
            self.become_ordinary()
            self.has_news = self.status > 0
        if self.has_news and not self.paused:
            self.progressed()
        return 0

    cdef bint is_full(self) except -1:
        """Return whether the caller must not queue more of the body now."""
        return self.queued() >= BUFFER_BYTES_MAX

    cdef bint disown(self) noexcept:
        """Mark the call as not processed by the server; return False if it had responded."""
        if self.status or self.informational_count:
            return False
        self.is_disowned = True
        return True

    # The parts of the response. They raise UpstreamError for one that is not allowed.

    cdef int take_native_head(self, HTTP2Message head, bint ends) except -1:
        cdef const unsigned char *digits = head.status.value  # nghttp2 has checked that there are 3
        cdef int status = (digits[0] - c"0") * 100 + (digits[1] - c"0") * 10 + digits[2] - c"0"
        if self.straight is not None and status == RESET_CONTENT:
            self.become_ordinary()
        if self.straight is None:
            return self.take_head(head.python_fields(), ends)
        self.status, self.head = status, head
        self.complete = ends
        return self.keep_open()

    cdef int take_head(self, tuple fields, bint ends) except -1:
        self.status, self.headers = split(fields)
        self.complete = ends
        return self.keep_open()

    cdef int take_data(self, bytes data, bint ends) except -1:
        if data:
            if self.status == RESET_CONTENT:  # RFC 9110 §15.3.6
                raise UpstreamError("the tool's server sent a body with status 205")
            if self.chunks is None:
                self.chunks = []
            self.chunks.append(data)
            if self.straight is not None:
                self.chunks_size += PyBytes_GET_SIZE(data)
        self.complete = self.complete or ends
        return self.keep_open()

    cdef int take_trailers(self, tuple fields) except -1:
        if self.straight is not None:
            self.become_ordinary()
        self.trailers = list(fields)
        self.complete = True
        return self.keep_open()

    cdef int take_informational_head(self, tuple fields) except -1:
        if self.straight is not None:
            self.become_ordinary()
        informational = split(fields)
        self.informational_count += 1
        for name, value in fields:
            self.informational_bytes += len(name) + len(value) + FIELD_OVERHEAD
        if self.informational_bytes > HEAD_BYTES_MAX:
            raise UpstreamError("the tool's server sent too many informational responses")
        # 100 (Continue) answers an Expect field. The gateway sends none, so it forwards no 100.
        if informational[0] != CONTINUE and self.informational_count <= INFORMATIONAL_MAX:
            self.informational.append(informational)
            self.informed = True
        return self.keep_open()

    cdef int keep_open(self) except -1:
        """Set the deadline of the next part, unless the caller has paused the response."""
        if not self.paused:
            self.resume()
        return 0

    # A straight call.

    cdef int begin_straight(self, InFlightCall caller, HTTP2RequestHead head, bytes body) except -1:
        cdef HTTP2StreamHost connection = self.connection
        self.caller, self.straight = None, caller
        self.deadline = monotonic() + connection.pool.first_byte_seconds
        head.set_server(connection.scheme, connection.authority)
        try:
            self.number = connection.native.submit_request(head.fields, head.count, not body)
            if body:
                connection.native.submit_body(self.number, body, True)
        except NGH2Error:
            self.become_ordinary()
            return connection.refused(self)
        self.start_offset = connection.transport.sent + connection.transport.queued
        return connection.opened(self.number, self)

    cdef int become_ordinary(self) except -1:
        return self.set_caller(self.straight.make_ordinary(self))

    cpdef continue_with(self, caller):
        self.set_caller(caller)
        if self.status:
            self.progressed()

    cdef int set_caller(self, caller) except -1:
        """Have an ordinary call go on, which is not yet told of what has arrived."""
        cdef HTTP2Message head = self.head
        self.straight = self.head = None
        self.caller = caller
        self.make_lists()
        if head is not None:
            self.status, self.headers = split(head.python_fields())
        return 0

    cdef bint may_wait(self) noexcept:
        """Return whether what has arrived of the answer to a straight call is to be kept.

        An answer without a length may be a stream, as one of events is. The first event of a stream
        is not to wait for the last.
        """
        cdef const message_field *field
        cdef size_t at
        cdef int64_t length = -1
        if self.head is None:
            return True
        if self.chunks_size > STRAIGHT_BYTES_MAX or (
                self.chunks is not None and len(self.chunks) > STRAIGHT_CHUNKS_MAX):
            return False
        for at in range(self.head.pseudo_count, self.head.block.field_count):
            field = &self.head.block.fields[at]
            if field.name_size == 14 and memcmp(field.name, b"content-length", 14) == 0:
                length = line_length(field.value, field.value_size)
            if field.name_size == 12 and memcmp(field.name, b"content-type", 12) == 0 and (
                    field.value_size >= EVENTS_BYTES
                    and strncasecmp(<const char *>field.value, EVENTS, EVENTS_BYTES) == 0):
                return False
        return 0 <= length <= STRAIGHT_BYTES_MAX

    # `WholeAnswer`.

    cdef int status_code(self) noexcept:
        return self.status

    cdef Py_ssize_t slices(self, message_field *fields, char *names) noexcept:
        cdef size_t first = self.head.pseudo_count
        cdef size_t count = self.head.block.field_count - first
        if count > WHOLE_FIELDS_MAX:
            return -1
        memcpy(fields, &self.head.block.fields[first], count * sizeof(message_field))
        return <Py_ssize_t>count

    cdef Py_ssize_t body_bytes(self) noexcept:
        return self.chunks_size

    cdef bytes joined_body(self):
        if self.chunks is None:
            return b""
        return self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)


cdef HTTP2Stream new_stream(HTTP2StreamHost connection):
    cdef HTTP2Stream stream = HTTP2Stream.__new__(HTTP2Stream)
    stream.connection = connection
    return stream


cdef tuple split(tuple fields):
    """Return (status, other fields); nghttp2 has checked that there is one three-digit status."""
    cdef list others = []
    cdef int status = 0
    for field in fields:
        name = (<tuple>field)[0]
        if name == b":status":
            status = int((<tuple>field)[1])
        elif (<bytes>name)[:1] != b":":
            others.append(field)
    if status == SWITCHING_PROTOCOLS:
        raise UpstreamError("the tool's server sent status 101 unasked")
    return status, others
