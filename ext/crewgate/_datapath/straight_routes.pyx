"""Decides which requests are straight: which calls compiled code carries without Python.

A route is straight if it says everything about its calls in advance (`is_straight_route`):

1. Its path is literal, so that method and path find it by one lookup. Its method is GET, HEAD,
   POST, PUT, PATCH or DELETE, and the gateway itself answers no request there.
2. Its price is fixed, the gate needs no body to judge its calls, and the route is no endpoint or
   group of MCP or A2A.
3. Its server gets no forwarding fields from the client.
4. No web page may call it, so its answers have no fields of CORS.

A request is straight if its route is, and (`straight_route_of`):

1. It is complete: it has no body, or a small one that the worker read in the turn of its head. The
   body has the size that Content-Length gives, if there is that field, and the tool takes as much.
2. Its scheme is https, the listener serves its authority, and there is no Host beside that.
3. It has at most `limits.head_fields_max` fields, and only characters in its query that a query may
   have.
4. It has no field TE if the server speaks HTTP/2. Such a call asks for trailers, as gRPC does, and
   an answer with trailers is not straight.

`straight_call` then looks for the token, filters the fields and asks the gate, as the Python way
(gateway/call) does for every call. If the gate permits the call, and the client needs no new nonce
for its DPoP proofs, the call is straight. Every other
request becomes an exchange, and the Python way answers it. This module refuses no request.
"""

from crewgate import limits
from crewgate.core import protected_resource
from crewgate.core.http_types import IDEMPOTENT_METHODS, METHODS_WITH_BODY

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from crewgate._datapath.http2_message cimport HTTP2Message
from crewgate._native.fields cimport message_field
from crewgate._native.permit cimport Permit
from crewgate._native.rules cimport CG_CALL_EXEMPT, CG_CALL_UNKNOWN

cdef extern from "request_line.h" nogil:
    int64_t line_length(const unsigned char *text, size_t n) noexcept
    const uint8_t IN_TARGET
    void line_prepare() noexcept
    bint line_is(const unsigned char *text, size_t n, uint8_t kind) noexcept
    bint line_is_authority(const unsigned char *text, size_t n) noexcept

line_prepare()

cdef size_t FIELDS_MAX = limits.head_fields_max
cdef Py_ssize_t AUTHORITY_BYTES_MAX = limits.authority_bytes_max
cdef Py_ssize_t AUTHORITIES_MAX = limits.straight_authorities_max
cdef bytes METADATA_PATH = protected_resource.PATH.encode()
# The gateway itself answers some OPTIONS.
cdef frozenset METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE"})


def is_straight_route(entry, bytes method not None, bytes path not None):
    """See the stub."""
    return (
        method in METHODS
        and not path.startswith(METADATA_PATH)  # the gateway itself answers there
        and entry.tariff is None
        and entry.endpoint is None
        and not entry.is_group
        and not entry.decides_on_body
        and not entry.fields.keeps_origin
        and entry.cors is None
    )


cdef StraightRoute straight_route_of(dict routes, HTTP2Message request):
    cdef message_field *target = request.path
    cdef message_field *method = request.method
    cdef message_field *field
    cdef size_t size, at
    cdef const unsigned char *mark
    cdef bint has_length = False, has_te = False
    cdef StraightRoute route
    if target == NULL or method == NULL or not (request.ends or request.body is not None):
        return None
    if request.block.field_count - request.pseudo_count > FIELDS_MAX:
        return None
    if not is_text(request.scheme, b"https", 5):
        return None
    for at in range(request.pseudo_count, request.block.field_count):
        field = &request.block.fields[at]
        if is_name(field, b"host", 4):
            return None
        if is_name(field, b"content-length", 14):
            if has_length or line_length(field.value, field.value_size) != body_size(request):
                return None
            has_length = True
        has_te = has_te or is_name(field, b"te", 2)
    size = target.value_size
    mark = <const unsigned char *>memchr(target.value, c"?", size)
    if mark != NULL:
        size = <size_t>(mark - target.value)
        if size + 1 < target.value_size and (
                not line_is(mark + 1, target.value_size - size - 1, IN_TARGET)):
            return None
    route = routes.get(line_of(method, target.value, size))
    if route is None or body_size(request) > route.body_bytes_max or (has_te and route.is_http2):
        return None
    return route


cdef Py_ssize_t body_size(HTTP2Message request) noexcept:
    return 0 if request.body is None else PyBytes_GET_SIZE(request.body)


cdef inline bint is_text(message_field *field, const char *text, size_t size) noexcept:
    return field != NULL and field.value_size == size and memcmp(field.value, text, size) == 0


cdef inline bint is_name(message_field *field, const char *name, size_t size) noexcept:
    return field.name_size == size and memcmp(field.name, name, size) == 0


cdef bint is_authority(bytes text) noexcept:
    return len(text) <= AUTHORITY_BYTES_MAX and line_is_authority(
        <const unsigned char *>PyBytes_AS_STRING(text), <size_t>len(text))


cdef bytes line_of(message_field *method, const unsigned char *path, size_t size):
    """Return the method, a blank and the path."""
    cdef bytes line = PyBytes_FromStringAndSize(NULL, method.value_size + 1 + size)
    cdef char *text = PyBytes_AS_STRING(line)
    memcpy(text, method.value, method.value_size)
    text[method.value_size] = c" "
    memcpy(text + method.value_size + 1, path, size)
    return line


cdef class RoutedListener:
    """See the stub."""


cdef class StraightRoute:
    """See the stub."""

    def __init__(self, entry, bytes method not None, bytes path not None, bytes via not None,
                 double trace_sample, digests):
        self.entry = entry
        self.digester = digests.digester
        self.is_exempt = digests.is_exempt(entry.name)
        self.name = entry.name
        self.tool = entry.index
        self.pool = entry.pool
        self.tokens = entry.tokens
        self.filter = entry.fields.filter
        self.with_length, self.without_length = entry.fields.responses
        self.is_http2 = entry.is_http2
        self.own_lines, self.own_fields = entry.lines, entry.own
        self.via = via
        self.method, self.method_text = method.decode(), method
        self.is_head = method == b"HEAD"
        self.is_idempotent = method in IDEMPOTENT_METHODS
        self.always_has_length = method in METHODS_WITH_BODY
        self.body_bytes_max = entry.body_bytes_max
        self.path_size = len(path)
        self.path = entry.path_of(path)
        self.begin = method + b" " + self.path
        self.trace_sample = trace_sample

    cdef bytes framing(self, Py_ssize_t body_size):
        """Return the line that says how long a body is, as `HTTP1Connection.begin` writes it."""
        if body_size:
            return b"content-length: %d\r\n" % body_size
        return b"content-length: 0\r\n" if self.always_has_length else b""

    cdef uint64_t digest_of(self, const uint64_t *key, HTTP2Message request) noexcept:
        """Return the digest of a call for the rules on branches."""
        cdef const message_field *target = request.path
        cdef size_t query = min(self.path_size + 1, target.value_size)
        cdef const unsigned char *body = NULL
        if self.digester is None:
            return CG_CALL_UNKNOWN
        if self.is_exempt:
            return CG_CALL_EXEMPT
        if request.body is not None:
            body = <const unsigned char *>PyBytes_AS_STRING(request.body)
        return self.digester.digest(
            key, <const unsigned char *>PyBytes_AS_STRING(self.method_text),
            <size_t>PyBytes_GET_SIZE(self.method_text), target.value, self.path_size,
            target.value + query, target.value_size - query, body, <size_t>body_size(request))

    cdef object idle_stream(self, Permit permit):
        return self.pool.take_idle(self.pool.reuse_key(permit), self.is_idempotent)


cdef class StraightRoutes:
    """See the stub."""

    def __init__(self, policy, table, via_of, digests):
        self.policy = policy
        self.listener = policy.name
        self.observe = policy.observe
        self.table = table
        self.via_of = via_of
        self.digests = digests
        self.by_host = {}
        self.by_authority = {}

    cdef dict served_at(self, bytes authority):
        """Return the straight routes at an authority; None if the listener does not serve it."""
        if authority in self.by_authority:
            return self.by_authority[authority]
        routes = None
        if is_authority(authority) and self.policy.serves(authority):
            routes = self.routes_of(self.table.router.host(authority))
        if len(self.by_authority) >= AUTHORITIES_MAX:
            self.by_authority.clear()
        self.by_authority[authority] = routes
        return routes

    cdef dict routes_of(self, object host):
        """Return the straight routes at a host of the router."""
        if host not in self.by_host:
            self.by_host[host] = {
                method + b" " + path: StraightRoute(
                    entry, method, path, self.via_of(entry.version)[1], self.table.trace_sample,
                    self.digests)
                for method, path, entry in self.table.literal_routes(host)
                if is_straight_route(entry, method, path)
            }
        return self.by_host[host]
