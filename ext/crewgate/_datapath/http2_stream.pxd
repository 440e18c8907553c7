"""The C interface of one call on one stream of an HTTP/2 connection to a tool's server."""

from libc.stdint cimport int32_t

from crewgate._datapath.body_relay cimport BodyRelay
from crewgate._datapath.http2_message cimport HTTP2Message
from crewgate._datapath.http2_request_head cimport HTTP2RequestHead
from crewgate._datapath.http2_stream_host cimport HTTP2StreamHost
from crewgate._datapath.in_flight cimport InFlightCall
from crewgate._datapath.whole_answer cimport WholeAnswer


cdef class HTTP2Stream(WholeAnswer):
    cdef readonly object caller  # None while it carries a straight call
    cdef InFlightCall straight  # the straight call; None if there is none
    cdef HTTP2Message head  # of the answer to the straight call; None before it arrives
    cdef bint has_news  # the caller is still to be told of what this read has brought
    cdef readonly int32_t number  # 0 before `begin`
    cdef readonly bint is_refused, paused, complete, informed
    cdef public bint reset
    cdef readonly int status
    cdef readonly list headers, trailers
    cdef readonly double deadline
    cdef HTTP2StreamHost connection
    cdef BodyRelay relay  # is offered the body before `caller`; None: there is none
    cdef list chunks
    cdef Py_ssize_t chunks_size  # of the answer to a straight call, in bytes
    cdef list informational
    cdef Py_ssize_t informational_count, informational_bytes
    cdef bint is_sending
    cdef bint is_disowned  # the server has stated that it did not process the call
    # How many bytes the connection sends before the first byte of this stream; -1: not begun.
    cdef Py_ssize_t start_offset

    cdef bint is_touched(self) noexcept
    # Note that the call is overdue, and return the error of it.
    cdef object overdue(self)
    cdef object fate(self)
    cdef Py_ssize_t queued(self) except -2
    cdef bint is_full(self) except -1
    cdef bint disown(self) noexcept
    cpdef release(self)
    cpdef take(self)
    cpdef resume(self)
    cpdef relay_to(self, BodyRelay relay)
    cdef int take_native_head(self, HTTP2Message head, bint ends) except -1
    cdef int take_head(self, tuple fields, bint ends) except -1
    cdef int take_data(self, bytes data, bint ends) except -1
    cdef int take_trailers(self, tuple fields) except -1
    cdef int take_informational_head(self, tuple fields) except -1
    # Have what has arrived passed on.
    cdef int progressed(self) except -1
    # Carry a straight call: send its head and its whole body.
    cdef int begin_straight(self, InFlightCall caller, HTTP2RequestHead head, bytes body) except -1
    # Let the ordinary call `caller` go on in place of the straight one, with all that has arrived.
    cpdef continue_with(self, caller)
    cdef int become_ordinary(self) except -1
    # Have an ordinary call take all that has arrived, because the call fails or its answer is slow.
    cdef int hand_over(self) except -1
    cdef int set_caller(self, caller) except -1
    cdef int make_lists(self) except -1
    cdef bint may_wait(self) noexcept
    cdef int keep_open(self) except -1


# Return a stream for a straight call.
cdef HTTP2Stream new_stream(HTTP2StreamHost connection)
