"""Checks the head of a request in one pass over its fields, and makes an object of a given class.

It refuses a head that two parsers could read in two ways. Of HTTP/2 it knows only the pseudo
fields. Paths, tools and tokens are checked later. No client sees the texts of the refusals.
"""

from crewgate import limits
from crewgate.errors import InvalidRequestError

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memchr, memcmp

from crewgate._native.fields cimport checked

cdef extern from "Python.h":
    object PyObject_Vectorcall(object, PyObject *const *, size_t, PyObject *)

cdef extern from "request_line.h" nogil:
    const uint8_t IN_METHOD, IN_TARGET
    void line_prepare() noexcept
    bint line_is(const unsigned char *text, size_t n, uint8_t kind) noexcept
    bint line_is_authority(const unsigned char *text, size_t n) noexcept
    bint line_same(const unsigned char *a, size_t n, const unsigned char *b, size_t m) noexcept
    int64_t line_length(const unsigned char *text, size_t n) noexcept

line_prepare()

cdef size_t METHOD_BYTES_MAX = limits.method_bytes_max
cdef size_t AUTHORITY_BYTES_MAX = limits.authority_bytes_max


cdef inline const unsigned char *text_of(bytes text) noexcept:
    return <const unsigned char *>PyBytes_AS_STRING(text)


cdef inline size_t size_of(bytes text) noexcept:
    return <size_t>PyBytes_GET_SIZE(text)


cdef inline bint equals(bytes text, const char *word, size_t n) noexcept:
    return size_of(text) == n and memcmp(text_of(text), word, n) == 0


cdef object declared(object known, bytes value):
    """Return the size that a Content-Length names."""
    cdef int64_t length = line_length(text_of(value), size_of(value))
    if known is not None or length < 0:
        raise InvalidRequestError(400, "Content-Length is not one number")
    if length > limits.tool_body_bytes_max:
        raise InvalidRequestError(413, "the body is too large")
    return length


cdef bytes agreed(bytes named, bytes host):
    """Return the authority of the request line and Host, which must agree (RFC 9112 §3.2, RFC 9113
    §8.3.1)."""
    cdef bytes authority = host if named is None else named
    if authority is None or size_of(authority) > AUTHORITY_BYTES_MAX or (
            not line_is_authority(text_of(authority), size_of(authority))):
        raise InvalidRequestError(400, "no usable Host or :authority")
    if host is not None and not line_same(
            text_of(host), size_of(host), text_of(authority), size_of(authority)):
        raise InvalidRequestError(400, "Host differs from the request's authority")
    return authority


cdef class RequestHeadParser:
    """See the stub."""

    cdef object make
    cdef frozenset unsupported

    def __cinit__(self, make, unsupported):
        self.make = make
        self.unsupported = frozenset(unsupported)

    def build(self, bytes method not None, bytes target not None, bytes authority, fields, *,
              version, stream, streamed):
        exact(method)
        exact(target)
        if authority is not None:
            exact(authority)
        self.check_line(method, target)
        return self.sorted(
            method, target, authority, checked(fields), False, version, stream, bool(streamed))

    def read(self, fields, stream, streamed):
        cdef tuple walked = checked(fields)
        cdef bytes name, method = b"", target = b"", scheme = b"", authority = None
        for field in walked:
            name = <bytes>(<tuple>field)[0]
            if not size_of(name) or text_of(name)[0] != c":":
                continue
            if equals(name, b":method", 7):
                method = <bytes>(<tuple>field)[1]
            elif equals(name, b":path", 5):
                target = <bytes>(<tuple>field)[1]
            elif equals(name, b":scheme", 7):
                scheme = <bytes>(<tuple>field)[1]
            elif equals(name, b":authority", 10):
                authority = <bytes>(<tuple>field)[1]
        if equals(method, b"CONNECT", 7):
            raise InvalidRequestError(501, "CONNECT is not supported")
        if not equals(scheme, b"https", 5):
            raise InvalidRequestError(400, "the scheme is not https")
        self.check_line(method, target)
        return self.sorted(method, target, authority, walked, True, "2", stream, bool(streamed))

    cdef int check_line(self, bytes method, bytes target) except -1:
        if size_of(method) > METHOD_BYTES_MAX or (
                not line_is(text_of(method), size_of(method), IN_METHOD)
                or not line_is(text_of(target), size_of(target), IN_TARGET)):
            raise InvalidRequestError(400, "the request line holds bytes that it must not hold")
        if method in self.unsupported:
            raise InvalidRequestError(501, f"{method.decode()} is not supported")
        # RFC 9112 §3.2, RFC 9113 §8.3.1: the form with a scheme is for proxies, and is refused.
        if text_of(target)[0] != c"/" and not (
                equals(target, b"*", 1) and equals(method, b"OPTIONS", 7)):
            raise InvalidRequestError(400, "the request's target is no path")
        return 0

    cdef object sorted(self, bytes method, bytes target, bytes authority, tuple fields,
                       bint pseudo, object version, object stream, bint streamed):
        """Make the request. With `pseudo`, fields whose names begin with a colon belong to the
        request line."""
        cdef list headers = []
        cdef object length = None
        cdef bytes name, host = None
        cdef int hosts = 0
        for field in fields:
            name = <bytes>(<tuple>field)[0]
            if pseudo and size_of(name) and text_of(name)[0] == c":":
                continue
            if equals(name, b"host", 4):
                host = <bytes>(<tuple>field)[1]
                hosts += 1
                continue
            if equals(name, b"content-length", 14):
                length = declared(length, <bytes>(<tuple>field)[1])
            headers.append(field)
        if hosts > 1:
            raise InvalidRequestError(400, "more than one Host")
        if length is None and not streamed:
            length = 0
        return self.made(
            method, target, agreed(authority, host), headers, version, stream, length)

    cdef object made(self, bytes method, bytes target, bytes authority, list headers,
                     object version, object stream, object length):
        cdef bytes path = target, query = b""
        cdef const unsigned char *text = text_of(target)
        cdef const unsigned char *mark = <const unsigned char *>memchr(text, c"?", size_of(target))
        if mark != NULL:
            path = PyBytes_FromStringAndSize(<const char *>text, mark - text)
            query = PyBytes_FromStringAndSize(
                <const char *>mark + 1, size_of(target) - <size_t>(mark - text) - 1)
        cdef PyObject *parts[9]
        parts[0] = <PyObject *>method
        parts[1] = <PyObject *>target
        parts[2] = <PyObject *>path
        parts[3] = <PyObject *>query
        parts[4] = <PyObject *>authority
        parts[5] = <PyObject *>headers
        parts[6] = <PyObject *>version
        parts[7] = <PyObject *>stream
        parts[8] = <PyObject *>length
        return PyObject_Vectorcall(self.make, parts, 9, NULL)


cdef int exact(bytes text) except -1:
    if not PyBytes_CheckExact(text):
        raise TypeError("the request line is bytes")
    return 0
