"""The C interface of the requests of straight calls, as their servers get them."""

from crewgate._datapath.http2_message cimport HTTP2Message
from crewgate._datapath.http2_request_head cimport HTTP2RequestHead
from crewgate._datapath.straight_routes cimport StraightRoute
from crewgate._native.fields cimport message_field


# Return the TraceContext of a request; None if it belongs to no trace. `sample` is the share of
# requests that begin one, and `support` the StraightSupport.
cdef object context_of(object support, HTTP2Message request, double sample)

# Return the request of HTTP/1.1 from the end of its Host line on, and its body. `origin`,
# `identity` and `trace` are lines.
cdef bytes after_host(
    StraightRoute route, HTTP2Message request, const message_field **kept, size_t count,
    bytes origin, bytes identity, bytes trace, bytes request_id, Py_ssize_t body_size)

# Return the whole request for a server with this authority; `rest` is what `after_host` returned.
cdef bytes with_host(StraightRoute route, HTTP2Message request, bytes authority, bytes rest)

# Return the head of the request for a server that speaks HTTP/2, except the values of its scheme
# and its authority. `origin`, `identity` and `trace` are pairs.
cdef HTTP2RequestHead http2_head(
    StraightRoute route, HTTP2Message request, const message_field **kept, size_t count,
    tuple origin, list identity, list trace, bytes request_id, Py_ssize_t body_size)
