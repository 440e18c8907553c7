"""The C interface of `http2_engine`: nghttp2 for one client connection (server role)."""

from libc.stdint cimport int32_t

from crewgate._datapath.http2_endpoint cimport HTTP2Endpoint
from crewgate._datapath.nghttp2_library cimport nghttp2_nv


cdef class HTTP2Engine(HTTP2Endpoint):
    # Raises what ngh2 raises, such as ngh2.StreamUnavailableError for a stream that is closed.
    cdef int submit_head(
        self, int32_t stream, const nghttp2_nv *fields, size_t count, bint ends) except -1
