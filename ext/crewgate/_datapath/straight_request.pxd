"""The C interface of the requests of straight calls, as their servers get them."""

from crewgate._datapath.request_arena cimport ArenaRequest
from crewgate._datapath.straightness cimport StraightRoute
from crewgate._native.fields cimport message_field


# Return the TraceContext of a request; None if it belongs to no trace. `sample` is the share of
# requests that begin one, and `support` the StraightSupport.
cdef object context_of(object support, ArenaRequest request, double sample)

# Return the request upstream from the end of its Host line on, and its body. `origin`, `identity`
# and `trace` are lines of HTTP/1.1.
cdef bytes after_host(
    StraightRoute route, ArenaRequest request, const message_field **kept, size_t count,
    bytes origin, bytes identity, bytes trace, bytes request_id, Py_ssize_t body_size)

# Return the whole request for a server with this authority; `rest` is what `after_host` returned.
cdef bytes with_host(StraightRoute route, ArenaRequest request, bytes authority, bytes rest)
