"""The interface that the readers of both versions of HTTP have for a whole answer."""

from crewgate._native.fields cimport message_field


cdef class WholeAnswer:
    """See the C interface."""

    cdef int status_code(self) noexcept:
        return 0

    cdef Py_ssize_t slices(self, message_field *fields, char *names) noexcept:
        return -1

    cdef Py_ssize_t body_bytes(self) noexcept:
        return 0

    cdef bytes joined_body(self):
        return b""
