"""Writes the requests of straight calls for their servers, as HTTP/1.1.

A request has what `UndecidedCall.head` and `HTTP1Connection.begin` give an ordinary one, in the
same order: the client's fields, where the request came from, who calls, the tool's own fields, the
trace, and the id of the request.
"""

from crewgate.core.trace_context import TRACEPARENT

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp

from crewgate._datapath.request_arena cimport ArenaRequest
from crewgate._datapath.straightness cimport StraightRoute
from crewgate._native.fields cimport field_lines_put, field_lines_size, message_field

cdef extern from "audit_format.h" nogil:
    const int UUID_CHARS
    char *text_put(char *to, const char *text, size_t n) noexcept
    char *text_uuid(char *to, const unsigned char *id) noexcept

cdef bytes TRACE = TRACEPARENT
cdef bytes HOST = b" HTTP/1.1\r\nhost: "
cdef bytes LINE_END = b"\r\n"
cdef bytes REQUEST_ID = b"x-crewgate-request: "


cdef inline char *put(char *to, bytes text) noexcept:
    return text_put(to, PyBytes_AS_STRING(text), <size_t>PyBytes_GET_SIZE(text))


cdef object context_of(object support, ArenaRequest request, double sample):
    cdef const message_field *field
    cdef size_t at
    for at in range(request.pseudo_count, request.block.field_count):
        field = &request.block.fields[at]
        if field.name_size == <size_t>PyBytes_GET_SIZE(TRACE) and memcmp(
                field.name, PyBytes_AS_STRING(TRACE), field.name_size) == 0:
            return support.trace_of(request.python_fields(), sample)
    return support.trace_of((), sample) if sample else None


cdef bytes after_host(
        StraightRoute route, ArenaRequest request, const message_field **kept, size_t count,
        bytes origin, bytes identity, bytes trace, bytes request_id, Py_ssize_t body_size):
    cdef bytes framing = route.framing(body_size)
    cdef bytes made = PyBytes_FromStringAndSize(
        NULL,
        len(LINE_END) + field_lines_size(kept, count) + len(origin) + len(identity)
        + len(route.own_lines) + len(trace) + len(REQUEST_ID) + UUID_CHARS + len(LINE_END)
        + len(framing) + len(LINE_END) + body_size)
    cdef char *to = put(PyBytes_AS_STRING(made), LINE_END)
    to = field_lines_put(to, kept, count)
    to = put(put(put(put(to, origin), identity), route.own_lines), trace)
    to = text_uuid(put(to, REQUEST_ID), <const unsigned char *>PyBytes_AS_STRING(request_id))
    to = put(put(put(to, LINE_END), framing), LINE_END)
    if body_size:
        put(to, request.body)
    return made


cdef bytes with_host(StraightRoute route, ArenaRequest request, bytes authority, bytes rest):
    cdef const message_field *target = request.path
    cdef bytes query = PyBytes_FromStringAndSize(
        <const char *>target.value + route.path_size, target.value_size - route.path_size)
    return b"".join((route.begin, query, HOST, authority, rest))
