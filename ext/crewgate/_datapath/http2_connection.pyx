"""Carries many calls at once over an HTTP/2 connection to a tool's server (RFC 9113); see the stub.

The connection writes at the end of a turn, the output of all its calls in one piece. The window of
a stream opens when the caller has taken the bytes. This module knows no permits.
"""

import logging

import ngh2
from ngh2 import ErrorCode, NGH2Error

from crewgate import limits
from crewgate.core.delivery import ENDING, DeliveryState
from crewgate.errors import UpstreamError, UpstreamTimeoutError

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int32_t, uint8_t, uint32_t

from crewgate._datapath.connection_pool cimport PoolCallbacks, monotonic
from crewgate._datapath.http2_message cimport HTTP2Message
from crewgate._datapath.http2_session cimport (
    EVENT_CLOSED, EVENT_DATA, EVENT_OTHER, EVENT_RESPONSE, Stream, item_of, session_event,
)
from crewgate._datapath.http2_stalled_frame cimport StalledFrameDetector
from crewgate._datapath.http2_stream cimport HTTP2Stream, new_stream
from crewgate._datapath.http2_stream_host cimport HTTP2StreamHost
from crewgate._datapath.socket_poller cimport SocketPoller
from crewgate._datapath.transport cimport Transport

log = logging.getLogger("crewgate.upstream.http2")
cdef str NO_HTTP2 = "the tool's server does not speak HTTP/2, or broke the protocol"
cdef uint32_t CANCEL = ErrorCode.CANCEL
cdef uint32_t REFUSED_STREAM = ErrorCode.REFUSED_STREAM
cdef double SAFE_SECONDS = limits.upstream_safe_rest_seconds
cdef double FRAME_SECONDS_MAX = limits.upstream_frame_seconds_max
cdef Py_ssize_t SEND_BYTES = limits.send_bytes

# The parts of a response.
cdef enum:
    HEAD
    NATIVE_HEAD
    BODY
    TRAILERS
    INFORMATIONAL


cdef class HTTP2Connection(HTTP2StreamHost):
    """See the stub."""

    def __init__(self, sock, SocketPoller poller not None, PoolCallbacks pool not None,
                 bytes authority not None, host):
        self.host = host
        self.authority = authority
        self.scheme = b"https" if host.endpoint.scheme == "https" else b"http"
        self.pool = pool
        self.blocked = set()
        self.frames = StalledFrameDetector()
        self.streams, self.news = {}, []
        self.used_at = monotonic()
        self.is_offered = True
        self.transport = Transport(sock, poller, self)
        self.begin(poller)

    # `UpstreamConnection`, for the pool.

    cdef Py_ssize_t free_count(self) except -1:
        return 0 if self.is_closing else max(0, self.streams_max() - len(self.streams))

    @property
    def is_idle(self):
        return not self.streams

    cdef bint may_carry(self, bint idempotent) except -1:
        """Return whether a call may begin, and the server is not in the middle of a late frame.

        A server may close an idle connection while a call is on its way. A call that the pool must
        not send twice uses only a connection that has been idle for a short time.
        """
        if self.free_count() == 0 or self.frames.has_late():
            return False
        if (idempotent and self.pool.retries) or self.streams:
            return True
        return monotonic() - self.used_at <= SAFE_SECONDS

    def carry(self, caller not None):
        self.is_offered = self.free_count() > 1
        cdef HTTP2Stream stream = HTTP2Stream(self, caller)
        caller.begun(stream)
        if stream.is_refused:
            self.refused(stream)

    cdef object straight_stream(self):
        self.is_offered = self.free_count() > 1
        return new_stream(self)

    cpdef sweep(self, double now):
        cdef HTTP2Stream stream
        # If there is unread input, this process is late and not the server.
        if self.frames.seconds(now) > FRAME_SECONDS_MAX and not self.transport.is_stale():
            self.break_stalled()
            return
        cdef double keep = self.pool.keep_seconds
        if not self.streams:
            if not self.has_answered:  # if the server closes it, that counts as a failure
                keep = min(keep, SAFE_SECONDS)
            if now > self.used_at + keep:
                self.end()
            return
        self.used_at = now
        for stream in list(self.streams.values()):
            if stream.straight is not None and stream.head is not None:
                stream.hand_over()  # the answer is slow: the client gets what has arrived
            if now > stream.deadline:
                self.fail(stream, stream.overdue())

    cpdef close(self):
        self.is_closing = True
        if not self.streams:
            self.end()

    def abort(self, reason=ENDING):
        self.break_off(UpstreamError(reason), DeliveryState.LOST_TOO)

    # `HTTP2StreamHost`, for the streams.

    cdef int opened(self, int32_t number, object stream) except -1:
        self.streams[number] = stream
        return self.wake()

    cdef int left(self, int32_t number, object stream, bint unfinished) except -1:
        if self.streams.pop(number, None) is None:
            return 0
        self.blocked.discard(stream)
        self.used_at = monotonic()
        if unfinished:
            self.reset_stream(number, CANCEL)
        self.pool.left(self, (<HTTP2Stream>stream).status > 0)
        return self.offer()

    # `TransportProtocol`, for the transport.

    cdef int take(self, const char *data, Py_ssize_t size) except -1:
        self.frames.follow(<const uint8_t *>data, <size_t>size)
        try:
            self.receive(data, size)
        except NGH2Error as error:
            self.take_events()  # events that were complete before the error
            raise UpstreamError(NO_HTTP2) from error
        self.take_events()
        self.offer()
        return self.wake() if self.wants_write() else 0

    cpdef drained(self):
        self.wake()

    def closed(self, error):
        reason = error.strerror if error else "the server closed it"
        # As over HTTP/1.1, a connection that has carried calls may end at any time (RFC 9112 §9.6).
        sent_state = DeliveryState.MET_ITS_END if self.has_answered else DeliveryState.LOST
        self.break_off(UpstreamError(f"the server's connection broke: {reason}"), sent_state)

    cpdef failed(self, error):
        self.break_off(
            error, DeliveryState.BREACHED if self.has_settings else DeliveryState.LOST)

    # Ends.

    cdef int break_off(self, error, sent_state) except -1:
        """Close the connection, and fail its calls; those that were sent get `sent_state`.

        If that is LOST, the first call gets it and the others LOST_TOO, so that the pool counts one
        failure. A stream whose response is complete stays, until its caller has taken it.
        """
        cdef HTTP2Stream stream
        cdef dict streams = self.streams
        self.streams = {
            number: each for number, each in streams.items()
            if (<HTTP2Stream>each).complete and (<HTTP2Stream>each).straight is None}
        self.end()
        for each in streams.values():
            stream = each
            if stream.complete and stream.straight is None:
                continue
            delivery = stream.fate()
            if delivery is DeliveryState.LOST:
                delivery = sent_state
                if sent_state is DeliveryState.LOST:
                    sent_state = DeliveryState.LOST_TOO
            try:
                stream.hand_over()
                self.pool.broke(self, stream.caller, error, delivery)
            except Exception:  # so that it ends no other call
                log.exception("ending one call to a tool's server: internal error")
                if stream.straight is not None:
                    self.pool.left(self, False)
        return 0

    cdef int break_stalled(self) except -1:
        """Close a connection whose server has not finished a frame or a header block in time.

        The call of that frame is not retried: it would do the same to another connection.
        """
        cdef HTTP2Stream stream = self.streams.get(self.frames.stream)
        if stream is not None:
            stream.reset = True
        self.failed(UpstreamTimeoutError("the tool's server did not finish a frame in time"))
        return 0

    cdef int refused(self, object refused) except -1:
        cdef HTTP2Stream stream = refused
        self.is_closing = True
        if stream.number:
            self.reset_stream(stream.number, CANCEL)
        error = UpstreamError("the connection to the tool's server accepts no request")
        delivery = DeliveryState.ANSWERED if stream.number else DeliveryState.UNSEEN
        self.pool.broke(self, stream.caller, error, delivery)
        return self.offer()

    cdef int fail(self, HTTP2Stream stream, error) except -1:
        cdef int32_t number = stream.number
        stream.hand_over()
        if self.streams.pop(number, None) is None:  # the caller has released it meanwhile
            return 0
        self.blocked.discard(stream)
        if not stream.complete:
            self.reset_stream(number, CANCEL)
        self.pool.broke(self, stream.caller, error, stream.fate())
        return self.offer()

    cdef int offer(self) except -1:
        """Tell the pool once that a stream is free again; or close after the last call."""
        if self.is_closing and not self.streams:
            return self.end()
        if not self.is_offered and self.free_count():
            self.is_offered = True
            self.pool.freed(self)
        return 0

    cdef int end(self) except -1:
        self.is_closing = True
        if not self.is_over:
            self.is_over = True
            self.transport.close()
            self.pool.ended(self)
        return 0

    # Events.

    cdef int take_events(self) except -1:
        cdef session_event event
        cdef object item
        if self.native is None:
            for each in self.engine.events():
                self.take_event(each)
            return self.deliver()
        while self.native.next_event(&event):
            item = item_of(&event)
            if event.kind == EVENT_RESPONSE:
                self.take_part(event.stream, NATIVE_HEAD, item, event.ends)
            elif event.kind == EVENT_DATA:
                self.take_part(event.stream, BODY, b"" if item is None else item, event.ends)
            elif event.kind == EVENT_CLOSED:
                if item is not None:
                    self.native.forget(<Stream>item)
                self.stream_closed(event.stream, None if item is None else (<Stream>item).error)
            elif event.kind == EVENT_OTHER:
                self.take_event(item)
        return self.deliver()

    cdef int deliver(self) except -1:
        """Tell the callers of the parts of responses that have arrived, each once a read."""
        cdef HTTP2Stream stream
        cdef list news = self.news
        if not news:
            return 0
        self.news = []
        for stream in news:
            if stream.has_news and not stream.paused:
                stream.progressed()
        return 0

    cdef int take_event(self, event) except -1:
        """Take an event of ngh2's; the engine handles pings and windows."""
        kind = type(event)
        if kind is ngh2.ResponseReceived:
            self.take_part(event.stream_id, HEAD, event.headers, event.end_stream)
        elif kind is ngh2.DataReceived:
            self.take_part(event.stream_id, BODY, event.data, event.end_stream)
        elif kind is ngh2.TrailersReceived:
            self.take_part(event.stream_id, TRAILERS, event.headers, True)
        elif kind is ngh2.InformationalResponseReceived:
            self.take_part(event.stream_id, INFORMATIONAL, event.headers, False)
        elif kind is ngh2.StreamReset:
            self.stream_reset(event.stream_id, event.error_code)
        elif kind is ngh2.StreamClosed:
            self.stream_closed(event.stream_id, event.local_error)
        elif kind is ngh2.GoAwayReceived:
            self.go_away(event.last_stream_id)
        elif kind is ngh2.SettingsReceived:
            self.has_settings = True
        return 0

    cdef int take_part(self, int32_t number, int kind, object item, bint ends) except -1:
        """Take a part of a response."""
        cdef HTTP2Stream stream = self.streams.get(number)
        if stream is None:  # the caller has released the stream
            return self.acknowledge(number, PyBytes_GET_SIZE(item)) if kind == BODY else 0
        try:
            if kind == BODY:
                stream.take_data(item, ends)
            elif kind == NATIVE_HEAD:
                stream.take_native_head(<HTTP2Message>item, ends)
            elif kind == HEAD:
                stream.take_head(item, ends)
            elif kind == TRAILERS:
                stream.take_trailers(item)
            else:
                stream.take_informational_head(item)
            self.has_answered = True
        except UpstreamError as error:
            stream.reset = True
            return self.fail(stream, error)
        if stream.complete and not stream.paused:
            return stream.progressed()
        if not stream.has_news:
            stream.has_news = True
            self.news.append(stream)
        return 0

    cdef int stream_reset(self, int32_t number, uint32_t code) except -1:
        """Fail a stream that the server has reset."""
        cdef HTTP2Stream stream = self.streams.get(number)
        if stream is None:
            return 0
        if code == REFUSED_STREAM:
            stream.disown()  # RFC 9113 §8.7
        stream.reset = True
        if not stream.complete:
            self.fail(stream, UpstreamError(f"the tool's server reset the stream (code {code})"))
        return 0

    cdef int stream_closed(self, int32_t number, object error) except -1:
        """Fail a stream that the engine closed before the server ended it.

        nghttp2 resets a stream with a malformed response (RFC 9113 §8.1.1), and reports it here
        once it has sent the RST_STREAM. It also closes a stream whose request it could not send.
        """
        cdef HTTP2Stream stream = self.streams.get(number)
        if stream is None or stream.complete:
            return 0
        if error is not None and stream.disown():
            return self.fail(stream, UpstreamError(f"cannot send the request: {error}"))
        stream.reset = True
        self.malformed_count += 1
        if self.malformed_count >= <Py_ssize_t>limits.upstream_malformed_max:
            self.is_closing = True
        return self.fail(stream, UpstreamError("the tool's server sent a malformed response"))

    cdef int go_away(self, int32_t last_number) except -1:
        """Accept no further call; the server processes no stream above `last` (RFC 9113 §6.8)."""
        cdef HTTP2Stream stream
        self.is_closing = True
        for number, each in list(self.streams.items()):
            stream = each
            if <int32_t>number > last_number and stream.disown():
                self.fail(stream, UpstreamError("the tool's server is shutting down (GOAWAY)"))
        return 0 if self.streams else self.end()

    # Output.

    cdef int run(self) except -1:
        """Write the output of all streams, while the transport queues little."""
        cdef Transport transport = self.transport
        cdef bytes data
        cdef HTTP2Stream stream
        cdef bint is_over
        if self.is_over:
            return 0
        try:
            while transport.queued < SEND_BYTES:
                data = self.next_output()
                if not data:
                    break
                transport.send_bytes(data)
            is_over = not self.engine.want_read
        except OSError:
            return 0  # the next read tells the cause
        except NGH2Error:
            is_over = True
        self.take_events()  # streams whose last frame was just produced are closed
        if is_over:  # the engine has ended the session; the server may not close
            self.failed(UpstreamError(NO_HTTP2))
            return 0
        for each in list(self.blocked):
            stream = each
            if not stream.is_full():
                self.blocked.discard(stream)
                stream.caller.writable()
        return 0
