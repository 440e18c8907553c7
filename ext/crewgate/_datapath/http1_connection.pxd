"""The C interface of an HTTP/1.1 connection to a tool's server, and of the straight calls on it."""

from libc.stdint cimport uint32_t

from crewgate._datapath.body_relay cimport BodyRelay
from crewgate._datapath.in_flight cimport InFlightCall
from crewgate._datapath.plain_answer cimport PlainAnswer
from crewgate._datapath.pooled_connection cimport PooledConnection
from crewgate._datapath.response_parser cimport ResponseParser


cdef class HTTP1Connection(PooledConnection):
    cdef readonly ResponseParser answer
    cdef readonly double deadline
    cdef readonly bint fresh  # it has carried no call yet
    cdef object caller  # the ordinary call; None if there is none
    cdef BodyRelay relay  # is offered the body of the answer before `caller`; None: there is none
    cdef InFlightCall straight  # the straight call; None if there is none
    # Bytes of the current call that were handed to the transport, sent or not.
    cdef Py_ssize_t handed_bytes
    cdef Py_ssize_t head_bytes  # the size of the current request's head
    cdef bint keep_alive  # it may carry another call after this one
    cdef list out  # output of this turn, which is written at its end
    cdef Py_ssize_t out_bytes
    cdef bint is_sending  # the end of the request's body is still to come
    cdef bint is_chunked
    cdef bint is_full  # the caller waits for `writable`
    cdef public double idle_since  # when it last ended a call, in monotonic seconds
    # How long the connection was idle before the present call, and the longest such time after
    # which the server has answered.
    cdef double idle_before, proven_seconds
    cdef uint32_t server_keep_seconds  # as the server announced it; 0: it did not
    cdef readonly PlainAnswer plain  # the answer to a straight call

    # Carry a straight call on an idle connection: send `request`, its head (with Host) of
    # `head_size` bytes and its whole body, at the end of this turn.
    cpdef begin_straight(
        self, InFlightCall caller, bytes request, Py_ssize_t head_size, bint is_for_head
    )
    # Let the ordinary call `caller` go on in place of the straight one, and give it all bytes of
    # the answer that have arrived. Raises UpstreamError as `received` does.
    cpdef continue_with(self, caller)
    cdef bint is_touched(self) noexcept
    cdef bint has_no_call(self) noexcept

    cdef int start_call(self) except -1
    cpdef sweep(self, double now)
    cpdef close(self)
    cpdef pause(self)
    cpdef resume(self)
    cpdef relay_to(self, BodyRelay relay)
    cpdef release(self)
    cpdef drained(self)
    cpdef failed(self, error)
    cdef int take_straight(self, const char *data, Py_ssize_t size) except -1
    cdef int become_ordinary(self) except -1
    cdef int rest(self, bint bodyless) except -1
    cdef object delivery(self, error)
    cdef bint is_starved(self) noexcept
    cdef int queue(self, bytes data) except -1
    cdef int discard_output(self) except -1
    cdef int end(self) except -1
