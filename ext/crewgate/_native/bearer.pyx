"""Finds the token of a request: `find_token` of core/bearer, compiled.

It checks only that there is exactly one token. The gate decides whether that is good.
"""

from crewgate.core.problem_types import Reason

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE

from crewgate._native.fields cimport checked, name_glance, name_glance_add, name_may_be_among

cdef extern from "bearer.h" nogil:
    bint bearer_in_query(const unsigned char *query, size_t n) noexcept
    bint bearer_token(const unsigned char *value, size_t n, size_t *begin, size_t *size) noexcept
    bint bearer_is_one(const unsigned char *token, size_t n) noexcept

cdef object INVALID = Reason.INVALID_REQUEST
cdef object MISSING = Reason.MISSING_TOKEN
cdef bytes AUTHORIZATION = b"authorization"


cdef inline const unsigned char *text_of(bytes text) noexcept:
    return <const unsigned char *>PyBytes_AS_STRING(text)


cdef class TokenFinder:
    """See the stub."""

    cdef name_glance glance
    cdef frozenset carriers

    def __cinit__(self, carriers):
        self.carriers = frozenset(carriers)
        for name in self.carriers:
            if not PyBytes_CheckExact(name):
                raise TypeError("a carrier's name is bytes")
            name_glance_add(&self.glance, text_of(name), PyBytes_GET_SIZE(name))

    cdef bint carries(self, bytes name) except -1:
        return name_may_be_among(&self.glance, text_of(name), PyBytes_GET_SIZE(name)) and (
            name in self.carriers)

    def find(self, fields, bytes query not None):
        cdef tuple walked = checked(fields)
        cdef bytes name, value, found = None
        cdef bint authorized = False
        cdef size_t begin, size
        if bearer_in_query(text_of(query), PyBytes_GET_SIZE(query)):
            return INVALID
        for field in walked:
            name = <bytes>(<tuple>field)[0]
            if not self.carries(name):
                continue
            value = <bytes>(<tuple>field)[1]
            begin, size = 0, <size_t>PyBytes_GET_SIZE(value)
            if name == AUTHORIZATION:
                if authorized:
                    return INVALID
                authorized = True
                if not bearer_token(text_of(value), size, &begin, &size):
                    continue
            if found is not None or not bearer_is_one(text_of(value) + begin, size):
                return INVALID
            found = value[begin:begin + size]
        return MISSING if found is None else found
