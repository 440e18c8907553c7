"""The C interface of a whole answer to a straight call, whatever version of HTTP brought it."""

from crewgate._native.fields cimport message_field

cdef enum:
    WHOLE_FIELDS_MAX = 64  # as many as a plain answer has (plain_answer.h)
    WHOLE_NAMES_BYTES = 16_384  # ANSWER_HEAD_BYTES_MAX


# All of it is valid while the connection tells the call of it (`InFlightCall.answered`).
cdef class WholeAnswer:
    cdef int status_code(self) noexcept
    # Fill in the fields, with names in lower case; return their number, or -1 if there are more
    # than WHOLE_FIELDS_MAX. `names` has room for WHOLE_NAMES_BYTES.
    cdef Py_ssize_t slices(self, message_field *fields, char *names) noexcept
    cdef Py_ssize_t body_bytes(self) noexcept
    cdef bytes joined_body(self)
