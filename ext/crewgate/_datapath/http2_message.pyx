"""Holds the fields of one head that a peer sent, without a Python object for each of them.

The fields and their text stand in one block of memory (field_arena.h), which goes back to a
store when the object ends. This module knows no HTTP/2: the callbacks of nghttp2 add the fields. It
makes Python pairs of the fields only if a caller asks for them.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from cpython.ref cimport Py_INCREF
from libc.string cimport memcmp

from ngh2 import NeverIndexedHeader

from crewgate import limits

cdef extern from "field_arena.h":
    ctypedef struct arena_store:
        size_t count_max
        size_t text_max
        size_t field_max
    arena_block *arena_take(arena_store *store)
    void arena_give(arena_store *store, arena_block *block)
    int arena_add(
        arena_block *block, const unsigned char *name, size_t name_size,
        const unsigned char *value, size_t value_size, int is_never_indexed)

cdef object never_indexed = NeverIndexedHeader
cdef arena_store store
store.count_max = limits.kept_heads_max
store.text_max = limits.kept_head_bytes
store.field_max = limits.kept_head_fields


@cython.no_gc  # its presenter refers to nothing that could refer to it
@cython.final
@cython.freelist(64)
cdef class HTTP2Message:
    """See the C interface."""

    def __cinit__(self):
        self.block = arena_take(&store)
        if self.block == NULL:
            raise MemoryError("no memory for the fields of a request")

    def __dealloc__(self):
        if self.block != NULL:
            arena_give(&store, self.block)

    cdef int add(
        self, const uint8_t *name, size_t name_size, const uint8_t *value, size_t value_size,
        bint is_never_indexed,
    ) except -1:
        if arena_add(self.block, name, name_size, value, value_size, is_never_indexed) < 0:
            raise MemoryError("no memory for the fields of a request")
        return 0

    cdef void find_pseudo_fields(self) noexcept:
        cdef arena_block *block = self.block
        cdef message_field *field
        self.pseudo_count = 0
        while self.pseudo_count < block.field_count:
            field = &block.fields[self.pseudo_count]
            if field.name_size == 0 or field.name[0] != c":":
                break
            if is_named(field, b":method", 7):
                self.method = field
            elif is_named(field, b":path", 5):
                self.path = field
            elif is_named(field, b":authority", 10):
                self.authority = field
            elif is_named(field, b":scheme", 7):
                self.scheme = field
            elif is_named(field, b":status", 7):
                self.status = field
            self.pseudo_count += 1

    cdef tuple python_fields(self):
        cdef arena_block *block = self.block
        cdef message_field *field
        cdef size_t index
        cdef tuple fields = PyTuple_New(<Py_ssize_t>block.field_count)
        cdef object pair
        for index in range(block.field_count):
            field = &block.fields[index]
            pair = (
                PyBytes_FromStringAndSize(<const char *>field.name, <Py_ssize_t>field.name_size),
                PyBytes_FromStringAndSize(<const char *>field.value, <Py_ssize_t>field.value_size),
            )
            if field.is_never_indexed:
                pair = never_indexed(*pair)
            Py_INCREF(pair)  # SET_ITEM takes a reference
            PyTuple_SET_ITEM(fields, <Py_ssize_t>index, pair)
        return fields


cdef inline bint is_named(message_field *field, const char *name, size_t size) noexcept:
    return field.name_size == size and memcmp(field.name, name, size) == 0


cdef HTTP2Message new_message(int32_t stream):
    cdef HTTP2Message request = HTTP2Message.__new__(HTTP2Message)
    request.stream = stream
    return request
