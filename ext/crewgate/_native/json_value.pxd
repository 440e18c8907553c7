"""Reads one value of a JSON text that was checked (`json_document.h`).

A value is where it is in the text; `at` is NULL for a value that is not there.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp


cdef extern from "json_text.h" nogil:
    ctypedef struct json_text:
        const unsigned char *at
        const unsigned char *end
    unsigned char *json_decode(json_text string, unsigned char *out) noexcept
    void json_skip_blank(json_text *t) noexcept


cdef inline size_t size_of(json_text span) noexcept:
    return <size_t>(span.end - span.at)


cdef inline bytes raw(json_text span):
    """Return the JSON text of a value; None if there is no value."""
    return None if span.at == NULL else PyBytes_FromStringAndSize(
        <const char *>span.at, span.end - span.at)


cdef inline bint equals(json_text span, const char *word, size_t n) noexcept:
    return size_of(span) == n and memcmp(span.at, word, n) == 0


cdef inline bint is_null(json_text span) noexcept:
    return span.at == NULL or equals(span, b"null", 4)


cdef inline bint is_object(json_text span) noexcept:
    return span.at != NULL and span.at < span.end and span.at[0] == c"{"


cdef inline bint is_string(json_text span) noexcept:
    return size_of(span) >= 2 and span.at[0] == c'"'


cdef inline object decoded(json_text span):
    """Return the text of a string."""
    cdef json_text inside = json_text(span.at + 1, span.end - 1)
    cdef bytes out
    cdef char *start
    if memchr(inside.at, c"\\", size_of(inside)) == NULL:
        return PyUnicode_DecodeUTF8(<const char *>inside.at, size_of(inside), NULL)
    out = PyBytes_FromStringAndSize(NULL, size_of(inside))
    start = PyBytes_AS_STRING(out)
    return PyUnicode_DecodeUTF8(
        start, <char *>json_decode(inside, <unsigned char *>start) - start, NULL)


cdef inline bint is_integer(json_text span) noexcept:
    """Whether a number is an integer that every JSON reader keeps exact: up to 2^53 - 1."""
    cdef const unsigned char *at = span.at
    cdef uint64_t value = 0
    cdef size_t digits
    if at < span.end and at[0] == c"-":
        at += 1
    digits = <size_t>(span.end - at)
    if digits == 0 or digits > 16 or (at != span.at and at[0] == c"0"):
        return False
    while at < span.end:
        if not c"0" <= at[0] <= c"9":
            return False
        value = value * 10 + (at[0] - c"0")
        at += 1
    return value < <uint64_t>1 << 53
