"""Selects the fields of a message that are passed on, and writes fields as HTTP/1.1.

The gateway's policy (gateway/headers.py) gives the names to drop, refuse or allow; here is the loop
over the fields. It accepts only exact `bytes`, so no code of another class runs during the loop.
"""

from crewgate.core.bearer import OURS, PLAIN
from crewgate.errors import InvalidRequestError

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_Check, PyTuple_GET_SIZE
from libc.string cimport memcmp, memcpy

cdef bytes ours = OURS
cdef bytes plain = PLAIN
cdef const unsigned char *MAP = <const unsigned char *>PyBytes_AS_STRING(plain)
cdef char *CONNECTION = b"connection"

if len(plain) != 256:
    raise ImportError("PLAIN does not map every byte")


cdef inline const unsigned char *text_of(bytes name) noexcept:
    return <const unsigned char *>PyBytes_AS_STRING(name)


cdef inline size_t size_of(bytes name) noexcept:
    return <size_t>PyBytes_GET_SIZE(name)


cdef tuple checked(object fields):
    """Return the fields as a tuple, after a check that each is two `bytes`. A list is copied,
    because a garbage collection may run any code, which could change the list."""
    cdef tuple walked = tuple(fields)
    for field in walked:
        if not PyTuple_Check(field) or PyTuple_GET_SIZE(field) != 2 or not (
                PyBytes_CheckExact((<tuple>field)[0]) and PyBytes_CheckExact((<tuple>field)[1])):
            raise TypeError("a field is a pair of bytes")
    return walked


cdef frozenset names_of(object names):
    cdef frozenset given = frozenset(names)
    for name in given:
        if not PyBytes_CheckExact(name):
            raise TypeError("a field's name is bytes")
    return given


cdef bint is_connection(bytes name) noexcept:
    return size_of(name) == 10 and memcmp(text_of(name), CONNECTION, 10) == 0


def written(fields):
    """See the stub."""
    return lines(checked(fields))


def values(fields, bytes name not None):
    """See the stub."""
    cdef list found = None
    for field in checked(fields):
        if size_of(<bytes>(<tuple>field)[0]) == size_of(name) and memcmp(
                text_of(<bytes>(<tuple>field)[0]), text_of(name), size_of(name)) == 0:
            found = [] if found is None else found
            found.append((<tuple>field)[1])
    return () if found is None else tuple(found)


def named(fields, frozenset names not None, Py_ssize_t value_bytes_max):
    """See the stub."""
    cdef list found = []
    for field in checked(fields):
        if (<tuple>field)[0] not in names:
            continue
        if PyBytes_GET_SIZE((<tuple>field)[1]) > value_bytes_max:
            return None
        found.append(field)
    return tuple(found)


cdef bytes lines(tuple fields):
    cdef Py_ssize_t size = 0
    for field in fields:
        size += PyBytes_GET_SIZE((<tuple>field)[0]) + PyBytes_GET_SIZE((<tuple>field)[1]) + 4
    cdef bytes text = PyBytes_FromStringAndSize(NULL, size)
    cdef char *end = PyBytes_AS_STRING(text)
    for field in fields:
        end = put(end, <bytes>(<tuple>field)[0], b": ")
        end = put(end, <bytes>(<tuple>field)[1], b"\r\n")
    return text


cdef inline char *put(char *end, bytes text, const char *two) noexcept:
    """Append a text and two characters; return the new end."""
    cdef size_t size = size_of(text)
    memcpy(end, text_of(text), size)
    memcpy(end + size, two, 2)
    return end + size + 2


cdef class Filter:
    """The common base of both filters: the loop over the fields."""

    cdef set_dropped(self, object dropped):
        self.dropped = names_of(dropped)
        for name in self.dropped:
            name_glance_add(&self.glance, text_of(name), size_of(name))

    cdef inline bint is_dropped(self, bytes name) except -1:
        return name_may_be_among(&self.glance, text_of(name), size_of(name)) and (
            name in self.dropped)

    cdef int passes(self, bytes name) except -1:
        raise NotImplementedError

    cdef set options(self, tuple fields):
        """Return the fields that Connection names as hop-by-hop (RFC 9110, section 7.6.1), without
        `keep-alive`, which is dropped anyway; None if there are none, as always in HTTP/2."""
        cdef set named = None
        cdef bytes value
        for field in fields:
            if is_connection(<bytes>(<tuple>field)[0]):
                value = <bytes>(<tuple>field)[1]
                if self.is_dropped(value):
                    continue
                named = set() if named is None else named
                for option in value.split(b","):
                    named.add((<bytes>option).strip().lower())
        return named

    cdef list chosen(self, tuple walked, bytes token):
        """Return the fields to pass on, without those whose value has the token, if it is given."""
        cdef list kept = []
        cdef set named = self.options(walked)
        cdef bytes name, value
        cdef size_t least = size_of(token)
        for field in walked:
            name = <bytes>(<tuple>field)[0]
            if not self.passes(name) or (named is not None and name in named):
                continue
            if least:
                value = <bytes>(<tuple>field)[1]
                if size_of(value) >= least and token in value:
                    continue
            kept.append(field)
        return kept

    def kept(self, fields, bytes token not None=b""):
        return self.chosen(checked(fields), token)

    def written(self, fields, bytes token not None=b""):
        return lines(tuple(self.chosen(checked(fields), token)))


cdef class FieldFilter(Filter):
    """See the stub."""

    def __cinit__(self, dropped, refused, allowed):
        self.set_dropped(dropped)
        self.refused = tuple(names_of(refused))
        self.allowed = names_of(allowed)

    cdef int passes(self, bytes name) except -1:
        if self.is_dropped(name):
            return False
        if self.is_ours(name):
            raise InvalidRequestError(400, f"the field {name.decode('latin-1')} is the gateway's")
        return name_is_plain(text_of(name), size_of(name), MAP) or name in self.allowed

    cdef bint is_ours(self, bytes name) noexcept:
        if name_begins(text_of(name), size_of(name), MAP, text_of(ours), size_of(ours)):
            return True
        for word in self.refused:
            if size_of(<bytes>word) == size_of(name) and name_begins(
                    text_of(name), size_of(name), MAP, text_of(<bytes>word), size_of(name)):
                return True
        return False


cdef class ResponseFilter(Filter):
    """See the stub."""

    def __cinit__(self, dropped):
        self.set_dropped(dropped)

    cdef int passes(self, bytes name) except -1:
        if self.is_dropped(name):
            return False
        # As in a request: some frameworks map "-", "_" and "." of a name to one character.
        return not name_begins(text_of(name), size_of(name), MAP, text_of(ours), size_of(ours))
