"""The C interface of the queue of calls that have ended."""

from libc.stdint cimport uint64_t

from crewgate._native.metrics cimport CallBatch


cdef class EndedCallQueue:
    cdef readonly CallBatch calls
    cdef object sink, poller
    cdef list lines, permits, costs

    # Take a call that has ended. Put it into `calls` right after that, for the metrics.
    cdef int add_ended(self, bytes line, object permit, uint64_t cost) except -1
