"""Writes the requests of straight calls for their servers, as text of HTTP/1.1 or for HTTP/2.

A request has what `UndecidedCall.head` and `begin` of the stream give an ordinary one, in the same
order: the client's fields, where the request came from, who calls, the tool's own fields, the
trace, and the id of the request.
"""

from crewgate.core.trace_context import TRACEPARENT

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp

from crewgate._datapath.http2_message cimport HTTP2Message
from crewgate._datapath.http2_request_head cimport HTTP2RequestHead, new_head
from crewgate._datapath.straight_routes cimport StraightRoute
from crewgate._native.fields cimport field_lines_put, field_lines_size, message_field

cdef extern from "audit_format.h" nogil:
    const int UUID_CHARS
    char *text_put(char *to, const char *text, size_t n) noexcept
    char *text_uuid(char *to, const unsigned char *id) noexcept

cdef bytes TRACE = TRACEPARENT
cdef bytes HOST = b" HTTP/1.1\r\nhost: "
cdef bytes LINE_END = b"\r\n"
cdef bytes REQUEST_ID = b"x-crewgate-request: "
cdef bytes REQUEST_ID_NAME = b"x-crewgate-request"
cdef bytes METHOD = b":method"
cdef bytes SCHEME = b":scheme"
cdef bytes AUTHORITY = b":authority"
cdef bytes PATH = b":path"
cdef bytes LENGTH = b"content-length"
cdef enum:
    OWN_FIELDS = 6  # the four pseudo-header fields, the id and the length


cdef inline char *put(char *to, bytes text) noexcept:
    return text_put(to, PyBytes_AS_STRING(text), <size_t>PyBytes_GET_SIZE(text))


cdef object context_of(object support, HTTP2Message request, double sample):
    cdef const message_field *field
    cdef size_t at
    for at in range(request.pseudo_count, request.block.field_count):
        field = &request.block.fields[at]
        if field.name_size == <size_t>PyBytes_GET_SIZE(TRACE) and memcmp(
                field.name, PyBytes_AS_STRING(TRACE), field.name_size) == 0:
            return support.trace_of(request.python_fields(), sample)
    return support.trace_of((), sample) if sample else None


cdef bytes after_host(
        StraightRoute route, HTTP2Message request, const message_field **kept, size_t count,
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


cdef bytes with_host(StraightRoute route, HTTP2Message request, bytes authority, bytes rest):
    return b"".join((route.begin, query_of(route, request), HOST, authority, rest))


cdef inline bytes query_of(StraightRoute route, HTTP2Message request):
    """Return the query of the request, with its question mark; b"" if it has none."""
    cdef const message_field *target = request.path
    return PyBytes_FromStringAndSize(
        <const char *>target.value + route.path_size, target.value_size - route.path_size)


cdef HTTP2RequestHead http2_head(
        StraightRoute route, HTTP2Message request, const message_field **kept, size_t count,
        tuple origin, list identity, list trace, bytes request_id, Py_ssize_t body_size):
    cdef tuple own = route.own_fields
    cdef HTTP2RequestHead head = new_head(
        OWN_FIELDS + count + len(origin) + len(identity) + len(own) + len(trace))
    cdef bytes id_text = PyBytes_FromStringAndSize(NULL, UUID_CHARS)
    cdef size_t at
    text_uuid(PyBytes_AS_STRING(id_text), <const unsigned char *>PyBytes_AS_STRING(request_id))
    head.add_own(METHOD, route.method_text)
    head.add_own(SCHEME, b"")
    head.add_own(AUTHORITY, b"")
    head.add_own(PATH, route.path + query_of(route, request))
    for at in range(count):
        head.add(kept[at].name, kept[at].name_size, kept[at].value, kept[at].value_size,
                 kept[at].is_never_indexed)
    head.keep(request)
    head.add_pairs(origin)
    head.add_pairs(identity)
    head.add_pairs(own)
    head.add_pairs(trace)
    head.add_own(REQUEST_ID_NAME, id_text)
    if body_size:
        head.add_own(LENGTH, b"%d" % body_size)
    return head
