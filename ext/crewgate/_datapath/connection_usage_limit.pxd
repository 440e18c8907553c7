"""The C interface of the limits on what one connection carries."""


cdef class ConnectionUsageLimit:
    cdef public long long requests
    cdef public long long octets                # bytes in both directions
    cdef public double partial_since
    cdef public bint held
    cdef long long bad_tokens, stream_errors
    cdef bint was_used_up
    cdef object counters                        # ListenerCounters

    # As the methods for Python.
    cdef bint drips_at(self, double now) except -1
    cdef bint is_last_broken_stream(self) except -1
