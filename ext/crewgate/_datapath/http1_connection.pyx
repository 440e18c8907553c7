"""Carries calls over an HTTP/1.1 connection to a tool's server, one at a time; see the stub.

A call is ordinary or straight. If the answer to a straight call is plain (`plain_answer.h`), the
connection gives it to the call as a whole. In all other cases an ordinary call goes on in its place
(`become_ordinary`), and llhttp reads the answer from its first byte. The client has got no byte of
it by then.
"""

from crewgate import limits
from crewgate._native.fields import written
from crewgate.core.delivery import ENDING, DeliveryState
from crewgate.errors import RequestBodyTimeoutError, UpstreamError, UpstreamTimeoutError

from cython cimport final

from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.math cimport INFINITY

from crewgate._datapath.body_relay cimport BodyRelay
from crewgate._datapath.connection_pool cimport PoolCallbacks, monotonic
from crewgate._datapath.in_flight cimport InFlightCall
from crewgate._datapath.plain_answer cimport (
    ANSWER_COMPLETE, ANSWER_NOT_PLAIN, PlainAnswer, answer_state,
)
from crewgate._datapath.pooled_connection cimport PooledConnection
from crewgate._datapath.response_parser cimport ResponseParser
from crewgate._datapath.socket_poller cimport SocketPoller
from crewgate._datapath.transport cimport Transport

cdef frozenset METHODS_WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH"})
cdef double SAFE_SECONDS = limits.upstream_safe_rest_seconds
cdef double MARGIN_SECONDS = limits.upstream_keep_margin_seconds
cdef Py_ssize_t BUFFER_BYTES_MAX = limits.buffer_bytes_max


class UnsolicitedError(UpstreamError):
    """The server sent something although no request was written to it."""


@final
cdef class HTTP1Connection(PooledConnection):
    """See the stub."""

    def __init__(
        self,
        sock,
        SocketPoller poller not None,
        PoolCallbacks pool not None,
        bytes authority not None,
        host,
    ):
        self.host = host
        self.authority = authority
        self.answer = ResponseParser()
        self.plain = PlainAnswer()
        self.fresh = True
        self.keep_alive = True
        self.out = []
        self.pool = pool
        # If a server closes a connection that has answered no call, the pool counts a failure.
        self.deadline = monotonic() + min(pool.keep_seconds, SAFE_SECONDS)
        self.transport = Transport(sock, poller, self)

    cdef Py_ssize_t free_count(self) except -1:
        return self.has_no_call()

    @property
    def is_idle(self):
        return self.has_no_call()

    cdef bint has_no_call(self) noexcept:
        return self.caller is None and self.straight is None

    @property
    def touched(self):
        return self.is_touched()

    cdef bint is_touched(self) noexcept:
        return self.transport.sent > 0

    cdef bint may_carry(self, bint idempotent) except -1:
        """Return whether the connection seems alive, as far as such a call needs to know.

        The poller notices a close in its next turn, and `run` notices one before it writes. By then
        the caller may have lost its body, so for a call that must not be sent twice this method
        checks the socket itself. And a server that closes a connection after a rest may do so while
        the call is on its way. Such a call uses only a connection whose server has kept it for as
        long before, has promised to keep it, or rests for a short time.
        """
        cdef bint is_safe = self.server_keep_seconds or self.fresh or (
            monotonic() - self.idle_since <= max(SAFE_SECONDS, self.proven_seconds)
        )
        if idempotent and self.pool.retries:
            return True
        return is_safe and (self.fresh or not self.transport.is_stale())

    def carry(self, caller not None):
        self.start_call()
        self.caller = caller
        caller.begun(self)

    cdef int start_call(self) except -1:
        """Forget the call before."""
        self.idle_before = 0.0 if self.fresh else monotonic() - self.idle_since
        self.handed_bytes = self.transport.sent = 0
        return 0

    cpdef sweep(self, double now):
        if self.straight is not None and self.plain.size:
            # The answer is slow, so the client gets now what has arrived of it.
            try:
                self.become_ordinary()
            except UpstreamError as error:
                self.failed(error)
        if now <= self.deadline:
            return
        if self.has_no_call():
            self.end()
        elif self.is_starved():
            self.failed(RequestBodyTimeoutError())
        else:
            self.failed(UpstreamTimeoutError("the tool's server did not respond in time"))

    cpdef close(self):
        if self.has_no_call():
            self.end()
        else:
            self.keep_alive = False

    def abort(self, reason=ENDING):
        self.failed(UpstreamError(reason))

    # A straight call.

    cdef object straight_stream(self):
        return self

    cpdef begin_straight(
        self, InFlightCall caller, bytes request, Py_ssize_t head_size, bint is_for_head
    ):
        self.start_call()
        self.caller, self.straight = None, caller
        self.plain.restart(is_for_head)
        self.is_sending = self.is_full = self.is_chunked = False
        self.head_bytes = head_size
        self.deadline = monotonic() + self.pool.first_byte_seconds
        self.queue(request)

    cpdef continue_with(self, caller):
        cdef bytes arrived = self.plain.arrived()
        self.straight = None
        self.caller = caller
        self.plain.forget()
        self.answer.restart(self.plain.read.is_for_head)
        if arrived:
            self.answer.add(arrived)
            caller.progressed()

    cdef int become_ordinary(self) except -1:
        """Let an ordinary call go on in place of the straight one; see `continue_with`."""
        self.continue_with(self.straight.make_ordinary(self))
        return 0

    cdef int take_straight(self, const char *data, Py_ssize_t size) except -1:
        """Read more of the answer to a straight call."""
        cdef answer_state state = self.plain.take(data, size)
        try:
            if state == ANSWER_COMPLETE:
                self.straight.answered(self, self.plain)
            # Chunks that do not arrive with the head may be a stream, whose first event is not to
            # wait for its last.
            elif state == ANSWER_NOT_PLAIN or (
                self.plain.read.has_head and self.plain.read.is_chunked
            ):
                self.become_ordinary()
        finally:
            if self.straight is not None:
                self.plain.keep()
        return 0

    # `RequestStream`, for the caller.

    def begin(self, head not None, body not None, *, bint ends):
        cdef bytes data, framing
        method = head.method
        length = len(body) if ends else head.length
        self.answer.restart(method == b"HEAD")
        self.is_sending, self.is_full = not ends, False
        self.is_chunked = length is None
        if length is None:
            framing = b"transfer-encoding: chunked\r\n"
        elif length or method in METHODS_WITH_BODY:  # RFC 9110 §8.6
            framing = b"content-length: %d\r\n" % length
        else:
            framing = b""
        data = b"%b %b HTTP/1.1\r\nhost: %b\r\n%b%b\r\n" % (
            method,
            head.target,
            self.authority,
            head.lines,
            framing,
        )
        self.deadline = monotonic() + (
            self.pool.first_byte_seconds if ends else self.pool.idle_seconds
        )
        self.head_bytes = len(data)
        self.queue(b"".join((data, body)))  # the body may be of a subclass of bytes
        return True

    def send_body(self, data not None):
        self.deadline = monotonic() + self.pool.idle_seconds
        self.queue(
            b"%x\r\n%b\r\n" % (len(data), data) if self.is_chunked else b"".join((data,))
        )
        self.is_full = self.out_bytes + self.transport.queued >= BUFFER_BYTES_MAX
        return not self.is_full

    def end_body(self, trailers):
        self.is_sending = False
        if self.is_chunked:
            self.queue(b"0\r\n%b\r\n" % written(trailers))
        if not self.answer.status:
            self.deadline = monotonic() + self.pool.first_byte_seconds

    cpdef pause(self):
        self.transport.pause()
        self.deadline = INFINITY

    cpdef resume(self):
        self.transport.resume()
        self.deadline = monotonic() + self.pool.idle_seconds

    cpdef relay_to(self, BodyRelay relay):
        self.relay = relay

    cpdef release(self):
        cdef bint is_unsent, is_sent, is_done, bodyless
        cdef int status
        if self.has_no_call():
            return
        # If nothing was handed to the transport, the connection is still clean. Otherwise the bytes
        # will be sent, and their response would be taken for that of the next call.
        is_unsent = not self.handed_bytes
        # If part of a body is missing, the server would take the next request for that part.
        is_sent = (
            not (self.is_sending or self.out) and self.transport.sent == self.handed_bytes
        )
        if self.straight is not None:
            status = self.plain.read.status if self.plain.read.has_head else 0
            is_done = self.plain.state == ANSWER_COMPLETE and not self.plain.read.closes
            bodyless = not (self.plain.read.body_size or self.plain.read.is_chunked)
            self.server_keep_seconds = self.plain.read.keep_seconds
        else:
            status = self.answer.status
            is_done = self.answer.complete and self.answer.reusable
            bodyless = self.answer.bodyless
            if is_done:
                self.server_keep_seconds = self.answer.keep_seconds()
        self.caller = self.straight = self.relay = None
        self.plain.forget()
        self.pool.left(self, status > 0)
        if not (is_unsent or (is_done and is_sent)) or not self.keep_alive:
            self.end()
            return
        self.discard_output()
        self.transport.resume()  # the caller may have paused before the response was complete
        if not is_unsent:
            self.fresh = False
            self.proven_seconds = max(self.proven_seconds, self.idle_before)
        self.rest(bodyless and not is_unsent)

    cdef int rest(self, bint bodyless) except -1:
        """Wait for another call, at most as long as pool and server keep the connection."""
        cdef double keep = self.pool.keep_seconds
        if self.fresh:
            keep = min(keep, SAFE_SECONDS)
        if self.server_keep_seconds:
            keep = min(keep, self.server_keep_seconds - MARGIN_SECONDS)
        self.idle_since = monotonic()
        self.deadline = self.idle_since + keep
        if keep <= 0:
            self.end()
        elif bodyless:
            self.transport.acknowledge()
            self.pool.rests(self)
        else:
            self.pool.freed(self)
        return 0

    # `TransportCallbacks`, for the transport.

    cdef int take(self, const char *data, Py_ssize_t size) except -1:
        if self.has_no_call():  # a response without a request
            return self.end()
        if self.transport.sent < self.head_bytes:  # the head of the request is not sent yet
            raise UnsolicitedError("the tool's server sent a response before the request")
        self.deadline = monotonic() + self.pool.idle_seconds
        if self.straight is not None:
            return self.take_straight(data, size)
        self.answer.add(PyBytes_FromStringAndSize(data, size))
        if self.relay is None or self.answer.complete or (
            not self.relay.pass_on(self.answer.chunks)
        ):
            self.caller.progressed()
        return 0

    cpdef drained(self):
        if (
            self.is_full
            and self.caller is not None
            and self.transport.queued < BUFFER_BYTES_MAX
        ):
            self.is_full = False
            self.caller.writable()

    def closed(self, error):
        if self.has_no_call():
            self.end()
            return
        if self.straight is not None:
            self.become_ordinary()
        if self.caller is None:  # it has ended meanwhile
            return
        if error is not None:
            raise UpstreamError(f"the server's connection broke: {error.strerror}") from error
        self.answer.feed_end()
        self.caller.progressed()

    cpdef failed(self, error):
        try:
            if self.straight is not None:
                self.become_ordinary()
        except UpstreamError as first_error:
            error = first_error
        finally:
            caller, self.caller = self.caller, None
            self.relay = None
            if self.straight is not None:  # an internal error has ended its call
                self.straight = None
                self.pool.left(self, False)
            self.end()
        if caller is not None:
            self.pool.broke(self, caller, error, self.delivery(error))

    cdef object delivery(self, error):
        """Return what the server has seen of a call that failed (RFC 9112 §9.3.1, §9.6)."""
        if not self.is_touched():
            return DeliveryState.UNSEEN if self.fresh else DeliveryState.STALE
        # Even bytes that are no valid response prove that the server is running. And a server that
        # waits for the rest of a request has nothing to answer yet.
        if self.answer.began or isinstance(error, (UnsolicitedError, RequestBodyTimeoutError)):
            return DeliveryState.ANSWERED
        if self.fresh or isinstance(error, UpstreamTimeoutError):
            return DeliveryState.LOST
        return DeliveryState.MET_ITS_END

    cdef bint is_starved(self) noexcept:
        """Return whether the kernel has all that the client sent, and the body is incomplete."""
        return self.is_sending and self.transport.sent == self.handed_bytes and not self.out_bytes

    cdef int queue(self, bytes data) except -1:
        """Write `data` at the end of this turn."""
        self.transport.poller.write_at_end_native(self)
        self.out.append(data)
        self.out_bytes += PyBytes_GET_SIZE(data)
        return 0

    cdef int run(self) except -1:
        """Hand the output of this turn to the transport."""
        cdef bytes data
        if not self.out:  # it was discarded meanwhile
            return 0
        # Input on a kept connection before the request belongs to an earlier request, or to none.
        # It must not be taken for the response to this one, and the poller would only see it in the
        # next turn.
        if not (self.transport.sent or self.fresh) and self.transport.is_stale():
            self.failed(UnsolicitedError("the kept connection was closed or had unread input"))
            return 0
        data = self.out[0] if len(self.out) == 1 else b"".join(self.out)
        self.discard_output()
        self.handed_bytes += PyBytes_GET_SIZE(data)
        try:
            self.transport.send_bytes(data)
        except OSError:
            # The next read tells the cause: a response may have arrived before the close.
            self.keep_alive = False
            return 0
        self.drained()
        return 0

    cdef int discard_output(self) except -1:
        if self.out:
            self.out, self.out_bytes = [], 0
        return 0

    cdef int end(self) except -1:
        self.discard_output()
        self.transport.close()
        self.pool.ended(self)
        return 0
