"""What a `SocketPoller` calls in a turn; see the stub."""

from libc.stdint cimport uint32_t, uint64_t


cdef class TurnWork:
    """See the stub."""

    cdef int run(self) except -1:
        raise NotImplementedError


cdef class Pollable(TurnWork):
    """See the stub."""

    cdef bint ready(self, uint32_t events) except -1:
        raise NotImplementedError


cdef class TurnCheck:
    """See the stub."""

    cdef int run(self, uint64_t now_ns, bint is_quiet) except -1:
        raise NotImplementedError
