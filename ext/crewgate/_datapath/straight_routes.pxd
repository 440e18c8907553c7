"""The C interface of straight routes, and of the choice of the requests that take them."""

from libc.stdint cimport uint64_t

from crewgate._datapath.connection_pool cimport ConnectionPool
from crewgate._datapath.http2_message cimport HTTP2Message
from crewgate._native.bearer cimport TokenFinder
from crewgate._native.call_digester cimport CallDigester
from crewgate._native.fields cimport Filter
from crewgate._native.permit cimport Permit


cdef class RoutedListener:
    cdef public object policy           # the ListenerPolicy
    cdef public object routes           # the RouteTable


cdef class StraightRoute:
    cdef readonly object entry          # its ToolRoute, and parts of it:
    cdef str name                       # of the tool
    cdef Py_ssize_t tool                # the number for the gate
    cdef ConnectionPool pool
    cdef TokenFinder tokens
    cdef Filter filter                  # of the fields that go upstream
    cdef Filter with_length             # of those that come back, if they may have a length
    cdef Filter without_length
    cdef bint is_http2                  # its server speaks HTTP/2
    cdef bytes own_lines                # the fields that the gateway adds, as lines of HTTP/1.1
    cdef tuple own_fields               # the same as pairs
    cdef bytes via                      # of its answers
    cdef readonly str method
    cdef bytes method_text              # the same
    cdef bint is_head, is_idempotent
    cdef bint always_has_length         # a request without body says so (RFC 9110, section 8.6)
    cdef Py_ssize_t body_bytes_max      # of a request
    cdef double trace_sample            # the share of calls that begin a trace
    cdef size_t path_size               # of the path that clients use
    cdef bytes path                     # at the server
    cdef bytes begin                    # of the request line upstream: method, blank, `path`

    cdef CallDigester digester          # of its calls, for the rules on branches; None without
    cdef bint is_exempt                 # its calls may be repeated

    cdef bytes framing(self, Py_ssize_t body_size)
    cdef uint64_t digest_of(self, const uint64_t *key, HTTP2Message request) noexcept
    # Take a stream for a call with this permit; None if no connection has one.
    cdef object idle_stream(self, Permit permit)


cdef class StraightRoutes:
    cdef readonly object policy         # the ListenerPolicy, and parts of it:
    cdef str listener                   # its name
    cdef bint observe
    cdef readonly object table          # the RouteTable
    cdef object digests                 # the CallDigests
    cdef object via_of                  # returns the Via field for an HTTP version
    cdef dict by_host                   # host, or None -> routes by b"METHOD path"
    cdef dict by_authority              # as clients send it -> one of these; None: not served

    cdef dict served_at(self, bytes authority)
    cdef dict routes_of(self, object host)


# Return the size of the body that came with the head of a request, in bytes.
cdef Py_ssize_t body_size(HTTP2Message request) noexcept

# Return the route of a request if the request may be straight, else None.
cdef StraightRoute straight_route_of(dict routes, HTTP2Message request)
