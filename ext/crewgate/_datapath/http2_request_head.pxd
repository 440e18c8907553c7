"""The C interface of the head of a straight call's request, for a server that speaks HTTP/2."""

from libc.stdint cimport uint8_t

from crewgate._datapath.nghttp2_library cimport nghttp2_nv


cdef class HTTP2RequestHead:
    cdef nghttp2_nv *fields  # in wire order
    cdef size_t count, room
    cdef list sources  # the objects whose text `fields` points to

    # Append a field. Its text must live as long as the head: see `keep`.
    cdef int add(
        self, const uint8_t *name, size_t name_size, const uint8_t *value, size_t value_size,
        bint is_never_indexed,
    ) except -1
    # Append a field, and keep its value; `name` must live as long as the module that has it.
    cdef int add_own(self, bytes name, bytes value) except -1
    # Append pairs of bytes, and keep them.
    cdef int add_pairs(self, object pairs) except -1
    # Keep an object for as long as the head lives.
    cdef int keep(self, object source) except -1
    # Set the values of the scheme and the authority, which are the second and the third field.
    cdef int set_server(self, bytes scheme, bytes authority) except -1
    cdef int set_value(self, size_t place, bytes value) except -1


# Return an empty head with room for this many fields.
cdef HTTP2RequestHead new_head(size_t room)
