"""The C interface of `http2_endpoint`: what a client and a server have in common."""

from libc.stdint cimport int32_t, uint32_t

from crewgate._datapath.http2_session cimport HTTP2Session, Stream
from crewgate._datapath.in_flight cimport InFlightCall


cdef class HTTP2Endpoint(HTTP2Session):
    # All raise what ngh2 raises.
    cdef int submit_body(self, int32_t stream, bytes data, bint ends) except -1
    cdef int reset(self, int32_t stream, uint32_t code) except -1
    # Open the windows of a stream and of the connection by what was received and is read.
    cdef int acknowledge(self, size_t amount, int32_t stream) except -1
    # From now on tell `owner` of the stream's end, and not the Python side. If the stream is
    # closed, return False and change nothing.
    cdef bint own(self, int32_t stream, InFlightCall owner) except -1
    # From now on tell the Python side of the stream's end. Return False if the protocol has taken
    # the event of its end already.
    cdef bint disown(self, int32_t stream) except -1
    # Tell all owners that the connection has ended, with the code CANCEL.
    cdef int lose_owned(self) except -1

    cdef int open(self, object configuration, bint is_client) except -1
    # Return a stream whose body may go on. `append_body` then adds a piece that is not empty, if
    # `resume` was called, which raises if the piece cannot be sent.
    cdef Stream body_of(self, int32_t number)
    cdef int resume(self, Stream stream) except -1
    cdef int append_body(self, Stream stream, bytes data) except -1


# Make the callbacks of nghttp2 for all sessions, or have none.
cdef int find_callbacks() except -1
cdef void forget_callbacks() noexcept
