"""The C interface of the field filters.

A native caller has its fields as slices (`message_field`). `Filter.select` decides about them
without an object; `field_lines_put` writes what it has kept as HTTP/1.1.
"""

cdef extern from "message_field.h" nogil:
    ctypedef struct message_field:
        const unsigned char *name
        const unsigned char *value
        size_t name_size
        size_t value_size
        unsigned char is_never_indexed

    size_t field_lines_size(const message_field **fields, size_t count) noexcept
    char *field_lines_put(char *to, const message_field **fields, size_t count) noexcept


cdef extern from "name_set.h" nogil:
    ctypedef struct name_entry:
        const unsigned char *text
        size_t size

    ctypedef struct name_set:
        name_entry *entries
        size_t count

    bint name_set_open(name_set *names, size_t room) noexcept
    void name_set_close(name_set *names) noexcept
    void name_set_add(name_set *names, const unsigned char *name, size_t n) noexcept
    void name_set_sort(name_set *names) noexcept
    bint name_set_has(const name_set *names, const unsigned char *name, size_t n) noexcept


cdef extern from "field_rules.h" nogil:
    const int FIELD_DROPPED, FIELD_PASSED, FIELD_REFUSED
    const Py_ssize_t FIELDS_UNUSUAL

    ctypedef struct field_rules:
        name_set dropped
        name_set refused
        name_set allowed
        const unsigned char *map
        const unsigned char *ours
        size_t ours_size
        bint is_request

    int field_decide(const field_rules *rules, const unsigned char *name, size_t n) noexcept
    bint field_is_connection(const unsigned char *name, size_t n) noexcept
    bint field_options_are_dropped(
        const field_rules *rules, const unsigned char *value, size_t n) noexcept
    bint field_has(const unsigned char *value, size_t n, const unsigned char *token,
                   size_t size) noexcept
    Py_ssize_t fields_select(
        const field_rules *rules, const message_field *fields, size_t count,
        const unsigned char *token, size_t token_size, const message_field **kept) noexcept


cdef enum:
    SLICES_USUAL = 128  # of one message


# The fields of a Python message as slices, valid as long as the tuple lives.
cdef struct FieldSlices:
    message_field *fields
    const message_field **kept              # room for what a filter selects
    size_t count
    message_field usual_fields[SLICES_USUAL]
    const message_field *usual_kept[SLICES_USUAL]


cdef tuple checked(object fields)
cdef frozenset fill_names(name_set *names, object given)
cdef int open_slices(FieldSlices *slices, tuple fields) except -1
cdef void close_slices(FieldSlices *slices) noexcept


cdef class Filter:
    cdef field_rules rules
    cdef frozenset dropped, refused, allowed  # keep the names of `rules`

    # Select the fields to pass on, in order; `kept` has room for all. Return their number, or
    # FIELDS_UNUSUAL: then ask `kept` or `written`, which also raise what is to be raised.
    cdef Py_ssize_t select(
        self, const message_field *fields, size_t count, const unsigned char *token,
        size_t token_size, const message_field **kept) noexcept nogil
    cdef bint passes(self, bytes name) except -1
    cdef set options(self, tuple fields)
    cdef list chosen(self, tuple walked, bytes token)


cdef class FieldFilter(Filter):
    pass


cdef class ResponseFilter(Filter):
    pass
