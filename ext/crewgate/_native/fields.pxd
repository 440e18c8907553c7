"""The C interface of the field filters."""

from libc.stdint cimport uint64_t


cdef extern from "field_name.h" nogil:
    ctypedef struct name_glance:
        uint64_t lengths[256]

    void name_glance_add(name_glance *glance, const unsigned char *name, size_t n) noexcept
    bint name_may_be_among(const name_glance *glance, const unsigned char *name, size_t n) noexcept
    bint name_begins(const unsigned char *name, size_t n, const unsigned char *map,
                     const unsigned char *word, size_t m) noexcept
    bint name_is_odd(const unsigned char *name, size_t n, const unsigned char *map) noexcept
    bint name_is_plain(const unsigned char *name, size_t n, const unsigned char *map) noexcept


cdef tuple checked(object fields)


cdef class Filter:
    cdef name_glance glance
    cdef frozenset dropped

    cdef set_dropped(self, object dropped)
    cdef bint is_dropped(self, bytes name) except -1
    cdef int passes(self, bytes name) except -1
    cdef set options(self, tuple fields)
    cdef list chosen(self, tuple walked, bytes token)


cdef class FieldFilter(Filter):
    cdef tuple refused
    cdef frozenset allowed

    cdef bint is_ours(self, bytes name) noexcept


cdef class ResponseFilter(Filter):
    pass
