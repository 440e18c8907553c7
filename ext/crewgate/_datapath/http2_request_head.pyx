"""Holds the head of a request as nghttp2 takes it, without a Python object for each field.

Its fields point to text that other objects own: the client's request, the configuration, the caches
of the listener. The head keeps these objects. nghttp2 copies all text when it gets the head.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc

from ngh2 import NeverIndexedHeader

from crewgate._datapath.nghttp2_library cimport (
    NGHTTP2_NV_FLAG_NO_INDEX, NGHTTP2_NV_FLAG_NONE, nghttp2_nv,
)

cdef object NEVER_INDEXED = NeverIndexedHeader
cdef enum:
    SCHEME = 1  # the places of these fields
    AUTHORITY = 2


@cython.final
@cython.freelist(16)
cdef class HTTP2RequestHead:
    """See the C interface."""

    def __dealloc__(self):
        free(self.fields)

    cdef int add(
        self, const uint8_t *name, size_t name_size, const uint8_t *value, size_t value_size,
        bint is_never_indexed,
    ) except -1:
        if self.count == self.room:
            raise IndexError("the head of a request has no room for another field")
        cdef nghttp2_nv *field = &self.fields[self.count]
        field.name, field.namelen = <uint8_t *>name, name_size
        field.value, field.valuelen = <uint8_t *>value, value_size
        field.flags = NGHTTP2_NV_FLAG_NO_INDEX if is_never_indexed else NGHTTP2_NV_FLAG_NONE
        self.count += 1
        return 0

    cdef int add_own(self, bytes name, bytes value) except -1:
        self.keep(value)
        return self.add(
            <const uint8_t *>PyBytes_AS_STRING(name), <size_t>PyBytes_GET_SIZE(name),
            <const uint8_t *>PyBytes_AS_STRING(value), <size_t>PyBytes_GET_SIZE(value), False)

    cdef int add_pairs(self, object pairs) except -1:
        cdef bytes name, value
        for pair in pairs:
            name, value = <bytes?>(<tuple?>pair)[0], <bytes?>(<tuple>pair)[1]
            self.add(
                <const uint8_t *>PyBytes_AS_STRING(name), <size_t>PyBytes_GET_SIZE(name),
                <const uint8_t *>PyBytes_AS_STRING(value), <size_t>PyBytes_GET_SIZE(value),
                type(pair) is NEVER_INDEXED)
        return self.keep(pairs)

    cdef int keep(self, object source) except -1:
        self.sources.append(source)
        return 0

    cdef int set_server(self, bytes scheme, bytes authority) except -1:
        self.keep(scheme)
        self.keep(authority)
        self.set_value(SCHEME, scheme)
        return self.set_value(AUTHORITY, authority)

    cdef int set_value(self, size_t place, bytes value) except -1:
        if place >= self.count:
            raise IndexError("the head of a request has no such field")
        self.fields[place].value = <uint8_t *>PyBytes_AS_STRING(value)
        self.fields[place].valuelen = <size_t>PyBytes_GET_SIZE(value)
        return 0


cdef HTTP2RequestHead new_head(size_t room):
    cdef HTTP2RequestHead head = HTTP2RequestHead.__new__(HTTP2RequestHead)
    head.fields = <nghttp2_nv *>malloc(room * sizeof(nghttp2_nv))
    if head.fields == NULL:
        raise MemoryError("no memory for the head of a request")
    head.room = room
    head.sources = []
    return head
