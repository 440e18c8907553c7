"""The C interface of a wire protocol, as a client's socket uses it."""

from libc.stdint cimport uint8_t


cdef class NativeWireProtocol:
    cdef public bint closing

    # As `WireProtocol.receive` of crewgate/server/protocol.py. `data` is valid during the call.
    cdef bint receive_native(self, const uint8_t *data, size_t size) except -1
    # Whether the protocol keeps what it has received, because a request may soon be whole. The
    # socket then reads again, and calls `take_held` if it has read no more, or is done for now.
    cdef bint is_holding
    # Whether events wait for a later turn, because the earlier ones took long. Then the protocol is
    # paused, and the socket calls `take_held` in that turn.
    cdef bint is_behind
    cdef int take_held(self) except -1
    # As `WireProtocol.bytes_to_send`; returns the size. `data` is valid until another protocol is
    # asked, so the socket copies what the kernel does not take.
    cdef Py_ssize_t next_output(self, const uint8_t **data) except -1
    # As `paused`, `has_output` and `sent_all`. By default they ask the methods for Python.
    cdef bint is_paused(self) except -1
    cdef bint wants_output(self) except -1
    cdef bint all_sent(self) except -1
