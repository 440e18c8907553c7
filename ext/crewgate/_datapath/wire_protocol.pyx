"""The base class of wire protocols in native code; see the stub."""

from libc.stdint cimport uint8_t


cdef class NativeWireProtocol:
    """See the stub."""

    cdef bint receive_native(self, const uint8_t *data, size_t size) except -1:
        raise NotImplementedError

    cdef int take_held(self) except -1:
        raise NotImplementedError

    cdef Py_ssize_t next_output(self, const uint8_t **data) except -1:
        raise NotImplementedError

    cdef bint is_paused(self) except -1:
        return self.paused

    cdef bint wants_output(self) except -1:
        return self.has_output

    cdef bint all_sent(self) except -1:
        return self.sent_all()
