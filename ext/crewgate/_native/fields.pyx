"""Selects the fields of a message that are passed on, and writes fields as HTTP/1.1.

The gateway's policy (gateway/headers.py) gives the names to drop, refuse or allow; here is the loop
over the fields. It accepts only exact `bytes`, so no code of another class runs during the loop.
"""

from crewgate.core.bearer import OURS, PLAIN
from crewgate.errors import InvalidRequestError

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_Check, PyTuple_GET_SIZE
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp

cdef bytes ours = OURS
cdef bytes plain = PLAIN

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


cdef frozenset fill_names(name_set *names, object given):
    """Fill a new set; return its names, which have to be kept as long as the set."""
    cdef frozenset kept = frozenset(given)
    for name in kept:
        if not PyBytes_CheckExact(name):
            raise TypeError("a field's name is bytes")
    if not name_set_open(names, <size_t>len(kept)):
        raise MemoryError
    for name in kept:
        name_set_add(names, text_of(name), size_of(name))
    name_set_sort(names)
    return kept


cdef int open_slices(FieldSlices *slices, tuple fields) except -1:
    """Fill slices with checked fields. Close them with `close_slices`, also after an error."""
    cdef size_t at
    cdef message_field *slot
    slices.count = <size_t>len(fields)
    slices.fields, slices.kept = slices.usual_fields, slices.usual_kept
    if slices.count > SLICES_USUAL:
        slices.fields = <message_field *>calloc(slices.count, sizeof(message_field))
        slices.kept = <const message_field **>calloc(slices.count, sizeof(message_field *))
        if slices.fields == NULL or slices.kept == NULL:
            raise MemoryError
    for at in range(slices.count):
        field = <tuple>fields[at]
        slot = &slices.fields[at]
        slot.name, slot.name_size = text_of(<bytes>field[0]), size_of(<bytes>field[0])
        slot.value, slot.value_size = text_of(<bytes>field[1]), size_of(<bytes>field[1])
    return 0


cdef void close_slices(FieldSlices *slices) noexcept:
    if slices.fields != slices.usual_fields:
        free(slices.fields)
    if slices.kept != slices.usual_kept:
        free(slices.kept)


cdef bytes lines_of(const message_field **fields, size_t count):
    """Return some fields as HTTP/1.1 writes them."""
    cdef bytes text = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>field_lines_size(fields, count))
    field_lines_put(PyBytes_AS_STRING(text), fields, count)
    return text


cdef bytes lines(tuple fields):
    cdef FieldSlices slices
    cdef size_t at
    try:
        open_slices(&slices, fields)
        for at in range(slices.count):
            slices.kept[at] = &slices.fields[at]
        return lines_of(slices.kept, slices.count)
    finally:
        close_slices(&slices)


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


cdef class Filter:
    """The common base of both filters: the loop over the fields."""

    def __cinit__(self, *_):
        self.rules.map, self.rules.ours = text_of(plain), text_of(ours)
        self.rules.ours_size = size_of(ours)

    def __dealloc__(self):
        name_set_close(&self.rules.dropped)
        name_set_close(&self.rules.refused)
        name_set_close(&self.rules.allowed)

    cdef Py_ssize_t select(
            self, const message_field *fields, size_t count, const unsigned char *token,
            size_t token_size, const message_field **kept) noexcept nogil:
        return fields_select(&self.rules, fields, count, token, token_size, kept)

    def kept(self, fields, bytes token not None=b""):
        cdef tuple walked = checked(fields)
        cdef FieldSlices slices
        cdef Py_ssize_t count, at
        try:
            open_slices(&slices, walked)
            count = self.select(
                slices.fields, slices.count, text_of(token), size_of(token), slices.kept)
            if count != FIELDS_UNUSUAL:
                return [walked[slices.kept[at] - slices.fields] for at in range(count)]
        finally:
            close_slices(&slices)
        return self.chosen(walked, token)

    def written(self, fields, bytes token not None=b""):
        cdef tuple walked = checked(fields)
        cdef FieldSlices slices
        cdef Py_ssize_t count
        try:
            open_slices(&slices, walked)
            count = self.select(
                slices.fields, slices.count, text_of(token), size_of(token), slices.kept)
            if count != FIELDS_UNUSUAL:
                return lines_of(slices.kept, <size_t>count)
        finally:
            close_slices(&slices)
        return lines(tuple(self.chosen(walked, token)))

    cdef bint passes(self, bytes name) except -1:
        cdef int decided = field_decide(&self.rules, text_of(name), size_of(name))
        if decided == FIELD_REFUSED:
            raise InvalidRequestError(400, f"the field {name.decode('latin-1')} is the gateway's")
        return decided == FIELD_PASSED

    cdef set options(self, tuple fields):
        """Return the fields that Connection names as hop-by-hop (RFC 9110, section 7.6.1); None if
        all of them are dropped anyway."""
        cdef set named = None
        cdef bytes name, value
        for field in fields:
            name, value = <bytes>(<tuple>field)[0], <bytes>(<tuple>field)[1]
            if not field_is_connection(text_of(name), size_of(name)) or (
                    field_options_are_dropped(&self.rules, text_of(value), size_of(value))):
                continue
            named = set() if named is None else named
            for option in value.split(b","):
                named.add((<bytes>option).strip().lower())
        return named

    cdef list chosen(self, tuple walked, bytes token):
        """Return the fields to pass on if `select` cannot decide: the same rules on objects."""
        cdef list kept = []
        cdef set named = self.options(walked)
        cdef bytes name, value
        for field in walked:
            name, value = <bytes>(<tuple>field)[0], <bytes>(<tuple>field)[1]
            if self.passes(name) and (named is None or name not in named) and not field_has(
                    text_of(value), size_of(value), text_of(token), size_of(token)):
                kept.append(field)
        return kept


cdef class FieldFilter(Filter):
    """See the stub."""

    def __cinit__(self, dropped, refused, allowed):
        self.rules.is_request = True
        self.dropped = fill_names(&self.rules.dropped, dropped)
        self.refused = fill_names(&self.rules.refused, refused)
        self.allowed = fill_names(&self.rules.allowed, allowed)


cdef class ResponseFilter(Filter):
    """See the stub."""

    def __cinit__(self, dropped):
        self.dropped = fill_names(&self.rules.dropped, dropped)
