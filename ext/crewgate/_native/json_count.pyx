"""Counts the values at the outermost level of a JSON text without making objects of them."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

cdef extern from "json_count.h" nogil:
    size_t json_count_members(const unsigned char *text, size_t n)


def outline(text):
    """See the stub."""
    if not isinstance(text, bytes):
        raise TypeError("a JSON text is given as bytes")
    cdef const unsigned char *octets = <const unsigned char *>PyBytes_AS_STRING(text)
    cdef size_t size = PyBytes_GET_SIZE(text)
    cdef size_t count
    with nogil:
        count = json_count_members(octets, size)
    return count
