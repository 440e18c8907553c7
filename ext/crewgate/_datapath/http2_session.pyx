"""Carries the bytes of one HTTP/2 connection through nghttp2, and keeps what they mean as events.

It holds the streams, the pieces of bodies that wait for a window, and the events that no caller
has taken yet. The callbacks of nghttp2 (http2_callbacks) only note events, and nghttp2 runs no
other code of ours. So a stream may be closed before a caller takes its request. This module queues
no message: an engine does.
"""

from ngh2 import (
    ConnectionClosed,
    ConnectionStateError,
    DataReceived,
    InternalError,
    RequestReceived,
    ResponseReceived,
    StreamClosed,
    WindowUpdated,
)

from crewgate import limits

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdlib cimport free, malloc, realloc

from crewgate._datapath.nghttp2_library cimport error_of, nghttp2

cdef size_t KEPT_EVENTS = 32  # places that an empty queue keeps
cdef size_t EVENTS_AHEAD_MAX = limits.straight_body_events_max
cdef Py_ssize_t BODY_BYTES_MAX = limits.straight_body_bytes_max
cdef size_t OUTPUT_MAX = limits.send_bytes

output.bytes = <uint8_t *>malloc(OUTPUT_MAX)
if output.bytes == NULL:
    raise MemoryError("no memory for the output of HTTP/2")


@cython.final
@cython.freelist(64)
cdef class Stream:
    """See the C interface."""

    cdef void discard(self):
        self.has_response = self.has_body = self.is_ended = self.is_deferred = False
        self.chunk = None
        self.chunks = self.trailers = self.received = None
        if not self.is_closed:  # else the event of its end has the error
            self.error = None
        self.offset = self.queued_size = self.unacknowledged = 0


cdef class HTTP2Session:
    """One nghttp2 session; the base of `HTTP2Endpoint`, which opens it."""

    def __cinit__(self):
        self.streams = {}
        self.unacknowledged = {}
        self.close_text = b""

    def __dealloc__(self):
        cdef session_event event
        if self.session != NULL:
            nghttp2.session_del(self.session)
        while self.next_event(&event):
            if event.item != NULL:
                Py_DECREF(<object>event.item)
        free(self.queue)

    # Bytes.

    cdef int receive(self, const uint8_t *data, size_t size) except -1:
        self.require_active()
        self.callback_error = None
        cdef Py_ssize_t taken = nghttp2.session_mem_recv2(self.session, data, size)
        if taken < 0:
            error = self.callback_error
            if error is not None:
                self.fail()
                raise error
            self.raise_error(taken)
        if <size_t>taken != size:
            self.fail()
            raise InternalError("HTTP/2 engine did not consume all input")
        if self.is_closing:
            self.note_end()
        return 0

    def receive_data(self, bytes data not None):
        self.receive(<const uint8_t *>PyBytes_AS_STRING(data), <size_t>PyBytes_GET_SIZE(data))

    cdef Py_ssize_t next_output(self, const uint8_t **data) except -1:
        self.send(OUTPUT_MAX)
        data[0] = output.bytes
        return <Py_ssize_t>output.size

    def data_to_send(self, amount=None):
        cdef size_t remaining = <size_t>-1 if amount is None else <size_t>amount
        cdef list pieces = []
        cdef bint is_full = True
        if self.is_failed:
            raise ConnectionStateError("Connection is no longer usable")
        while remaining and is_full:
            self.send(min(remaining, OUTPUT_MAX))
            pieces.append(
                PyBytes_FromStringAndSize(<const char *>output.bytes, <Py_ssize_t>output.size))
            is_full = output.size == OUTPUT_MAX
            remaining -= output.size
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    cdef int send(self, size_t size_max) except -1:
        """Serialize frames into `output`, up to `size_max` bytes."""
        if self.is_failed:
            raise ConnectionStateError("Connection is no longer usable")
        output.size, output.limit = 0, size_max
        if not self.is_active:
            return 0
        self.callback_error = None
        cdef int code = nghttp2.session_send(self.session)
        if code < 0:
            error = error_of(code) if self.callback_error is None else self.callback_error
            self.fail()  # the bytes that are lost cannot be made again
            raise error
        if self.is_closing:
            self.note_end()
        return 0

    cdef bint wants_write(self) noexcept:
        return self.is_active and nghttp2.session_want_write(self.session) != 0

    # Events.

    cdef int put(self, int kind, bint ends, int32_t stream, uint32_t code, object item) except -1:
        """Append an event; the callbacks call this."""
        cdef size_t capacity
        cdef void *grown
        if self.queue_end == self.queue_capacity:
            capacity = max(2 * self.queue_capacity, KEPT_EVENTS)
            grown = realloc(self.queue, capacity * sizeof(session_event))
            if grown == NULL:
                raise MemoryError("no memory for the events of HTTP/2")
            self.queue = <session_event *>grown
            self.queue_capacity = capacity
        cdef session_event *event = &self.queue[self.queue_end]
        event.kind, event.ends, event.stream, event.code = kind, ends, stream, code
        event.item = NULL
        if item is not None:
            Py_INCREF(item)
            event.item = <void *>item
        self.queue_end += 1
        return 0

    cdef bint next_event(self, session_event *event) noexcept:
        if self.queue_first == self.queue_end:
            return False
        event[0] = self.queue[self.queue_first]
        self.queue_first += 1
        if self.queue_first == self.queue_end:
            self.queue_first = self.queue_end = 0
            if self.queue_capacity > KEPT_EVENTS:
                free(self.queue)
                self.queue = NULL
                self.queue_capacity = 0
        return True

    cdef bint has_event(self) noexcept:
        return self.queue_first != self.queue_end

    cdef bytes whole_body(self, int32_t stream):
        cdef list pieces = []
        if self.state_of_body(stream, self.queue_first, pieces) != BODY_WHOLE:
            return None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    cdef bint awaits_body(self) noexcept:
        cdef size_t at = self.queue_end
        while at > self.queue_first:
            at -= 1
            if self.queue[at].kind == EVENT_REQUEST:
                return not self.queue[at].ends and (
                    self.state_of_body(self.queue[at].stream, at + 1, None) == BODY_BEGUN)
        return False

    cdef body_state state_of_body(self, int32_t stream, size_t first, list pieces) noexcept:
        cdef session_event *event
        cdef Py_ssize_t size = 0
        cdef size_t at, end = min(self.queue_end, first + EVENTS_AHEAD_MAX)
        for at in range(first, end):
            event = &self.queue[at]
            if event.stream != stream or event.kind == EVENT_WINDOW:
                continue
            if event.kind != EVENT_DATA:  # trailers, or the end of the stream
                return BODY_OTHER
            if event.item != NULL:
                size += PyBytes_GET_SIZE(<bytes>event.item)
                if size > BODY_BYTES_MAX:
                    return BODY_OTHER
                if pieces is not None:
                    pieces.append(<bytes>event.item)
            if event.ends:
                return BODY_WHOLE
        return BODY_BEGUN if end == self.queue_end else BODY_OTHER

    cdef void drop_body(self, int32_t stream) noexcept:
        cdef session_event *event
        cdef size_t at
        for at in range(self.queue_first, self.queue_end):
            event = &self.queue[at]
            if event.stream != stream or event.kind != EVENT_DATA:
                continue
            item_of(event)  # ends its reference
            event.kind = EVENT_TAKEN
            if event.ends:
                return

    cdef bytes with_later_data(self, bytes data, session_event *event):
        cdef session_event *later
        cdef list pieces = [data]
        cdef size_t at
        for at in range(self.queue_first, self.queue_end):
            later = &self.queue[at]
            if later.stream != event.stream or later.kind in (EVENT_WINDOW, EVENT_TAKEN):
                continue
            if later.kind != EVENT_DATA:  # trailers, or the end of the stream
                break
            event.ends = later.ends
            later.kind = EVENT_TAKEN
            if later.item != NULL:
                pieces.append(item_of(later))
            if event.ends:
                break
        return data if len(pieces) == 1 else b"".join(pieces)

    def events(self):
        cdef session_event event
        cdef list made = []
        while self.next_event(&event):
            found = self.python_event(&event)
            if found is not None:
                made.append(found)
        return made

    cdef object python_event(self, session_event *event):
        cdef object item = item_of(event)
        cdef InFlightCall owner
        if event.kind == EVENT_REQUEST:
            return RequestReceived(
                event.stream, (<HTTP2Message>item).python_fields(), event.ends)
        if event.kind == EVENT_RESPONSE:
            return ResponseReceived(
                event.stream, (<HTTP2Message>item).python_fields(), event.ends)
        if event.kind == EVENT_DATA:
            return DataReceived(event.stream, b"" if item is None else item, event.ends)
        if event.kind == EVENT_CLOSED:
            if item is None:  # of a stream whose head never began
                return StreamClosed(event.stream, event.code, None)
            owner = (<Stream>item).owner
            self.forget(<Stream>item)
            if owner is None:
                return StreamClosed(event.stream, event.code, (<Stream>item).error)
            owner.stream_closed(event.stream, event.code)
            return None
        if event.kind == EVENT_WINDOW:
            return WindowUpdated(event.stream, event.code)
        return item

    cdef int forget(self, Stream stream) except -1:
        if self.streams.get(stream.number) is stream:
            del self.streams[stream.number]
        if stream.unacknowledged:
            self.unacknowledged[stream.number] = stream.unacknowledged
            stream.unacknowledged = 0
        if stream.owner is not None:
            stream.owner = None
            self.owned_count -= 1
        return 0

    def rest(self):
        if self.session == NULL or self.wants_write():
            return False
        session_give_back(&self.memory)
        if self.queue_first == self.queue_end:
            free(self.queue)
            self.queue = NULL
            self.queue_capacity = 0
        return True

    # State, as ngh2 keeps it.

    cdef Stream stream_of(self, int32_t number):
        """Return an open stream, or None. The session must be usable."""
        cdef void *found = nghttp2.session_get_stream_user_data(self.session, number)
        cdef Stream queued
        if found == NULL and self.is_client:  # nghttp2 opens it when it sends the head
            queued = self.streams.get(number)
            return None if queued is None or queued.is_closed else queued
        return None if found == NULL else <Stream>found

    cdef int require_drivable(self) except -1:
        if self.is_failed:
            raise ConnectionStateError("Connection is no longer usable")
        if not self.is_active:
            raise ConnectionStateError("Connection is not initiated")
        return 0

    cdef int require_active(self) except -1:
        self.require_drivable()
        if self.is_terminating:
            raise ConnectionStateError("Connection is terminating")
        return 0

    cdef int raise_error(self, Py_ssize_t code) except -1:
        """Raise the error; one that nghttp2 calls fatal ends the session."""
        error = error_of(<int>code)
        if nghttp2.is_fatal(<int>code):
            self.fail()
        raise error

    cdef void fail(self):
        """Give up the session, and all that waits to be sent."""
        if self.session != NULL:
            nghttp2.session_del(self.session)
            self.session = NULL
        self.callback_error = None
        self.discard_pending()
        self.is_failed = self.is_closed = True
        self.is_active = self.is_terminating = self.is_closing = False

    cdef void discard_pending(self):
        """Drop what can be sent or acknowledged no more. The owners of streams stay."""
        for stream in self.streams.values():
            (<Stream>stream).discard()
        self.unacknowledged.clear()
        self.head = None

    cdef int note_end(self) except -1:
        """Note the end of the connection once nghttp2 neither reads nor writes."""
        if self.is_active and not self.is_closed and not (
                nghttp2.session_want_read(self.session)
                or nghttp2.session_want_write(self.session)):
            self.is_terminating = self.is_closed = True
            self.discard_pending()
            self.put(EVENT_OTHER, False, 0, 0, ConnectionClosed(self.close_code, self.close_text))
        return 0


cdef object item_of(session_event *event):
    if event.item == NULL:
        return None
    cdef object item = <object>event.item
    Py_DECREF(item)  # the reference of the event
    event.item = NULL
    return item
