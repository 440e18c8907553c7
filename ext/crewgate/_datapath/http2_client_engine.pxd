"""The C interface of `http2_client_engine`: nghttp2 for one connection to a server."""

from libc.stdint cimport int32_t, uint32_t

from crewgate._datapath.http2_endpoint cimport HTTP2Endpoint
from crewgate._datapath.nghttp2_library cimport nghttp2_nv


cdef class HTTP2ClientEngine(HTTP2Endpoint):
    # Queue the head of a request, and return the number of its stream. Raises what ngh2 raises.
    cdef int32_t submit_request(self, const nghttp2_nv *fields, size_t count, bint ends) except -1
    # Whether a request may be submitted; false too if the session is unusable.
    cdef bint may_submit(self) noexcept
    # The value of a setting of the server, or nghttp2's default.
    cdef uint32_t remote_setting(self, int name) except? 0
