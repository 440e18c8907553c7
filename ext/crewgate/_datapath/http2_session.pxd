"""The C interface of `http2_session`: one nghttp2 session, its streams and events."""

from libc.stdint cimport int32_t, uint8_t, uint32_t

from crewgate._datapath.http2_message cimport HTTP2Message
from crewgate._datapath.in_flight cimport InFlightCall
from crewgate._datapath.nghttp2_library cimport nghttp2_session

cdef enum:
    EVENT_REQUEST  # item: HTTP2Message
    EVENT_RESPONSE  # item: HTTP2Message, which is the head of the final response
    EVENT_DATA  # item: bytes
    EVENT_CLOSED  # item: Stream
    EVENT_WINDOW
    EVENT_TAKEN  # was EVENT_DATA; the request has its data
    EVENT_OTHER  # item: the Python event

cdef enum body_state:
    BODY_WHOLE
    BODY_BEGUN  # more may follow
    BODY_OTHER  # trailers follow, it is too large, or the stream has ended

cdef struct session_event:
    int kind
    bint ends
    int32_t stream
    uint32_t code  # an error code, or the increment of a window
    void *item  # a reference, or NULL


# The state of one stream, until the protocol takes the event of its end.
cdef class Stream:
    cdef int32_t number
    cdef bint is_closed
    cdef bint has_response  # of a server: its head is queued or sent
    cdef bint has_body  # more of the body may be queued
    cdef bint is_ended  # all of the body is queued
    cdef bint is_deferred  # nghttp2 waits for more of the body
    cdef bytes chunk  # the piece that is sent now, from `offset`
    cdef size_t offset
    cdef object chunks  # the later pieces: a deque, or None
    cdef size_t queued_size
    cdef tuple trailers
    cdef object received  # of an incomplete DATA frame: bytes, bytearray or None
    cdef size_t unacknowledged
    cdef object error  # why a frame could not be sent
    # The native call that answers the stream, see `HTTP2Engine.own`; None: the Python side does.
    # The protocol tells it of the stream's end when it takes that event: never inside nghttp2.
    cdef InFlightCall owner
    cdef double answered_at  # for the protocol: seconds on its clock, 0.0 before the answer

    cdef void discard(self)


cdef extern from "session_memory.h" nogil:
    ctypedef struct session_memory:
        bint is_made

    void *session_malloc(size_t size, void *memory)
    void session_free(void *block, void *memory)
    void *session_calloc(size_t count, size_t size, void *memory)
    void *session_realloc(void *block, size_t size, void *memory)
    void session_give_back(session_memory *memory)


cdef class HTTP2Session:
    cdef nghttp2_session *session  # NULL once it is unusable
    cdef session_memory memory  # of `session`
    cdef dict streams  # by number
    cdef dict unacknowledged  # bytes of streams that are over, by number
    cdef readonly size_t owned_count  # streams with an owner
    cdef HTTP2Message head  # the head that is being read
    cdef size_t head_size
    cdef size_t head_size_max, head_fields_max, settings_max
    cdef bint auto_window_update, is_client
    cdef bint is_active, is_failed, is_terminating, is_closing, is_closed
    cdef uint32_t close_code
    cdef bytes close_text
    cdef object callback_error
    cdef session_event *queue
    cdef size_t queue_first, queue_end, queue_capacity

    # Both raise the exceptions of ngh2.
    cdef int receive(self, const uint8_t *data, size_t size) except -1
    # Bytes to write now, at most limits.send_bytes; 0 if there are none. They are valid until the
    # next call of any session of this process: keep a copy of what was not written.
    cdef Py_ssize_t next_output(self, const uint8_t **data) except -1
    # Whether there is output; false too if the session is unusable.
    cdef bint wants_write(self) noexcept
    # Take the next event, with its reference; false if there is none.
    cdef bint next_event(self, session_event *event) noexcept
    cdef bint has_event(self) noexcept
    # Return the whole body of a request whose event was just taken, if the events that wait have it
    # to its end, and if it has at most limits.straight_body_bytes_max bytes; else None.
    cdef bytes whole_body(self, int32_t stream)
    # Whether the body of the last request in the queue may be whole after another read.
    cdef bint awaits_body(self) noexcept
    # Return `data`, which the DATA event just taken has, with what later events have of the body of
    # its stream. Those are taken too, and `event.ends` says whether the body ends with them.
    cdef bytes with_later_data(self, bytes data, session_event *event)
    # Remove the events that have this body.
    cdef void drop_body(self, int32_t stream) noexcept
    # Make ngh2's event of it, or tell the owner of its stream and return None. Takes over the
    # reference.
    cdef object python_event(self, session_event *event)
    # Forget a stream after its EVENT_CLOSED.
    cdef int forget(self, Stream stream) except -1

    # What of a stream's body is in the queue from `first` on. `pieces` gets it, if it is a list.
    cdef body_state state_of_body(self, int32_t stream, size_t first, list pieces) noexcept
    cdef Stream stream_of(self, int32_t number)
    cdef int require_drivable(self) except -1
    cdef int require_active(self) except -1
    cdef int put(self, int kind, bint ends, int32_t stream, uint32_t code, object item) except -1
    cdef int send(self, size_t size_max) except -1
    cdef int raise_error(self, Py_ssize_t code) except -1
    cdef void fail(self)
    cdef void discard_pending(self)
    cdef int note_end(self) except -1


# Return the item of an event, whose reference passes to the caller.
cdef object item_of(session_event *event)


# The bytes that a session of this process has serialized last: at most `limit`.
cdef struct http2_output:
    uint8_t *bytes
    size_t size
    size_t limit

cdef http2_output output
