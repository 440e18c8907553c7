"""Finds the token of a request: `find_token` of core/bearer, compiled.

It checks only that there is exactly one token. The gate decides whether that is good.
"""

from crewgate.core.bearer import Credentials
from crewgate.core.reasons import Reason

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp, memset

from crewgate._native.fields cimport (
    FieldSlices, checked, close_slices, fill_names, message_field, name_set_close, name_set_has,
    open_slices,
)

cdef object INVALID = Reason.INVALID_REQUEST
cdef object MISSING = Reason.MISSING_TOKEN
cdef char *AUTHORIZATION = b"authorization"
cdef char *DPOP = b"dpop"


cdef bint is_authorization(const message_field *field) noexcept nogil:
    return field.name_size == 13 and memcmp(field.name, AUTHORIZATION, 13) == 0


cdef bint is_proof(const message_field *field) noexcept nogil:
    return field.name_size == 4 and memcmp(field.name, DPOP, 4) == 0


cdef bytes proof_of(const bearer_search *found):
    """Return the proof that came with the DPoP scheme; None with another scheme."""
    if not found.is_dpop:
        return None
    return PyBytes_FromStringAndSize(<const char *>found.proof, <Py_ssize_t>found.proof_size) if (
        found.proof != NULL) else b""


cdef class TokenFinder:
    """See the stub."""

    def __cinit__(self, carriers):
        self.carriers = fill_names(&self.names, carriers)

    def __dealloc__(self):
        name_set_close(&self.names)

    cdef bint search(self, const message_field *fields, size_t count, const unsigned char *query,
                     size_t query_size, bearer_search *search) noexcept nogil:
        cdef const message_field *field
        cdef size_t at
        memset(search, 0, sizeof(bearer_search))
        if bearer_in_query(query, query_size):
            return False
        for at in range(count):
            field = &fields[at]
            if is_proof(field):
                if not bearer_take_proof(search, field.value, field.value_size):
                    return False
            elif name_set_has(&self.names, field.name, field.name_size) and not bearer_take(
                    search, is_authorization(field), field.value, field.value_size):
                return False
        return True

    def find(self, fields, bytes query not None):
        cdef tuple walked = checked(fields)  # keeps the slices
        cdef FieldSlices slices
        cdef bearer_search found
        cdef const unsigned char *text = <const unsigned char *>PyBytes_AS_STRING(query)
        try:
            open_slices(&slices, walked)
            if not self.search(slices.fields, slices.count, text, PyBytes_GET_SIZE(query), &found):
                return INVALID
            if found.token == NULL:
                return MISSING
            token = PyBytes_FromStringAndSize(<const char *>found.token, <Py_ssize_t>found.size)
            return Credentials(token, proof_of(&found))
        finally:
            close_slices(&slices)
